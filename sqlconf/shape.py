"""Does the SQL's shape fit the question's words? Rules, no model: a cue such as "how many", "oldest" or "each" wants its
clause, a clause wants a cue; numbers and names belong on both sides; what is asked for is what is given.

The fit of shape and question is one of the checks by which a person reads generated SQL. It is blind to what words can
mean beyond the rules, so it says what is missing rather than what is right. The note names the findings.
"""

from collections.abc import Mapping, Sequence

from sqlglot import exp

from sqlconf.catalogue import catalogue
from sqlconf.cues import clause_findings
from sqlconf.finding import Finding, weigh
from sqlconf.literals import literal_findings
from sqlconf.mentions import mention_findings
from sqlconf.signal import Answer, Cost, Reading
from sqlconf.statement import read
from sqlconf.wording import wording

WEIGHTS: Mapping[str, float] = {
    "not given": 2, "column left out": 2, "word left out": 2, "unnamed result": 2, "number": 2, "bound": 2, "more": 2,
    "less": 2, "extreme": 2, "sum": 2, "average": 2, "like": 2, "order": 2, "too few columns": 2,
    "table left out": 1, "thing not given": 1, "too many columns": 1, "unnamed condition": 1, "unnamed order": 1, "name": 1,
    "count": 1, "negation": 1, "distinct": 1, "either": 1, "both": 1, "between": 1, "share": 1, "group": 1, "direction": 1,
    "needless count": 1, "needless sum": 1, "needless average": 1, "needless extreme": 1, "needless order": 1,
    "needless negation": 1, "needless less": 1, "needless more": 1, "needless group": 1, "text of nowhere": 1,
    "number of nowhere": 1, "needless either": 0.5, "month": 0.5, "bound off by one": 0.5,
}  # fmt: skip
"""Each unit halves the value. Two where a finding was some ten times as frequent with wrong SQL as with right SQL (right:
gold of Spider's training share; both: a small model's answers to calibration questions), a half where it hardly told."""


class Shape:
    """The share that is left after halving for each finding; 1 where question and SQL fit."""

    name = "shape"
    cost = Cost.RULES

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        return [self._read(answer) for answer in answers]

    def _read(self, answer: Answer) -> Reading:
        found = findings(answer)
        if found is None:
            why = (
                "the SQL is not one query that parses" if answer.question.strip() else "there is no question"
            )
            return Reading(self.name, None, note=why)
        value, note = weigh(found, WEIGHTS)
        return Reading(self.name, value, note=note)


def findings(answer: Answer) -> list[Finding] | None:
    """What does not fit; None where there is no question or the SQL is not one query that parses."""
    statement = read(answer.sql)
    if statement is None or not answer.question.strip():
        return None
    words, names = wording(answer.question), catalogue(answer.schema)
    texts = names.texts(statement)
    used = frozenset(
        word for place in statement.all(exp.Column, exp.Table) for word in names.stems_of(place.node.name)
    )
    return [
        *clause_findings(words, statement, used),
        *literal_findings(words, statement, names, texts, used),
        *mention_findings(words, statement, names, texts),
    ]
