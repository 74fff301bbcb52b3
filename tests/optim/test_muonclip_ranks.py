"""MuonClip on DTensors of two gloo processes against plain tensors in one."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from muonclip_ranks import CASES, alone

HERE = Path(__file__).parent


def test_two_ranks_with_parted_parameters_equal_one_process_and_skip_together(tmp_path):
    paths = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    processes = [
        subprocess.Popen(
            [sys.executable, str(HERE / "muonclip_ranks.py"), str(rank), str(tmp_path)],
            env={**os.environ, "PYTHONPATH": paths},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)]
    assert [rank["skipped"] for rank in ranks] == [1, 1]
    expected = alone()
    for name in CASES:
        assert torch.equal(ranks[0]["weights"][name], ranks[1]["weights"][name]), name
        torch.testing.assert_close(ranks[0]["weights"][name], expected[name], atol=1e-5, rtol=1e-5, msg=name)
