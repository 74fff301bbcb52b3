"""Clauses that a question's words want, and words without which a clause stands in the SQL for no reason.

    How many singers are older than 30?   wants COUNT and > or >=, and allows no LIMIT

Each rule is a pair of patterns. `wants` is narrow: who says this expects the clause. `allows` is wide: any of it can be
why the clause is there. Between the two no finding is made.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlglot import exp

from sqlconf.finding import Finding
from sqlconf.statement import AGGREGATES, LIKES, Statement
from sqlconf.wording import MONTHS, Wording, stem, stems

Shows = Callable[[Statement], bool]


def cue(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{pattern})(?!\w)")


_NOT_EST = (
    "interest|request|test|guest|west|northwest|southwest|midwest|forest|contest|harvest|chest|rest|quest|protest|invest|"
    "digest|suggest|nest|vest|pest|honest|modest|arrest|crest|bucharest|budapest|everest|manifest|inquest|bequest|priest|"
    "conquest|ernest|attest"
)
_EST = rf"(?!(?:{_NOT_EST})s?\b)\w{{2,}}est"
_MOST = rf"(?<!at )(?:most|least)|{_EST}|max|maximum|min|minimum|top|bottom"
MORE = "more|greater|larger|bigger|higher|longer|heavier|taller|older|later|wider|deeper"
LESS = "less|fewer|lower|smaller|shorter|lighter|younger|earlier|cheaper|narrower"
"""Words of comparison, for numbers and for things."""
COUNTS = frozenset(stems("number count total amount quantity population size no many"))
"""Stems in the names of columns that may hold a count."""
_SHARE = re.compile(r"\b(?:percent(?:age)?s?|proportion|ratio|fraction)\b|(?<![\d ])\s%")


@dataclass(frozen=True)
class Rule:
    kind: str
    clause: str
    """For the note."""
    shows: Shows
    wants: re.Pattern[str]
    allows: re.Pattern[str] | None = None
    """None: the clause needs no reason."""
    otherwise: Shows = lambda statement: False
    """What else can be meant by the words."""


def _orders(s: Statement) -> bool:
    return s.has(exp.Order)


def _gives_number(s: Statement) -> bool:
    """Whether the result has a column that may hold a count, or a number made of counts."""
    if projects(s, exp.Avg) or projects(s, exp.Max) or projects(s, exp.Min):
        return True
    return any(
        COUNTS & set(stems(found.name)) for item in s.projections for found in item.find_all(exp.Column)
    )


def _says_no(s: Statement) -> bool:
    zero = any(p.node.expression.name == "0" for p in s.all(exp.EQ, exp.LTE, exp.GT))
    unlike = any(p.node.args.get("negate") for p in s.all(*LIKES))
    return zero or unlike or any(p.node.args.get("side") for p in s.all(exp.Join))


RULES = (
    Rule(
        "count", "COUNT in its result", lambda s: projects(s, exp.Count) or projects(s, exp.Sum),
        cue(r"how many|counts? (?:per|by|for each)|total count|(?:with|and) (?:the|their|its) (?:count|number)|"
            r"(?:find|give|show|return|what is|tell me|get|fetch|count) (?:me )?the (?:total )?(?:number|count) of|^count"),
        otherwise=_gives_number,
    ),
    Rule(
        "average", "AVG", lambda s: s.has(exp.Avg),
        cue("average|mean|avg"), cue(r"average\w*|mean|avg|typical\w*|usual\w*"),
        lambda s: s.has(exp.Div),
    ),
    Rule(
        "sum", "SUM", lambda s: s.has(exp.Sum),
        cue("total(?! (?:number|count))|sum|overall|combined|altogether"),
        cue(r"totals?|totall?ed|sums?|overall|combined|altogether|together|in all|how (?:much|many)|numbers?|amounts?|worth|"
            r"values?|percent\w*|share|volumes?|revenue|turnover|sales|sp[ea]nd\w*|spent|costs?|aggregated?|all|whole|%|stock"),
        lambda s: s.has(exp.Count),
    ),
    Rule(
        "extreme", "LIMIT, MAX or MIN", lambda s: s.has(exp.Max, exp.Min, exp.Limit, exp.Fetch),
        cue(_MOST),
        cue(_MOST + r"|first|last|recent\w*|popular|common\w*|frequent\w*|worst|leading|before all|after all|others?|record|"
            r"peak|single|one|\d+|two|three|four|five|ten|main\w*|mostly|than (?:all|any|every)|ranges?|extremes?|lead\w*|"
            r"favou?rite|preferred|fast\w*|slow\w*|ever|winner|champion|sample|examples?|some|any|limit\w*|up to"),
        lambda s: s.has(exp.Window, exp.All) or _orders(s),
    ),
    Rule(
        "order", "ORDER BY", _orders,
        cue(r"(?:sort|order|rank|arrang)(?:ed)?(?: \w+)? by|sorted|alphabetical\w*|ascending|descending|"
            r"(?:in|by) (?:increasing|decreasing|chronological|lexicographic\w*|reverse)|chronological\w*|"
            r"(?:lowest|smallest|oldest|youngest|highest|largest|most|least|low|high|newest|latest|cheapest|biggest) to"),
        cue(_MOST + r"|sort\w*|order\w*|rank\w*|alphabet\w*|asc\w*|desc\w*|increas\w*|decreas\w*|chronolog\w*|arrang\w*|first|"
            r"last|lexico\w*|dictionary|reverse|recent\w*|popular|common\w*|frequent\w*|best|worst|leading|fast\w*|slow\w*"),
    ),
    Rule(
        "distinct", "DISTINCT", lambda s: s.has(exp.Distinct, exp.Group),
        cue("different|distinct|unique|separate|without (?:repeats|duplicates|repetition)"),
        otherwise=lambda s: s.has(exp.SetOperation, exp.Intersect, exp.Except, exp.Union, exp.NEQ, exp.Sub),
    ),
    Rule(
        "negation", "NOT or its kin", lambda s: s.has(exp.Not, exp.NEQ, exp.Except),
        cue(r"(?<!or )not(?! only)|\w+n['’]t|without(?! repe| dupl)|never|neither|nor|except|excluding|excludes?|other than|none|"
            r"lack(?:s|ing)?|outside|no(?! (?:more|less|fewer|later|earlier|matter))|apart from|cannot|unable|nobody"),
        cue(r"not|\w+n['’]t|without|never|neither|nor|except\w*|exclud\w*|others?|none|lack\w*|outside|no|but|apart|cannot|"
            r"un\w+|in\w+|nobody|missing|empty|null|only|different|yet|left|rather|still|all|every|each|absent|blank|zero|non|"
            r"any|remain\w*|fail\w*|ignor\w*|besides|out of|\w+less|minus|known|available|exist\w*|have|has|with"),
        lambda s: s.has(exp.Is) or _says_no(s),
    ),
    Rule(
        "either", "OR", lambda s: s.has(exp.Or, exp.Union),
        cue("either"), cue(r"or|either|and|any|as well|both|nor|plus|also|together|including|between|neither|along"),
        lambda s: s.has(exp.In, exp.Between),
    ),
    Rule(
        "both", "a second condition", lambda s: s.has(exp.Intersect, exp.And, exp.In, exp.Exists, exp.Or, exp.Union),
        cue("both"), otherwise=lambda s: len(s.projections) > 1,
    ),
    Rule(
        "like", "LIKE", lambda s: s.has(exp.Like, exp.ILike, exp.Glob),
        cue(r"(?:contain|includ)\w* (?:(?:the|a|an) )?(?:words?|letters?|strings?|substrings?|phrases?|characters?|text|['\"])|"
            r"start\w* with|begin\w* with|end(?:s|ing)? with|substring|prefix|suffix|somewhere in|the (?:letters?|substring)"),
        otherwise=lambda s: s.has(exp.Substring, exp.StrPosition, exp.StartsWith, exp.Left, exp.Right),
    ),
    Rule(
        "more", "comparison for more", lambda s: s.has(exp.GT, exp.GTE, exp.Between),
        cue(rf"(?:{MORE}) than|at least(?! an? | one| once| 1\b)|exceed\w*|above|beyond|over (?=\$?\d|the average|average)|"
            r"after (?=\d)|(?<!one )or more|and (?:up|above|over)|no (?:less|fewer) than"),
        cue(rf"{MORE}|above|beyond|exceed\w*|over(?! all)|after|since|than|at least|minimum|from|past|between|during|in|late\w*|"
            r"delay\w*|overdue|beat\w*|up|outside|some|multiple|several|starting|within|last|ever|repeat\w*|any|on|until|to|"
            r"available|positive|still|not|future|surpass\w*|recent\w*|current\w*|has|have|having|with|least|twice|once|many|"
            r"without|no|new\w*|different|again|often|each|one"),
        lambda s: s.has(exp.Max, exp.Except, exp.Not, exp.Order),
    ),
    Rule(
        "less", "comparison for less", lambda s: s.has(exp.LT, exp.LTE, exp.Between),
        cue(rf"(?:{LESS}) than|at most|below|under (?=\$?\d|the average|average)|before (?=\d)|or (?:less|fewer)|and down|"
            r"no (?:more|later) than|short of"),
        cue(rf"{LESS}|below|under|before|than|at most|maximum|until|up to|till|by|between|during|in|early|on time|late|to|from|"
            r"south|short|within|through|down|no|not|outside|past|prior|ahead|old|worse|behind|on|most|expired|previous\w*|"
            r"limit\w*|cheap|low|only|without|affordable|within"),
        lambda s: s.has(exp.Min, exp.Except, exp.Not, exp.Order),
    ),
    Rule(
        "between", "range", lambda s: s.has(exp.Between) or sum(1 for _ in s.all(exp.GT, exp.GTE, exp.LT, exp.LTE)) > 1,
        cue(r"between \S+ and \S*\d"), otherwise=lambda s: s.has(exp.Sub, exp.In),
    ),
    Rule(
        "share", "division", lambda s: s.has(exp.Div), _SHARE,
        otherwise=lambda s: s.has(exp.Avg, exp.Mul),
    ),
)  # fmt: skip

_GROUP = cue("each|every|per")
_GROUP_BY = re.compile(r"(?<!ed)(?<!en)(?<!ght)(?<!ade)(?<!nt)(?<!on) by (?:the )?(\w+)")
_SORTED_BY = re.compile(r"\b(?:sort|order|rank|arrang)\w*(?: \w+){0,4} by\b")
_GROUPS = cue(
    _MOST + r"|each|every|per|by|all|different|respective\w*|group\w*|popular|common\w*|frequent\w*|more than|at least|"
    r"fewer|less|exactly|only|numbers?|counts?|totals?|over|above|multiple|several|same|together|distinct|unique|any|"
    r"repeat\w*|two|three|once|twice|overall|both|beyond|between|average|short of|\d+|along|corresponding|how (?:many|much)|"
    r"shared?|as many|many|and|more"
)  # fmt: skip
_AGGREGATE = cue(
    r"how many|numbers?|count|average|mean|total|sum|overall|maximum|minimum|highest|lowest|most|fewest"
)

ASKS_COUNT = cue(
    r"how (?:many|often)|counts?|tally|numbers|frequenc\w*|times|statistics|popularity|"
    r"(?:^|(?:the|total|exact|and|find|what(?: i|')s|overall|corresponding|respective|different|of|their) )numbers?|total|"
    r"amount|size|percent\w*|share"
)
_HIGH = cue(
    r"(?<!at )most|maximum|max|(?:high|larg|bigg|great|long|tall|heavi|old|new|lat|rich|strong|deep|wid)(?:e?st)|top|priciest"
)
_LOW = cue(
    r"(?<!at )least|minimum|min|(?:low|small|few|short|young|cheap|earli|light|tini|narrow|shallow)(?:e?st)|bottom"
)
_AGE = cue("oldest|youngest|newest")
_BIRTH = frozenset(stems("birth date year time born founded established built opened hired"))
_TOP = "high|highest|large|largest|most|more|newest|latest|biggest|greatest|longest|best|priciest"
_BOTTOM = "low|lowest|small|smallest|least|less|earliest|shortest|cheapest|fewest|worst|oldest"
_DOWN = cue(
    rf"descending|decreasing|desc|reverse|(?:{_TOP})(?: \w+){{0,2}} (?:first|to (?:the )?(?:{_BOTTOM}))"
)
_UP = cue(
    rf"ascending|increasing|asc|alphabetical\w*|(?:{_BOTTOM})(?: \w+){{0,2}} (?:first|to (?:the )?(?:{_TOP}))"
)
DATED = cue(
    r"last|past|this|recent\w*|ago|today|yesterday|current\w*|now|months?|years?|weeks?|days?|daily|monthly|yearly|annual\w*|"
    r"quarters?|q[1-4]|spring|summer|autumn|fall|winter|since|before|after|when|date[sd]?|times?|late|later|early|earlier|new|"
    r"newest|oldest|latest|earliest|first|until|during|" + "|".join(MONTHS)
)


def projects(s: Statement, kind: type[exp.Expr]) -> bool:
    return any(item.find(kind) for item in s.projections)


def clause_findings(words: Wording, s: Statement, used: frozenset[str]) -> Iterator[Finding]:
    """Rules over the whole question; `used` holds the stems of all names in the SQL, for which a cue can be part of a
    name: "max temperature".
    """
    for rule in RULES:
        said, shown = words.says(rule.wants), rule.shows(s)
        if said and not shown and not rule.otherwise(s) and not used & set(stems(said)):
            yield Finding(rule.kind, f"the question says {said!r}, the SQL has no {rule.clause}")
        elif shown and rule.allows is not None and not words.says(rule.allows):
            yield Finding(f"needless {rule.kind}", f"the SQL has {rule.clause}, the question gives no reason")
    yield from _group_findings(words, s, used)
    if projects(s, exp.Count) and not words.says(ASKS_COUNT):
        yield Finding("needless count", "the SQL gives a count, the question asks for none")
    yield from _direction_findings(words, s)


def _group_findings(words: Wording, s: Statement, used: frozenset[str]) -> Iterator[Finding]:
    if s.has(exp.Group, exp.Window):
        if not words.says(_GROUPS):
            yield Finding("needless group", "the SQL has GROUP BY, the question gives no reason")
        return
    said = words.says(_GROUP)
    if said is None and not words.says(_SORTED_BY):
        said = next((m[0] for m in _GROUP_BY.finditer(words.folded) if stem(m[1]) in used), None)
    computed = any(projects(s, kind) for kind in AGGREGATES) and words.says(_AGGREGATE)
    if said and computed and stem(said) not in used:
        yield Finding("group", f"the question says {said!r}, the SQL has no GROUP BY")


def _direction_findings(words: Wording, s: Statement) -> Iterator[Finding]:
    high, low = words.says(_HIGH), words.says(_LOW)
    down, up = words.says(_DOWN), words.says(_UP)
    if bool(high) != bool(low) and not down and not up:
        ends = list(_ends(s, bool(words.says(_AGE))))
        if ends and bool(high) not in ends:
            said = high or low
            yield Finding("direction", f"the question says {said!r}, the SQL looks for the other end")
    order = s.tree.args.get("order")
    if order is not None and bool(down) != bool(up):
        falls = [bool(key.args.get("desc")) for key in order.expressions]
        if bool(down) not in falls:
            yield Finding("direction", f"the question says {down or up!r}, the SQL sorts the other way")


def _ends(s: Statement, age: bool) -> Iterator[bool]:
    """For each superlative of the SQL, whether it looks for the high end; the oldest has the lowest year of birth."""
    for place in s.all(exp.Max, exp.Min):
        if not (age and _BIRTH & set(stems(place.node.this.name))):
            yield isinstance(place.node, exp.Max)
    for place in s.all(exp.Order):
        query, first = place.node.parent, place.node.expressions[0]
        if query is not None and query.args.get("limit") and isinstance(first, exp.Ordered):
            if age and _BIRTH & set(stems(first.this.name)):
                continue
            yield bool(first.args.get("desc"))
