"""Numbers and names: each one of the question belongs into the SQL, and each one of the SQL comes from the question."""

import re
from collections.abc import Iterable, Iterator, Mapping

from sqlglot import exp

from sqlconf.catalogue import Catalogue
from sqlconf.cues import COUNTS, DATED, LESS, MORE
from sqlconf.finding import Finding
from sqlconf.statement import COMPARISONS, Statement, column, is_operand, number
from sqlconf.wording import MONTHS, Number, Wording, alike, stem

_GAP = r"(?: the)?(?: (?:age of|year|age|\w+))? ?\$?$"
_BEFORE = (
    (">=", re.compile(rf"\b(?:at least|no (?:less|fewer) than|not less than|minimum of|(?:{MORE}) than or equal to){_GAP}")),
    ("<=", re.compile(rf"\b(?:at most|no (?:more|later) than|not more than|maximum of|up to|(?:{LESS}) than or equal to){_GAP}")),
    (">", re.compile(rf"\b(?:(?:{MORE}) than|above|beyond|exceed\w*|over|after){_GAP}")),
    ("<", re.compile(rf"\b(?:(?:{LESS}) than|below|under|before|short of){_GAP}")),
    ("=", re.compile(r"\b(?:exactly|equal to|equals)(?: the)? ?\$?$")),
)  # fmt: skip
_AFTER = (
    (">=", re.compile(r"^ ?%?(?: \w+)? (?:or|and) (?:more|up|above|over|older|later|higher|greater)\b(?! than| \d)|^ ?\+")),
    ("<=", re.compile(r"^ ?%?(?: \w+)? (?:or|and) (?:less|fewer|down|below|under|younger|earlier|lower)\b(?! than| \d)")),
)  # fmt: skip
_OPERATORS: dict[type[exp.Expr], str] = dict(zip(COMPARISONS, ("=", "<>", ">", ">=", "<", "<="), strict=True))
_MIRRORED = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "=": "=", "<>": "<>"}
_DENIED = {">": "<=", "<": ">=", ">=": "<", "<=": ">", "=": "<>", "<>": "="}
_CODES = frozenset(("yes", "no", "true", "false", "null", "none"))
_QUARTER = re.compile("q[1-4]")
_IN_YEAR = re.compile(r"\b(?:in|during|year|since|throughout|of) $")
_DATE = re.compile(r"\d{4}-\d\d(?:-\d\d)?")
_NOUN = re.compile(r" ?(?:different |distinct |or more |or less )?(\w{3,})")
_WORD = re.compile(r"[^\W_]+")
_DIGITS = re.compile(r"\d+(?:\.\d+)?")
_MANY = 200
"""Words and texts of the SQL that are looked at; a list of more was not said by a person."""

Compared = tuple[str, float, exp.Expr]
"""An operator, the number on its right, and the comparison."""


def literal_findings(
    words: Wording, s: Statement, catalogue: Catalogue, texts: Mapping[int, str], used: frozenset[str]
) -> Iterator[Finding]:
    """`texts` are those compared with, by node; `used` the stems of all names in the SQL."""
    literals = " ".join([*(place.node.name for place in s.all(exp.Literal)), *texts.values()]).casefold()
    yield from _numbers_wanted(words, s, literals, catalogue)
    yield from _numbers_given(words, s)
    yield from _years(words, s, catalogue)
    yield from _names_wanted(words, catalogue, literals, used)
    for text in [*texts.values()][:_MANY]:
        if not _comes_from(text.strip("%").casefold(), words):
            yield Finding("text of nowhere", f"{text!r} stands nowhere in the question")


def _numbers_wanted(words: Wording, s: Statement, literals: str, catalogue: Catalogue) -> Iterator[Finding]:
    comparisons = list(_compared(s))
    present = {float(digits) for digits in _DIGITS.findall(literals)}
    for wanted in words.numbers:
        n, bound = wanted.value, None if words.months else _bound(wanted)
        there = bool({n, n / 100, n - 1, n + 1} & present)
        if bound is not None and there:
            yield from _bound_findings(wanted, bound, comparisons, catalogue)
        elif not there and not (
            bound is None and (wanted.text in literals or (n == 2 and not wanted.digits))
        ):
            yield Finding("number", f"{wanted.text} of the question is not in the SQL")
    for token in words.tokens:
        if _DATE.fullmatch(token) and not {float(part) for part in token.split("-")} <= present:
            yield Finding("number", f"{token} of the question is not in the SQL")


def _bound_findings(
    wanted: Number, bound: str, comparisons: list[Compared], catalogue: Catalogue
) -> Iterator[Finding]:
    """The number is compared with, as the question says, and it is a count where things are counted."""
    n = wanted.value
    compared = {(operator, value) for operator, value, _ in comparisons}
    if not compared & _meets(bound, n) and any(value == n for _, value in compared):
        loose = (bound[0] if bound[1:] else f"{bound}=", n) in compared
        kind = "bound off by one" if loose else "bound"
        yield Finding(kind, f"the question wants {bound} {wanted.text}, the SQL compares otherwise")
        return
    noun = _NOUN.match(wanted.after)
    sides = [node for _, value, node in comparisons if abs(value - n) <= 1]
    things = stem(noun[1]) if noun else ""
    if sides and things in catalogue.table_words:
        if any(_may_count(node, things, catalogue) for node in sides):
            return
        yield Finding("bound", f"the question wants {bound} {wanted.text} {things}, the SQL counts none")


