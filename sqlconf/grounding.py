"""Does the SQL stand on the database's ground: its keys, types and values? Rules over schema and contents, no model and
no execution.

A text that a comparison wants is in its column in 95.8% of Spider's right SQL, and in 1 to 20% of what a slip to another
column makes; joins along keys and types that fit tell as much where there is no text. The note names the findings.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from sqlglot import exp

from sqlconf.catalogue import Catalogue, Owned, catalogue
from sqlconf.finding import Finding, weigh
from sqlconf.joins import Owners, join_findings, name_findings, owner, owners_of, set_findings
from sqlconf.signal import Answer, Cost, Reading
from sqlconf.statement import AGGREGATES, COMPARISONS, LIKES, Statement, column, number, outermost, read
from sqlconf.wording import Wording, stem, stems, wording

WEIGHTS: Mapping[str, float] = {
    "no such name": 2, "cross join": 2, "type": 2, "key as number": 2, "unlike columns": 2, "always so": 2, "never so": 2,
    "echo": 2, "twice": 2, "group not shown": 2, "value elsewhere": 2,
    "no key": 1, "ungrouped": 1, "value of nowhere": 1, "value left out": 1,
    "idle join": 0.5, "idle group": 0.5,
}  # fmt: skip
"""Each unit halves the value; measured as `sqlconf.shape.WEIGHTS`. That model's SQL was held to the schema's names and
keys, so that the weights of a missing name, a missing key and a cross join are guesses."""

_NUMERIC = re.compile(r"\s*[-+]?\d+(?:\.\d+)?\s*")
_DATED = re.compile(r"\s*\d+[-/:.]\d+")
_WORDY = re.compile(r"[^\W\d_]{2}")
_TITLES = frozenset(stems("name title"))
_STOP = re.compile(
    r"the|an?|o[fnru]|i[ns]|at|by|for|from|to|and|not?|with|without|are|was|were|do|does|did|ha[sd]|have|that|which|whose?|"
    r"what|when|where|how|many|much|all|any|some|each|every|per|than|more|less|most|least|show|list|give|find|tell|me|us|"
    r"names?|numbers?|count|total|average|mean|new|first|last|top|high|low|open|active|same|other|both|either|yes|out|up|"
    r"long|short|large|small|big|great|male|female"
)


class ContentsView(Protocol):
    """What stands in a database's text columns."""

    def find(self, text: str) -> Mapping[tuple[str, str], object]:
        """The (table, column) pairs that hold a text, case and spacing folded; empty where none does."""
        ...


ContentsOf = Callable[[Answer], ContentsView | None]


class Grounding:
    """The share that is left after halving for each finding; 1 where nothing is amiss.

    `contents` gives an answer's database by its values, or None where they are not known; without it, values are not
    looked at.
    """

    name = "grounding"
    cost = Cost.RULES

    def __init__(self, contents: ContentsOf | None = None):
        self.contents = contents

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        return [self._read(answer) for answer in answers]

    def _read(self, answer: Answer) -> Reading:
        found = findings(answer, self.contents(answer) if self.contents else None)
        if found is None:
            return Reading(self.name, None, note="the SQL is not one query that parses")
        value, note = weigh(found, WEIGHTS)
        return Reading(self.name, value, note=note)


def findings(answer: Answer, contents: ContentsView | None = None) -> list[Finding] | None:
    """What is amiss; None where the SQL is not one query that parses."""
    statement = read(answer.sql)
    if statement is None:
        return None
    names = catalogue(answer.schema)
    texts = names.texts(statement)
    owners = owners_of(statement, names, texts)
    found = [
        *name_findings(statement, names, owners, texts),
        *join_findings(statement, names, owners),
        *set_findings(statement, names, owners),
        *_number_findings(statement, names, owners),
        *_comparison_findings(statement, names, owners, texts),
        *_group_findings(statement, names, owners),
        *_sense_findings(statement, owners, texts),
    ]
    if contents is not None:
        found += _value_findings(statement, owners, texts, contents)
        found += _unsaid_values(wording(answer.question), texts, names, contents)
    return found


