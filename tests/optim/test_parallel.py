"""Two gloo processes train as one process does on the same batches."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from parallel_run import run

HERE = Path(__file__).parent


def test_two_processes_equal_one(tmp_path):
    paths = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    processes = [
        subprocess.Popen(
            [sys.executable, str(HERE / "parallel_run.py"), str(rank), "2", str(tmp_path)],
            env={**os.environ, "PYTHONPATH": paths},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    alone = run(0, 1)
    assert first["clipped"] == second["clipped"] == alone["clipped"] > 0
    for name, weight in alone["weights"].items():
        assert torch.equal(first["weights"][name], second["weights"][name]), name
        torch.testing.assert_close(first["weights"][name], weight, atol=2e-4, rtol=1e-3)


def test_accumulated_micro_batches_equal_the_whole_batch():
    whole, pieces = run(0, 1), run(0, 1, accumulate=3)
    for name, weight in whole["weights"].items():
        torch.testing.assert_close(pieces["weights"][name], weight, atol=2e-4, rtol=1e-3)
