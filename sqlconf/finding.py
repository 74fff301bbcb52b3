"""What speaks against an answer, and how much findings say together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

NOTES = 5
"""Findings that a note tells, the gravest."""


@dataclass(frozen=True)
class Finding:
    """One thing that does not fit: its kind, for its weight, and a note for people."""

    kind: str
    note: str


def weigh(findings: Iterable[Finding], weights: Mapping[str, float]) -> tuple[float, str]:
    """A value in 0..1 and the notes behind it, the gravest first: 1 where nothing was found, and a half for each unit
    of weight. A kind counts once, however often it is found.
    """
    gravest = sorted(findings, key=lambda finding: -weights[finding.kind])
    total = sum(weights[kind] for kind in {finding.kind for finding in gravest})
    return 0.5**total, "; ".join([*dict.fromkeys(finding.note for finding in gravest)][:NOTES])
