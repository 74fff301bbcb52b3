"""Hostile statements leave nothing behind, by the state of database and host, behind both walls and behind each alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import COMPUTED

from serving.bench.cluster import Cluster, binaries, cluster
from serving.bench.hostile import mutations, statements
from serving.bench.siege import Siege, Walls, siege

DIALECTS = ["sqlite", "duckdb", "postgres"]
MUTATED = 150
"""By database and way; `suresql bench siege` puts 100,000."""


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster | None]:
    if binaries() is None:
        yield None
        return
    with cluster() as running:
        yield running


@pytest.fixture(scope="module", params=DIALECTS)
def besieged(
    request: pytest.FixtureRequest, server: Cluster | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Siege]:
    if request.param == "postgres" and server is None:
        pytest.skip("PostgreSQL's server is not installed: apt-get install -y postgresql")
    with siege(request.param, tmp_path_factory.mktemp("siege"), server) as made:
        yield made


def test_there_are_at_least_three_hundred_different_statements() -> None:
    known = {sql for dialect in DIALECTS for sql in statements(dialect)}
    assert len(known) >= 500
    assert all(len(statements(dialect)) >= 150 for dialect in DIALECTS)


@pytest.mark.parametrize("walls", ["both", "database", "guard"])
def test_hostile_statements_leave_nothing_behind(besieged: Siege, walls: Walls) -> None:
    besieged.attack([*statements(besieged.dialect), *COMPUTED], walls)
    assert besieged.report.breaches == []
    assert besieged.report.asked[walls] >= 150


@pytest.mark.parametrize("walls", ["both", "database", "guard"])
def test_statements_for_other_databases_leave_nothing_behind(besieged: Siege, walls: Walls) -> None:
    for dialect in DIALECTS:
        besieged.attack(statements(dialect)[:: 2 if walls == "both" else 12], walls)
    assert besieged.report.breaches == []


@pytest.mark.parametrize("walls", ["both", "guard"])
def test_mutated_statements_leave_nothing_behind(besieged: Siege, walls: Walls) -> None:
    besieged.attack(mutations(statements(besieged.dialect), MUTATED), walls)
    assert besieged.report.breaches == []


def test_the_same_seed_gives_the_same_mutations() -> None:
    known = statements("duckdb")
    assert list(mutations(known, 50, 3)) == list(mutations(known, 50, 3))
    assert len(set(mutations(known, 500, 3))) > 400


def test_a_siege_sees_what_a_wall_lets_through(tmp_path: Path) -> None:
    with siege("sqlite", tmp_path) as made:
        made._behind_both = made._unwalled  # type: ignore[method-assign]
        made.attack(["DELETE FROM suppliers", "ATTACH '{out}' AS o"], "both")
        assert any("file changed" in breach for breach in made.report.breaches)
