"""Columns and tables: those that the question names belong into the SQL, those of the SQL are named or implied by the
question, and what is asked for is what is given.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

from sqlconf.catalogue import Catalogue, Owned
from sqlconf.cues import ASKS_COUNT, DATED, cue
from sqlconf.finding import Finding
from sqlconf.statement import AGGREGATES, COMPARISONS, Place, Statement, column, outermost
from sqlconf.wording import Phrase, Wording, alike, phrase, stem, stems

_GENERIC = frozenset(stems("id name code key number no title detail details description type value"))
"""Words that too many columns have for them to tell one from another."""
_COUNTING = frozenset(
    stems("number numbers count counts total amount quantity average mean maximum minimum sum overall")
)
_NAMING = frozenset(stems("name title surname forename label"))
_TELLING = _NAMING | frozenset(stems("id code detail description"))
_TIMES = frozenset(stems("year date founded built established opened born since"))
_SAYS_NAME = cue(r"\w*names?|named|titles?|called|who|whom|which")
_YEAR = re.compile(r"\b(?:1\d|20)\d\d\b")

_IMPLIED = tuple(
    (frozenset(stems(columns)), cue(says))
    for columns, says in (
        ("age birth birthday", r"old|older|oldest|young\w*|age[ds]?|over \d+|under \d+"),
        ("price cost amount fee rate charge value total",
         r"cheap\w*|expensive|costs?|pric\w+|pay|paid|worth|values?|spen[dt]\w*|dear\w*|earn\w*|how much|revenue|sales|money"),
        ("capacity size", r"big\w*|larg\w*|small\w*|holds?|seats?|fits?|accommodates?"),
        ("duration length distance height",
         r"long|longer|longest|short\w*|tall\w*|far\w*|high\w*|big\w*|larg\w*|small\w*"),
        ("population", r"people|inhabitants|residents|populous|populated|big\w*|larg\w*|small\w*|live"),
        ("salary wage income", r"earn\w*|paid|pay|income|make"),
        ("weight", r"heav\w*|light\w*|weigh\w*"),
        ("quantity stock amount count number",
         r"stock|units|how (?:many|much)|totals?|numbers?|amounts?|overall|pieces|worth|values?"),
        ("speed time", r"fast\w*|slow\w*|quick\w*"),
        ("gender sex", r"genders?|sex|fe?males?|m[ae]n|women|woman|boys?|girls?"),
        ("rating score star stars point points rank", r"best|worst|rated|ratings?|scores?|well|top"),
    )
)  # fmt: skip
"""Words that mean a column without naming it; wide, for what the SQL may use."""

_MEANT = (
    ("age", frozenset(stems("age birth birthday")), cue("oldest|youngest|older|younger")),
    ("gender", frozenset(stems("gender sex male female")), cue("fe?males?|wom[ae]n")),
    ("price", frozenset(stems("price cost fee amount")), cue("cheap(?:er|est)|(?:more|most|least|less) expensive")),
)  # fmt: skip
"""The same, narrow, for what the SQL must use where the schema has it."""


@dataclass(frozen=True)
class _Given:
    """A column in the SQL's result."""

    name: str
    owned: Owned
    stems: frozenset[str]


def mention_findings(
    words: Wording, s: Statement, catalogue: Catalogue, texts: Mapping[int, str]
) -> Iterator[Finding]:
    used = [
        place
        for place in s.all(exp.Column)
        if id(place.node) not in texts and not isinstance(place.node.this, exp.Star)
    ]
    yield from _unnamed(words, used, catalogue)
    stars = any(item.is_star and not isinstance(item, exp.Count) for item in s.projections)
    if not stars:
        names = {place.node.name.casefold() for place in used}
        tables = {place.node.name.casefold() for place in s.all(exp.Table)}
        yield from _left_out(words, names, tables, catalogue)
        yield from _asked(words, s, catalogue)


