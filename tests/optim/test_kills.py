"""kill -9 at random moments: the run goes on from a whole checkpoint and ends with the weights of an undisturbed one."""

import pytest

from serving.bench.kills import kills_of
from serving.bench.random_run import LAYOUTS, RandomRun


@pytest.mark.parametrize(
    ("processes", "kills"),
    [(1, 2), pytest.param(1, 10, marks=pytest.mark.slow), pytest.param(2, 10, marks=pytest.mark.slow)],
)
def test_killed_runs_end_as_the_undisturbed(processes, kills):
    found = kills_of(RandomRun(LAYOUTS["both"] if processes == 2 else LAYOUTS["FSDP2"]), processes, kills)
    assert found["kills"] == kills
    assert found["runs_brought_to_their_end"] >= 1
    assert found["runs_that_ended_otherwise"] == 0