def _bound(n: Number) -> str | None:
    """The comparison that the words around a number ask for."""
    after = (operator for operator, pattern in _AFTER if pattern.search(n.after))
    before = (operator for operator, pattern in _BEFORE if pattern.search(n.before.rstrip(" $€£")))
    return next(after, None) or next(before, None)


def _meets(bound: str, n: float) -> set[tuple[str, float]]:
    """The comparisons that say it, of whole numbers too: at least 3 is more than 2."""
    other = {">=": (">", n - 1), "<=": ("<", n + 1), ">": (">=", n + 1), "<": ("<=", n - 1), "=": ("=", n)}
    return {(bound, n), other[bound]}


def _may_count(node: exp.Expr, noun: str, catalogue: Catalogue) -> bool:
    """Whether a comparison is of a count, or of a column that may hold one."""
    if node.find(exp.Count, exp.Sum):
        return True
    return any((COUNTS | {noun}) & catalogue.stems_of(found.name) for found in node.find_all(exp.Column))


def _compared(s: Statement) -> Iterator[Compared]:
    for place in s.all(*COMPARISONS):
        node, operator = place.node, _OPERATORS[type(place.node)]
        value = number(node.expression)
        if value is None:
            value, operator = number(node.this), _MIRRORED[operator]
        around = node.parent
        while isinstance(around, exp.Paren):
            around = around.parent
        if value is not None:
            yield (_DENIED[operator] if isinstance(around, exp.Not) else operator), value, node
    for place in s.all(exp.Between):
        for end, operator in (("low", ">="), ("high", "<=")):
            value = number(place.node.args[end])
            if value is not None:
                yield operator, value, place.node


def _numbers_given(words: Wording, s: Statement) -> Iterator[Finding]:
    said = words.folded.replace(",", "")
    wanted = {value for n in words.numbers for value in (n.value, n.value / 100, n.value - 1, n.value + 1)}
    for place in s.all(exp.Literal):
        node, value = place.node, number(place.node)
        if value is None or value in (0, 1) or value in wanted:
            continue
        if isinstance(node.parent, exp.Limit | exp.Fetch):
            yield Finding("number of nowhere", f"LIMIT {node.name} stands nowhere in the question")
        elif is_operand(node) and node.name not in said:
            yield Finding("number of nowhere", f"{node.name} stands nowhere in the question")


def _years(words: Wording, s: Statement, catalogue: Catalogue) -> Iterator[Finding]:
    """Who says "during 2025" does not mean order 2025."""
    years = {n.value for n in words.numbers if 1900 <= n.value <= 2100 and _IN_YEAR.search(n.before)}
    for place in s.all(exp.EQ) if years else ():
        key, value = column(place.node.this), number(place.node.expression)
        owned = catalogue.owner(key, place.block) if key is not None and value in years else None
        if owned is not None and catalogue.is_key(owned) and not catalogue.is_time(owned):
            yield Finding("bound", f"the year {value:g} is taken for a key")


def _names_wanted(
    words: Wording, catalogue: Catalogue, literals: str, used: frozenset[str]
) -> Iterator[Finding]:
    parts = _WORD.findall(literals)[:_MANY]
    initials = "".join(part[0] for part in parts)
    for quoted in words.quoted:
        own = _WORD.findall(quoted.casefold())
        known = quoted.casefold() in literals or used & {stem(word) for word in own}
        if not known and not _any_alike(own, parts):
            yield Finding("name", f"{quoted!r} of the question is not in the SQL")
    for name in words.names:
        own = _WORD.findall(name.casefold())
        told = [word for word in own if stem(word) not in catalogue.words and not word.isdigit()]
        known = name.casefold() in initials or used & {stem(word) for word in own}
        if (
            not told
            or known
            or _any_alike(told, parts)
            or _any_alike(told, used)
            or _QUARTER.fullmatch(told[0])
        ):
            continue
        if all(len(word) > 2 and any(month.startswith(word) for month in MONTHS) for word in told):
            if not any(f"{month:02d}" in literals for month in words.months):
                yield Finding("month", f"{name} of the question is not in the SQL")
        else:
            yield Finding("name", f"{name} of the question is not in the SQL")


def _any_alike(some: Iterable[str], others: Iterable[str]) -> bool:
    return any(alike(a, b) for a in some for b in others)


def _comes_from(bare: str, words: Wording) -> bool:
    tokens = _WORD.findall(bare)
    if not tokens or bare in words.folded or bare in _CODES:
        return True
    if len(bare) == 1:  # a code: F for female, Y for yes
        return bare in "tyn01" or any(word.startswith(bare) for word in words.words)
    if not re.search(r"[^\W\d_]{2}", bare):  # digits and what parts them: a date, a time
        said = {digits.lstrip("0") for digits in re.findall(r"\d+", words.folded)}
        said |= {f"{n.value:g}" for n in words.numbers}
        here = {digits.lstrip("0") for digits in re.findall(r"\d+", bare)}
        return bool(said & here) or words.says(DATED) is not None
    return _any_alike(tokens[:10], words.words) or bare.replace(" ", "") in words.folded.replace(" ", "")
