"""A minute of `kill -9` at random moments: every request ends as it should, and the ledgers agree."""

import shutil
from pathlib import Path

import pytest

from serving.bench import soak
from serving.bench.cluster import binaries
from serving.settings import Settings


@pytest.mark.slow
@pytest.mark.skipif(
    binaries() is None or shutil.which("redis-server") is None, reason="PostgreSQL or Redis is not installed"
)
def test_under_kills_every_request_ends_in_time_in_an_answer_or_an_honest_error_and_the_ledgers_agree(
    tmp_path: Path,
) -> None:
    found = soak.run(Settings(home=tmp_path, bench_minutes=1.0))
    assert sum(found["kills"].values()) >= 3 and found["requests"] > 20
    assert found["answers"] + found["honest_errors"] == found["requests"], found["examples"]
    assert found["past_deadline"] == found["neither"] == 0, found["examples"]
    assert found["ledger"]["differences_unexplained"] == 0, found["ledger"]["differing"]
    assert found["ledger"]["sketches_name_what_the_join_does"]
    assert found["account_minus_settled_tokens"] == 0
    assert found["account_minus_answered_tokens_of_questions"] == 0
    assert found["gateway_lived"]
