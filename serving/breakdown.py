"""An evaluation's accuracy by hardness and by database, and its wrong answers by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp

from corpus.error_kinds import ErrorKind, error_kind
from corpus.hardness import Hardness, hardness
from corpus.schema import Schema

UNKNOWN = "unknown"
"""Hardness of known SQL that sqlglot does not read."""


@dataclass(frozen=True)
class Case:
    """An answer beside the known SQL of its question, and whether the two ran on their database."""

    db_id: str
    schema: Schema
    known: str
    predicted: str
    correct: bool
    runs: bool
    known_runs: bool


def breakdown(cases: Sequence[Case]) -> dict[str, Any]:
    """`by_hardness` and `by_database` of {name: {n, accuracy}}, `by_error` of {kind: how many wrong answers}.

    Each case is in one hardness and one database, each wrong one in one kind. All levels and kinds are there; the
    accuracy of a level without questions is None. A level `unknown` is there only where it is needed.
    """
    kinds = Counter(_kind(case) for case in cases if not case.correct)
    return {
        "by_hardness": _shares(Hardness, ((_hardness(case), case.correct) for case in cases)),
        "by_error": {kind.value: kinds[kind] for kind in ErrorKind},
        "by_database": _shares((), ((case.db_id, case.correct) for case in cases)),
    }


def _hardness(case: Case) -> str:
    try:
        query = sqlglot.parse_one(case.known, dialect="sqlite")
    except (sqlglot.errors.SqlglotError, RecursionError):
        return UNKNOWN
    return hardness(query) if isinstance(query, exp.Query) else UNKNOWN


def _kind(case: Case) -> ErrorKind:
    return error_kind(case.known, case.predicted, case.schema, runs=case.runs, known_runs=case.known_runs)


def _shares(names: Iterable[str], answers: Iterable[tuple[str, bool]]) -> dict[str, dict[str, Any]]:
    """Accuracy by name: of `names` first, then of the others as they come."""
    found: dict[str, list[bool]] = {str(name): [] for name in names}
    for name, correct in answers:
        found.setdefault(name, []).append(correct)
    return {
        name: {"n": len(right), "accuracy": sum(right) / len(right) if right else None}
        for name, right in found.items()
    }