def _unnamed(words: Wording, used: list[Place], catalogue: Catalogue) -> Iterator[Finding]:
    """Columns that are given, filtered by size or sorted by, of which the question says nothing."""
    for place in used:
        node, block = place.node, place.block
        inner = block is None or block.outer is not None
        if (
            place.clause in ("joins", "group")
            or (place.clause == "expressions" and inner)
            or _told_by_value(place)
        ):
            continue
        owned = catalogue.owner(node, block) or ("", node.name.casefold())
        if not catalogue.is_key(owned) and not _implied(words, owned, catalogue):
            kind = {"expressions": "unnamed result", "order": "unnamed order"}.get(
                place.clause, "unnamed condition"
            )
            yield Finding(kind, f"the question says nothing of {node.name}")


def _told_by_value(place: Place) -> bool:
    """A value tells its column, and two columns compared tell each other: "from France", "late"."""
    parent = place.node.parent
    if isinstance(parent, exp.In | exp.Like | exp.Is):
        return True
    if not isinstance(parent, COMPARISONS):
        return False
    other = parent.expression if parent.this is place.node else parent.this
    return column(other) is not None or (isinstance(other, exp.Literal) and other.is_string)


def _implied(words: Wording, owned: Owned, catalogue: Catalogue) -> bool:
    whole = catalogue.stems_of(owned[1])
    own = {word for word in whole - _GENERIC if len(word) > 2}
    if not own or own & words.stem_set or (whole & _NAMING and words.says(_SAYS_NAME)):
        return True
    if any(alike(a, b) or _short_for(a, b) for a in own for b in words.words):
        return True
    joined = "".join(words.words)
    if any(len(word) > 3 and word in joined for word in own):
        return True
    if catalogue.is_time(owned) and (words.says(DATED) or words.says(_YEAR)):
        return True
    return any(own & columns and words.says(says) for columns, says in _IMPLIED)


def _short_for(short: str, word: str) -> bool:
    """`crs` for course, `enr` for enrollment, `apt` for apartment."""
    if not 2 < len(short) < 5 or len(word) <= len(short) or short[0] != word[0]:
        return False
    letters = iter(word)
    return all(letter in letters for letter in short)


def _left_out(words: Wording, names: set[str], tables: set[str], catalogue: Catalogue) -> Iterator[Finding]:
    """Columns and tables that the question names or clearly means."""
    used = frozenset(word for name in names | tables for word in catalogue.stems_of(name))
    run_together = " ".join(names | tables)
    proper = {word for name in [*words.names, *words.quoted] for word in phrase(name)}

    def there(said: Phrase) -> bool:
        return {stem(word) for word in said} <= used or all(word in run_together for word in said)

    for meaning, sorts, says in _MEANT:
        has = any(catalogue.stems_of(name) & sorts for name in catalogue.columns)
        if (
            has
            and words.says(says)
            and not any(catalogue.stems_of(name) & (sorts | _TIMES) for name in names)
        ):
            yield Finding(
                "column left out", f"the question says {words.says(says)!r}, the SQL uses no {meaning}"
            )
    columns = {
        said: name
        for said, name in catalogue.column_phrases.items()
        if said in words.runs and _tells(said, catalogue) and not set(said) <= proper
    }
    for said, name in _longest(columns):
        if not there(said):
            kind = "column left out" if len(said) > 1 else "word left out"
            yield Finding(kind, f"the question names {name}, the SQL does not use it")
    named = {said: name for said, name in catalogue.table_phrases.items() if said in words.runs}
    for said, name in _longest(named):
        if name.casefold() not in tables and not there(said):
            yield Finding("table left out", f"the question names {name}, the SQL does not use it")


def _tells(said: Phrase, catalogue: Catalogue) -> bool:
    """Whether saying these words means the column: not `name`, not `supplier id`, not the table that is called so."""
    own = {stem(word) for word in said}
    if own <= _GENERIC | _COUNTING or said[-1] == "id":
        return False
    return len(said) > 1 or (not own & catalogue.table_words and len(said[0]) > 2)