def _number_findings(s: Statement, names: Catalogue, owners: Owners) -> Iterator[Finding]:
    """Sums, averages and the first by some measure want a measure: no key, no text."""
    for place in s.all(exp.Sum, exp.Avg, exp.Max, exp.Min):
        owned, summed = owner(place.node.this, owners), isinstance(place.node, exp.Sum | exp.Avg)
        if owned is None:
            continue
        if names.is_key(owned) and not names.is_time(owned):
            yield Finding("key as number", f"{place.node.sql()} is of a key")
        elif summed and (names.is_text(owned) or names.kind(owned) == "time"):
            yield Finding("type", f"{place.node.sql()} is of a column of {names.kind(owned)}")
    for place in s.all(exp.Order):
        query, first = place.node.parent, place.node.expressions[0]
        owned = owner(first.this, owners)
        if owned is None or query is None or not query.args.get("limit") or names.is_time(owned):
            continue
        if names.is_key(owned):
            yield Finding("key as number", f"the first are chosen by {first.this.sql()}, which is a key")
        elif names.is_text(owned):
            yield Finding("type", f"the first are chosen by {first.this.sql()}, which holds text")


def _comparison_findings(
    s: Statement, names: Catalogue, owners: Owners, texts: Mapping[int, str]
) -> Iterator[Finding]:
    for place in s.all(*LIKES):
        owned = owner(place.node.this, owners)
        if owned is not None and names.kind(owned) in ("number", "boolean"):
            yield Finding("type", f"{place.node.sql()} looks for a text among {names.kind(owned)}s")
    for place in s.all(*COMPARISONS, exp.Between):
        node = place.node
        if isinstance(node, exp.Binary) and node.this == node.expression:
            yield Finding("never so", f"{node.this.sql()} is compared with itself")
            continue
        ends = (node.args.get(end) for end in ("this", "low", "high", "expression"))
        sides = [side for side in ends if isinstance(side, exp.Expr)]
        mine = next((side for side in sides if owner(side, owners)), None)
        for other in sides if mine is not None else ():
            if mine is not None and other is not mine:
                yield from _compared(node, mine, other, names, owners, texts)


def _compared(
    node: exp.Expr,
    mine: exp.Expr,
    other: exp.Expr,
    names: Catalogue,
    owners: Owners,
    texts: Mapping[int, str],
) -> Iterator[Finding]:
    owned = owners[id(column(mine))]
    kind, by_size = names.kind(owned), not isinstance(node, exp.EQ | exp.NEQ)
    value, text, theirs = number(other), texts.get(id(other)), owner(other, owners)
    said = f"{mine.sql()} is compared with {other.sql()}"
    if value is not None:
        if by_size and names.is_key(owned) and not names.is_time(owned):
            yield Finding("key as number", f"{said}, yet it is a key")
        elif names.is_text(owned) or (kind != "number" and _is_day(owned, value, names)):
            yield Finding("type", f"{said}, yet it holds {kind}")
    elif text:
        numeric, dated = _NUMERIC.fullmatch(text) is not None, _DATED.match(text) is not None
        if kind == "number" and not numeric and not (dated and names.is_time(owned)):
            yield Finding("type", f"{said}, yet it holds numbers")
        elif kind != "text" and names.is_key(owned) and not numeric:
            yield Finding("type", f"{said}, yet it is a key")
        elif kind == "time" and not re.search(r"\d", text):
            yield Finding("type", f"{said}, yet it holds times")
        elif by_size and not (numeric or dated or kind == "time"):
            yield Finding("type", f"{said} by size")
    elif (
        theirs is not None and by_size and "" not in (kind, names.kind(theirs)) and kind != names.kind(theirs)
    ):
        yield Finding("type", f"{said}, yet they hold {kind} and {names.kind(theirs)}")


def _is_day(owned: Owned, value: float, names: Catalogue) -> bool:
    """A day is no number; a column of years may be declared a time or a text."""
    return "date" in names.stems_of(owned[1]) or (names.is_time(owned) and not 1000 <= value <= 2100)


def _group_findings(s: Statement, names: Catalogue, owners: Owners) -> Iterator[Finding]:
    for place in s.all(exp.Select):
        select, group = place.node, place.node.args.get("group")
        items = [item.unalias() for item in select.expressions]
        totals = [item for item in items if item.find(*AGGREGATES)]
        plain = [item for item in items if isinstance(item, exp.Column) and id(item) in owners]
        if group is None:
            if totals and plain and not select.find(exp.Window):
                yield Finding(
                    "ungrouped", f"{plain[0].sql()} stands beside {totals[0].sql()} without GROUP BY"
                )
            if select.args.get("having"):
                yield Finding("ungrouped", "HAVING without GROUP BY")
            continue
        keys = [owner(key, owners) for key in group.expressions]
        spelt = {key.sql().casefold() for key in group.expressions}
        for item in plain:
            if not (
                {item.sql().casefold(), item.name.casefold()} & spelt
                or _follows(owners[id(item)], keys, names)
            ):
                yield Finding("ungrouped", f"{item.sql()} is not in GROUP BY")
        if place.block is None and totals and len(totals) == len(items):
            yield Finding("group not shown", "the groups have numbers but no names")
        if not totals and not select.args.get("having") and not select.args.get("order"):
            yield Finding("idle group", "GROUP BY without an aggregate")


