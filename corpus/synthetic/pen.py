"""What every drawing needs: columns and conditions chosen at random, each as SQL and in words."""

import random
import re
from collections.abc import Callable, Sequence
from datetime import date

from corpus.synthetic.condition import Condition, column, literal
from corpus.synthetic.facts import Entity, Facts, Field
from corpus.synthetic.names import many, one, with_synonym
from corpus.synthetic.wording import expand, fill, finish
from corpus.synthetic.years import dates, done_on, in_year

_PLACES = frozenset(
    [
        "city",
        "country",
        "state",
        "location",
        "hometown",
        "nation",
        "town",
        "province",
        "region",
        "county",
        "continent",
        "place",
        "building",
    ]
)
_CONTACTS = frozenset(["phone", "telephone", "fax", "email", "url", "website", "address", "mobile"])
_TOWARDS = {  # first word of the name of a place: what happened there
    "ship": ("shipped to", "sent to", "going to"),
    "shipping": ("shipped to", "sent to"),
    "delivery": ("delivered to", "sent to"),
    "destination": ("going to", "sent to", "bound for"),
    "billing": ("billed in", "billed to", "invoiced in"),
    "birth": ("born in",),
}
_FIRST_VALUE = 0xE100
_SPELLED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

ADJECTIVES = {  # last word of a column: what has most of it, what has least
    "age": (("oldest",), ("youngest",)),
    "price": (("most expensive", "priciest", "costliest"), ("cheapest", "least expensive")),
    "cost": (("most expensive", "costliest"), ("cheapest", "least expensive")),
    "weight": (("heaviest",), ("lightest",)),
    "height": (("tallest",), ("shortest",)),
    "length": (("longest",), ("shortest",)),
    "duration": (("longest",), ("shortest",)),
    "distance": (("longest", "farthest"), ("shortest",)),
    "size": (("largest", "biggest"), ("smallest",)),
    "area": (("largest", "biggest"), ("smallest",)),
    "capacity": (("largest", "biggest"), ("smallest",)),
    "population": (("most populous", "most populated", "largest"), ("least populous", "smallest")),
    "salary": (("best paid", "highest paid"), ("lowest paid", "worst paid")),
    "speed": (("fastest",), ("slowest",)),
    "rating": (("highest rated", "best rated"), ("lowest rated", "worst rated")),
    "score": (("highest scoring", "best scoring"), ("lowest scoring",)),
    "date": (("latest", "most recent", "newest"), ("earliest", "oldest", "first")),
    "year": (("latest", "most recent", "newest"), ("earliest", "oldest", "first")),
    "milliseconds": (("longest",), ("shortest",)),
    "minutes": (("longest",), ("shortest",)),
    "seconds": (("longest",), ("shortest",)),
    "bytes": (("largest", "biggest"), ("smallest",)),
    "total": (("largest", "biggest", "highest"), ("smallest",)),
    "amount": (("largest", "biggest"), ("smallest",)),
}
COMPARATIVES = {  # last word of a column: what has more of it, what has less
    "price": ("more expensive", "cheaper"),
    "cost": ("more expensive", "cheaper"),
    "fee": ("dearer", "cheaper"),
    "weight": ("heavier", "lighter"),
    "height": ("taller", "shorter"),
    "length": ("longer", "shorter"),
    "duration": ("longer", "shorter"),
    "milliseconds": ("longer", "shorter"),
    "minutes": ("longer", "shorter"),
    "seconds": ("longer", "shorter"),
    "distance": ("farther", "nearer"),
    "area": ("larger", "smaller"),
    "size": ("larger", "smaller"),
    "bytes": ("larger", "smaller"),
    "capacity": ("larger", "smaller"),
    "population": ("larger", "smaller"),
    "speed": ("faster", "slower"),
    "year": ("newer", "older"),
}


def listed(phrases: Sequence[str]) -> str:
    return phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]


def date_in_words(literal: str, rng: random.Random) -> str:
    """A date as people write it, mostly as it is spelled; with a time of day always so."""
    try:
        day = date.fromisoformat(literal[:10])
    except ValueError:
        return literal
    if len(literal) > 10 or rng.random() < 0.6:
        return literal
    return rng.choice((f"{day:%B} {day.day}, {day.year}", f"{day.day} {day:%B} {day.year}"))