def _longest(found: Mapping[Phrase, str]) -> Iterator[tuple[Phrase, str]]:
    """Those that are no part of another: not `price` where `unit price` was said."""
    for said, name in found.items():
        if not any(set(said) < set(other) for other in found):
            yield said, name


def _asked(words: Wording, s: Statement, catalogue: Catalogue) -> Iterator[Finding]:
    """What the question asks to see, against the SQL's result."""
    items, top = s.projections, outermost(s.tree)
    block = next((p.block for p in s.all(exp.Column) if p.block is not None and p.block.select is top), None)
    given = [
        _Given(
            found.name.casefold(),
            catalogue.owner(found, block) or ("", found.name.casefold()),
            catalogue.stems_of(found.name),
        )
        for item in items
        for found in item.find_all(exp.Column)
    ]
    for thing in words.asked if items else ():
        if given:
            fits = _fits(thing, given, words, catalogue)
        else:
            fits = not _wants_rows(thing, items, words, catalogue)
        if not fits:
            kind = "thing not given" if stem(thing[-1]) in catalogue.table_words else "not given"
            yield Finding(kind, f"the question asks for {' '.join(thing)!r}, the SQL does not give it")
    if words.sentences != 1 or not words.asked:
        return
    if len(words.asked) > len(items):
        yield Finding(
            "too few columns", f"the question asks for {len(words.asked)} things, the SQL gives {len(items)}"
        )
    elif len(words.asked) < len(items) and not s.has(*AGGREGATES):
        extra = [one.name for one in given if not one.stems & words.stem_set]
        if extra:
            yield Finding("too many columns", f"the SQL gives {extra[0]} too")


def _wants_rows(thing: Phrase, items: list[exp.Expr], words: Wording, catalogue: Catalogue) -> bool:
    """Whether things are asked for where the SQL gives nothing but a count of them."""
    own = {stem(word) for word in thing}
    counted = len(items) == 1 and isinstance(items[0], exp.Count)
    return (
        counted and stem(thing[-1]) in catalogue.words and not own & _COUNTING and not words.says(ASKS_COUNT)
    )


def _fits(thing: Phrase, given: list[_Given], words: Wording, catalogue: Catalogue) -> bool:
    """Whether one of the columns can be the thing asked for; true for what the schema does not know."""
    head = stem(thing[-1])
    if head not in catalogue.words or head in _COUNTING:
        return True
    own = frozenset(word for one in given for word in one.stems)
    if (
        head in own
        or any(head in one.name for one in given)
        or any(len(word) > 3 and alike(head, word) for word in own)
    ):
        return True
    if head in _NAMING:  # "the names of all directors" of a column `director`
        others = {stem(word) for other in words.asked if other is not thing for word in other}
        return bool(own & _NAMING) or any(
            one.stems & words.stem_set - others - _COUNTING
            and "id" not in one.stems
            and catalogue.kind(one.owned) in ("text", "")
            for one in given
        )
    if head == "id":
        return any(catalogue.is_key(one.owned) for one in given)
    if len(thing) > 1 and own & {stem(word) for word in thing} - _GENERIC:
        return True
    if head in catalogue.table_words and len(thing) < 4 and stem(thing[0]) not in _COUNTING:
        return any(_stands_for(head, one, catalogue) for one in given)
    return head in catalogue.table_words


def _stands_for(head: str, one: _Given, catalogue: Catalogue) -> bool:
    """Whether a column tells one row of a table from another: its name, its code, its key."""
    table = catalogue.refers.get(one.owned, ("",))[0]
    if head not in catalogue.stems_of(one.owned[0]) | catalogue.stems_of(table):
        return False
    return bool(one.stems & _TELLING) or catalogue.is_key(one.owned)
