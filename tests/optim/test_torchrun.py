"""The same numbers where torchrun makes the world: on one node, and on two, each a network namespace of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from optim.worlds import in_world
from serving.bench.random_run import RandomRun, difference

HERE = Path(__file__).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
pytestmark = pytest.mark.slow


def start(before, arguments, layout, result, **environment):
    return subprocess.Popen(
        [*before, *TORCHRUN, *arguments, str(HERE / "torchrun_rank.py"), layout, str(result)],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": "1", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(processes):
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(errors)


def assert_equals_one_process(result):
    found = torch.load(result)
    assert found["world"] == 2
    assert difference(found, in_world(1, RandomRun().train, 20)[0]) < 1e-6


@pytest.mark.parametrize("layout", ["FSDP2", "both"])
def test_two_processes_of_one_node_equal_one_process(tmp_path, layout):
    finish([start([], ["--standalone", "--nproc-per-node", "2"], layout, tmp_path / "result")])
    assert_equals_one_process(tmp_path / "result")


def ip(*arguments):
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def nodes():
    """Two network namespaces with a cable between them: (name, device) of each, at 10.99.0.1 and 10.99.0.2."""
    names = [f"sure{os.getpid()}n{number}" for number in range(2)]
    cables = [f"v{os.getpid()}n{number}" for number in range(2)]
    try:
        for name in names:
            made = ip("netns", "add", name)
            if made.returncode:
                pytest.skip(f"network namespaces may not be made here: {made.stderr.strip()}")
        steps = [("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])]
        for number, (name, cable) in enumerate(zip(names, cables, strict=True), 1):
            steps += [
                ("link", "set", cable, "netns", name),
                ("-n", name, "addr", "add", f"10.99.0.{number}/24", "dev", cable),
                ("-n", name, "link", "set", cable, "up"),
                ("-n", name, "link", "set", "lo", "up"),
            ]
        for step in steps:
            done = ip(*step)
            if done.returncode:
                pytest.skip(f"namespaces may not be cabled here: ip {' '.join(step)}: {done.stderr.strip()}")
        yield list(zip(names, cables, strict=True))
    finally:
        for name in names:
            ip("netns", "del", name)


@pytest.mark.parametrize("layout", ["FSDP2", "both"])
def test_two_nodes_equal_one_process(tmp_path, nodes, layout):
    common = [
        "--nnodes",
        "2",
        "--nproc-per-node",
        "1",
        "--master-addr",
        "10.99.0.1",
        "--master-port",
        "29500",
    ]
    finish(
        [
            start(
                ["ip", "netns", "exec", name],
                [*common, "--node-rank", str(number)],
                layout,
                tmp_path / "result",
                GLOO_SOCKET_IFNAME=cable,
            )
            for number, (name, cable) in enumerate(nodes)
        ]
    )
    assert_equals_one_process(tmp_path / "result")