def mark_of(number: int) -> str:
    """What stands for a value in a text that is yet to be typed."""
    return chr(_FIRST_VALUE + number)


def typed(text: str, values: Sequence[str], rng: random.Random) -> str:
    """A question as typed: case, marks at the end, a slip; the values put in where their marks (`Pen.value`) stand."""
    asks = re.match(
        r"(what|which|who|how|in what|in which|in how|for which|are|is|do|can|could)\b", text
    ) or re.search(r", (what|which|how)\b", text)
    asked = asks is not None and "? " not in text
    style = rng.random()
    if style < 0.8:
        text = text[0].upper() + text[1:]
    if text[-1] not in "?." and style < 0.88:
        text += "?" if asked else "."
    if style > 0.98:
        text = _slip(text, rng)
    for i, value in enumerate(values):
        text = text.replace(mark_of(i), value)
    return text.lower() if 0.82 < style < 0.9 else text


def _slip(text: str, rng: random.Random) -> str:
    """One letter doubled, dropped, or swapped with the next, inside a longer word."""
    places = [m.start() for m in re.finditer(r"(?<=[a-z]{2})[a-z](?=[a-z]{2})", text)]
    if not places:
        return text
    i = rng.choice(places)
    return rng.choice(
        (
            text[:i] + text[i + 1 :],
            text[:i] + text[i] + text[i:],
            text[:i] + text[i + 1] + text[i] + text[i + 2 :],
        )
    )


