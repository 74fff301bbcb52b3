"""A training process keeps the memory that it frees."""

import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys, torch
from model.heap import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory(1 << 28)
def pass_over():
    kept = [torch.ones(24, 1 << 20) for _ in range(2)]  # 96 MB each: glibc maps and unmaps such blocks
pass_over()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
pass_over()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is what this is about")
def test_what_was_freed_is_taken_again_without_a_page_fault() -> None:
    def faults(how: str) -> int:
        run = subprocess.run([sys.executable, "-c", _FAULTS, how], capture_output=True, text=True, check=True)
        return int(run.stdout)

    assert 10 * faults("keep") < faults("leave")