def _follows(own: Owned, keys: Sequence[Owned | None], names: Catalogue) -> bool:
    """Whether a column has one value in a group: it is grouped by, or belongs to the row that a key names."""
    for key in keys:
        if key is None or not key[0] or key == own:
            return True
        if names.is_key(key) and own[0] in (key[0], names.refers.get(key, ("",))[0]):
            return True
    return False


def _sense_findings(s: Statement, owners: Owners, texts: Mapping[int, str]) -> Iterator[Finding]:
    """What no person would ask: the same thing twice, conditions that cannot hold, what the question has told."""
    given = [item.sql().casefold() for item in s.projections]
    if len(set(given)) < len(given):
        yield Finding("twice", "the SQL gives the same column twice")
    for place in s.all(exp.Between):
        ends = (place.node.args["low"], place.node.args["high"])
        low, high = (number(end) for end in ends)
        if low is not None and high is not None and low > high:
            yield Finding("never so", f"{place.node.sql()} is an empty range")
        elif (low is None) != (high is None) and any(id(end) in texts for end in ends):
            yield Finding("never so", f"{place.node.sql()} has unlike ends")
    for place in s.all(exp.Select):
        where, wanted = place.node.args.get("where"), defaultdict(set)
        if where is None:
            continue
        for part in where.this.flatten() if isinstance(where.this, exp.And) else [where.this]:
            if isinstance(part, exp.EQ) and owner(part.this, owners):
                value = texts.get(id(part.expression), number(part.expression))
                if value is not None:
                    wanted[part.this.sql().casefold()].add(f"{value}".casefold())
        for name, values in wanted.items():
            if len(values) > 1:
                yield Finding("never so", f"{name} cannot be both {' and '.join(sorted(values))}")
        if place.node is outermost(s.tree) and len(given) == 1 and given[0] in wanted:
            yield Finding("echo", f"the SQL gives {given[0]}, which it was told")


def _value_findings(
    s: Statement, owners: Owners, texts: Mapping[int, str], contents: ContentsView
) -> Iterator[Finding]:
    """Texts that are not in the column that they are looked for in."""
    for place in s.all(exp.EQ, exp.NEQ, exp.In):
        owned = owner(place.node.this, owners)
        values = place.node.expressions if isinstance(place.node, exp.In) else [place.node.expression]
        for value in values if owned is not None and owned[0] else ():
            text = texts.get(id(value), "")
            if not _WORDY.search(text) or text.casefold() == "null":
                continue
            held = {(table.casefold(), name.casefold()) for table, name in contents.find(text)}
            if not held:
                yield Finding("value of nowhere", f"no column holds {text!r}")
            elif owned not in held:
                there = ", ".join(".".join(each) for each in sorted(held)[:2])
                yield Finding("value elsewhere", f"{text!r} is not in {place.node.this.sql()} but in {there}")


def _unsaid_values(
    words: Wording, texts: Mapping[int, str], names: Catalogue, contents: ContentsView
) -> Iterator[Finding]:
    """Values of the database that the question says and the SQL does not."""
    said = [text.casefold() for text in texts.values()]
    together = " ".join(said)
    free = [True] * len(words.words)
    idle = [_STOP.fullmatch(word) or word.isdigit() or stem(word) in names.words for word in words.words]
    for n in (4, 3, 2, 1):
        for i in range(len(words.words) - n + 1):
            run = " ".join(words.words[i : i + n])
            if all(idle[i : i + n]) or not all(free[i : i + n]) or len(run) < 3:
                continue
            held = list(contents.find(run))
            if (
                n == 1 and words.tokens[i].islower()
            ):  # a song is called Money; who says money does not mean it
                held = [place for place in held if len(run) > 3 and not _TITLES & set(stems(place[1]))]
            if held:
                free[i : i + n] = [False] * n
                if run not in together and not any(len(text) > 2 and text in run for text in said):
                    yield Finding(
                        "value left out", f"{run!r} is in {'.'.join(held[0])}, the SQL does not look for it"
                    )