class Pen:
    """Draws the parts of one question. Raises IndexError where the database has nothing to draw from."""

    def __init__(self, facts: Facts, rng: random.Random):
        self.facts, self.rng = facts, rng
        self.values: list[str] = []

    # ---- words ----

    def say(self, rule: str, **slots: str) -> str:
        text = expand(self.rng, rule)
        if "{verb}" in text:
            slots["verb"] = self.verb(slots.get("where", slots.get("post", "")).strip())
        if _plural(slots.get("col", "")):
            text = text.replace("a~ {col}", "{col}").replace("a~ known {col}", "known {col}")
        if "{thing}{where}" in text or "{thing} {best}" in text:
            slots = {name: _singular(v) if name in ("where", "best") else v for name, v in slots.items()}
        return fill(text, {"where": "", **slots})

    def verb(self, post: str) -> str:
        """The condition as what the things do: "that have an age above 30" is "have an age above 30"."""
        for start, verb in (("that ", ""), ("with ", "have "), ("having ", "have ")):
            if post.startswith(start):
                return verb + post.removeprefix(start)
        if re.match(r"(whose|where|for which|excluding|by the name|after|since|until|up to|without)\b", post):
            return f"are there {post}"
        if re.match(r"(\w+ed|born|sent|going|bound|built|bought|paid|made|lent|taken)\b", post):
            return f"were {post}"
        return f"are {post}"

    def called(self, field: Field, entity: Entity | None = None) -> str:
        """A name for the column: at times with a synonym."""
        if self.rng.random() < 0.15:
            others = entity.fields if entity else ()
            taken = frozenset(w for f in others for w in (f.said, *f.said.split()))
            return with_synonym(field.said, self.rng, taken)
        return field.said

    def thing(self, entity: Entity) -> str:
        if self.rng.random() < 0.08:
            taken = frozenset(e.one for e in self.facts.entities)
            taken |= {f.said for e in self.facts.entities for f in e.fields}
            return with_synonym(entity.one, self.rng, taken)
        return entity.one

    def value(self, text: str) -> str:
        """A mark for a value of the question, which no later step respells."""
        self.values.append(text)
        return mark_of(len(self.values) - 1)

    def spoken(self, literal: str | int | float) -> str:
        if isinstance(literal, str):
            if re.fullmatch(r"\d{4}-\d{2}-\d{2}.*", literal):
                return self.value(date_in_words(literal, self.rng))
            if self.rng.random() < 0.3 or not re.match(r"[A-Z0-9]", literal):
                mark = "'" if "'" not in literal and self.rng.random() < 0.4 else '"'
                return self.value(f"{mark}{literal}{mark}")
            return self.value(literal)
        return self.value(self.number(literal))

    def number(self, literal: int | float) -> str:
        text = f"{literal:g}" if abs(literal) < 1e5 and isinstance(literal, float) else str(literal)
        if isinstance(literal, int) and literal >= 10_000 and self.rng.random() < 0.25:
            return f"{literal:,}"
        return text

    def counted(self, number: int) -> str:
        if number < len(_SPELLED) and self.rng.random() < 0.55:
            return _SPELLED[number]
        return self.value(str(number))

    def finished(self, text: str) -> str:
        """The question as typed."""
        return typed(finish(text), self.values, self.rng)

    # ---- columns ----

    def entity(self, suits: Callable[[Entity], object] = lambda e: True) -> Entity:
        """A table that suits; linking tables seldom."""
        fit = [e for e in self.facts.entities if suits(e)]
        plain = [e for e in fit if not e.link]
        return self.rng.choice(plain if plain and self.rng.random() < 0.93 else fit)

    def shown(self, entity: Entity, most: int = 3, besides: Sequence[Field] = ()) -> list[Field]:
        """Columns to answer with: mostly the name, at times others beside it or instead."""
        titles = list(entity.titles)
        others = [f for f in entity.fields if f not in titles and f not in besides and f.role != "key"]
        if not others and not titles:
            others = [f for f in entity.fields if f not in besides] or list(entity.fields)
        others = others[:12]
        roll = self.rng.random()
        if titles and (roll < 0.5 or most == 1 or not others):
            chosen = titles if len(titles) == 1 or self.rng.random() < 0.6 else [self.rng.choice(titles)]
        elif titles and roll < 0.78:
            chosen = [*titles, *self.rng.sample(others, min(len(others), self.rng.choice((1, 1, 2))))]
        else:
            size = 1 if most == 1 else self.rng.choice((1, 1, 1, 2, 2, 3))
            chosen = self.rng.sample(others or titles, min(len(others or titles), size))
        if self.rng.random() < 0.08 and entity.key and entity.key not in chosen and most > 1:
            chosen = [entity.key, *chosen] if self.rng.random() < 0.5 else [*chosen, entity.key]
        return chosen[:most] if most > 1 or len(chosen) == 1 else chosen[:1] if not titles else chosen

    def said(self, fields: Sequence[Field], entity: Entity) -> dict[str, str]:
        """Slots `col` and `colss` for these columns."""
        names = [self.called(f, entity) for f in fields]
        if names[:2] == ["first name", "last name"] and self.rng.random() < 0.3:
            names[:2] = ["first and last name"]
        return {"col": listed(names), "colss": listed([many(n) for n in names])}

    def columns(self, fields: Sequence[Field], alias: str = "") -> str:
        return ", ".join(column(f, alias) for f in fields)

    # ---- conditions ----

    def condition(self, entity: Entity, besides: Sequence[Field] = ()) -> Condition:
        """A condition on a column of this table whose values are known."""
        fit = [f for f in entity.fields if f.values and f not in besides and f.role != "key"]
        weights = [
            0.2
            if _CONTACTS & set(f.said.split())
            else {"category": 5, "number": 4, "name": 2, "date": 2}.get(f.role, 1)
            for f in fit
        ]
        if not fit:
            raise IndexError("no column with values")
        return self.condition_on(self.rng.choices(fit, weights)[0], entity)

    def condition_on(self, field: Field, entity: Entity, ops: Sequence[str] = ()) -> Condition:
        if field.nulls and self.rng.random() < 0.06:
            no = self.rng.random() < 0.5
            post = self.say("null" if no else "not null", col=self.called(field, entity))
            return Condition(field, "{c} IS NULL" if no else "{c} IS NOT NULL", post)
        if field.role == "date" and field in dates(entity) and not ops and self.rng.random() < 0.55:
            return in_year(self, field, entity)
        if field.role in ("number", "date"):
            return self._measured(field, entity, ops)
        return self._text(field, entity)

    def _measured(self, field: Field, entity: Entity, ops: Sequence[str]) -> Condition:
        some = sorted(field.values, key=lambda v: (isinstance(v, str), v))
        op = self.rng.choice(ops or (">", ">", ">", "<", "<", ">=", "<=", "=", "=", "between", "!="))
        if op in ("!=",) and field.role == "date":
            op = "<"
        if op == "=" and not (field.whole or field.role == "date"):
            op = ">"
        low, high = len(some) // 6, max(len(some) // 6 + 1, len(some) * 5 // 6)
        value = self._round(self.rng.choice(some[low:high]), some, op)
        second = value
        if op == "between":
            later = [v for v in some if v > value]  # type: ignore[operator]
            if not later:
                op = ">="
            else:
                second = self._round(self.rng.choice(later), some, op)
                if second <= value:  # type: ignore[operator]
                    second = later[-1]
        col = self.called(field, entity)
        timed = field.year or field.role == "date"
        rule = f"{'time' if timed and op != '!=' else 'number'} {op}"
        if col in ("year", "date", "release year") and op != "!=" and self.rng.random() < 0.5:
            rule = f"year {op}"
        done = done_on(self, field, entity) if timed and op != "!=" and self.rng.random() < 0.4 else ""
        if col.startswith("number of ") and op in (">", "<", ">=", "<=") and self.rng.random() < 0.5:
            rule = f"count {op}"
        slots = {"v": self.spoken(value), "w": self.spoken(second), "col": col, "full": col}
        if rule.startswith("count"):
            slots["col"] = col.removeprefix("number of ")
        post = self._age(op, slots["v"]) if col == "age" and self.rng.random() < 0.45 else ""
        if done not in ("", "-"):
            post = f"{done} {self.say('on day' if op == '=' and not field.year else f'when {op}', **slots)}"
        if not post and self.rng.random() < 0.3:
            post = self._compared(field, entity, op, slots["v"])
        sql = f"{{c}} {op} {literal(value)}"
        if op == "between":
            sql = f"{{c}} BETWEEN {literal(value)} AND {literal(second)}"
        return Condition(field, sql, post or self.say(rule, **slots), op == "=")

    def _age(self, op: str, v: str) -> str:
        forms = {
            ">": (f"older than {v}", f"over {v} years old", f"that are older than {v}", f"aged over {v}"),
            "<": (
                f"younger than {v}",
                f"under {v} years old",
                f"that are younger than {v}",
                f"below the age of {v}",
            ),
            ">=": (f"aged {v} or older", f"at least {v} years old"),
            "<=": (f"aged {v} or younger", f"at most {v} years old"),
            "=": (f"aged {v}", f"that are {v} years old"),
        }
        return self.rng.choice(forms[op]) if op in forms else ""

    def _compared(self, field: Field, entity: Entity, op: str, v: str) -> str:
        """ "cheaper than 5", where a column's name has such a word and no other column rivals it."""
        last = field.said.split()[-1]
        words = COMPARATIVES.get(last)
        rivals = [f for f in entity.fields if last in f.said.split()]
        if words is None or len(rivals) > 1 or op not in (">", "<"):
            return ""
        return f"{self.rng.choice(('', '', 'that are '))}{words[op == '<']} than {v}"

    def adjective(self, key: Field, entity: Entity, high: bool) -> str:
        """What has most of it, or least, is called so; nothing where it has no such word or another column rivals it."""
        last = key.said.split()[-1]
        rivals = [f for f in entity.fields if last in f.said.split()]
        short = key.said in (last, f"unit {last}", f"{entity.one} {last}")
        adjectives = ADJECTIVES.get(last, ((), ()))[0 if high else 1]
        if last == "age" and key.said != "age":
            adjectives = ()
        return self.rng.choice(adjectives) if adjectives and len(rivals) == 1 and short else ""

    def _round(
        self, value: str | int | float, some: Sequence[str | int | float], op: str
    ) -> str | int | float:
        """A rounder number near by, as people compare with."""
        if isinstance(value, str) or op in ("=", "!=") or self.rng.random() < 0.3:
            return value
        if 1800 <= value <= 2100 and float(value).is_integer():
            return int(value)
        digits = 2 - len(str(abs(int(value)))) if abs(value) >= 10 else (1 if isinstance(value, float) else 0)
        rounded = round(value, digits)
        whole = int(rounded) if float(rounded).is_integer() else rounded
        first, last = some[0], some[-1]
        if isinstance(first, str) or isinstance(last, str) or not first <= whole <= last:
            return value
        return whole

    def _text(self, field: Field, entity: Entity) -> Condition:
        value = str(self.rng.choice(field.values))
        col = self.called(field, entity)
        place = bool(_PLACES & set(field.said.split()[-1:]))
        roll = self.rng.random()
        others = [str(v) for v in field.values if v != value]
        slots = {"col": col, "v": self.spoken(value)}
        if roll < 0.14 and field.role != "category":
            return self._like(field, value, col)
        if roll < 0.06:
            return self._like(field, value, col)
        if roll < 0.22 and others and field.role == "category":
            rule = "place !=" if place and self.rng.random() < 0.5 else "text !="
            return Condition(field, f"{{c}} != {literal(value)}", self.say(rule, **slots))
        if roll < 0.3 and others and field.role == "category":
            other = self.rng.choice(others)
            slots["w"] = self.spoken(other)
            rule = "place or" if place and self.rng.random() < 0.6 else "text or"
            sql = f"{{c}} = {literal(value)} OR {{c}} = {literal(other)}"
            return Condition(field, sql, self.say(rule, **slots))
        rule = "text ="
        towards = _TOWARDS.get(field.said.split()[0]) if place else None
        if towards and self.rng.random() < 0.7:
            post = f"{self.rng.choice(towards)} {slots['v']}"
            return Condition(field, f"{{c}} = {literal(value)}", post, True)
        if place and not towards and self.rng.random() < 0.6:
            rule = "lives =" if entity.person and self.rng.random() < 0.4 else "place ="
        elif field.said == "name" and self.rng.random() < 0.7:
            rule = "name ="
        return Condition(field, f"{{c}} = {literal(value)}", self.say(rule, **slots), True)

    def _like(self, field: Field, value: str, col: str) -> Condition:
        words = list(re.findall(r"[A-Za-z]{3,}", value))
        kind = self.rng.choice(("contains", "contains", "starts", "starts", "ends"))
        if not words or (kind == "ends" and not value.endswith(words[-1])):
            kind = "starts"
        piece = value[:1] if kind == "starts" else words[-1] if kind == "ends" else self.rng.choice(words)
        if kind == "starts" and words and value.startswith(words[0]) and self.rng.random() < 0.4:
            piece, kind = words[0], "starts long"
        pattern = {"contains": f"%{piece}%", "ends": f"%{piece}"}.get(kind, f"{piece}%")
        mark = self.rng.choice(("'", '"', '"', ""))
        return Condition(
            field,
            f"{{c}} LIKE {literal(pattern)}",
            self.say(kind, col=col, q=self.value(f"{mark}{piece}{mark}")),
        )

    def where(
        self, entity: Entity, alias: str = "", besides: Sequence[Field] = (), two: float = 0.2
    ) -> tuple[str, str]:
        """One condition or two: SQL from WHERE on, and the words behind the noun."""
        first = self.condition(entity, besides)
        sql, post = first.on(alias), first.post
        if self.rng.random() < two:
            try:
                second = self.condition(entity, [*besides, first.field])
            except IndexError:
                return f" WHERE {sql}", post
            if " OR " in sql or " OR " in second.sql:
                return f" WHERE {sql}", post
            either = self.rng.random() < 0.3
            sql += f" {'OR' if either else 'AND'} {second.on(alias)}"
            post += (" or " if either else self.rng.choice((" and ", " and ", " and also "))) + second.post
        return f" WHERE {sql}", post

    def maybe_where(
        self, entity: Entity, chance: float, alias: str = "", besides: Sequence[Field] = ()
    ) -> tuple[str, str]:
        if self.rng.random() >= chance:
            return "", ""
        try:
            sql, post = self.where(entity, alias, besides, 0.1)
        except IndexError:
            return "", ""
        return sql, f" {post}"

    def things(self, entity: Entity) -> dict[str, str]:
        thing = self.thing(entity)
        return {"thing": one(thing), "things": many(thing)}


def _plural(phrase: str) -> bool:
    return bool(phrase) and one(phrase) != phrase


def _singular(post: str) -> str:
    """A condition behind "each singer": "that have" is "that has"."""
    for many_, one_ in (
        ("have", "has"),
        ("are", "is"),
        ("belong", "belongs"),
        ("do not", "does not"),
        ("don't", "doesn't"),
        ("live", "lives"),
    ):
        post = re.sub(rf"\bthat {many_}\b", f"that {one_}", post, count=1)
    return post
