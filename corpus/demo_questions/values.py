"""Values for the questions' slots, taken from the database and parted by split.

Countries, cities, names, categories, colours, carriers, word parts, numbers, days and months of a year belong
to one split each, by a hash of the value. Shared by all are the sets too small or too meaningful to part: the
twelve month names without a year, the years 2024 and 2025, and the statuses of orders and shipments.
"""

import random
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from corpus.demo import FIRST_DAY, LAST_DAY
from corpus.demo_questions.grammar import SPLITS, Split, stable_number

_MONTHS = [date(2024, month, 1).strftime("%B") for month in range(1, 13)]
_ORDINALS = ("first", "second", "third", "fourth")
_SHARES = (60, 75, 100)  # train up to 60%, calibration up to 75%, test the rest


@dataclass(frozen=True)
class Value:
    """A value as questions say it (one of `texts`) and as SQL writes it; `shared` if of every split."""

    texts: tuple[str, ...]
    sql: str
    order: float | str
    shared: bool = False


Pool = Sequence[Value]


class Values:
    """One split's pools of values, by slot name; the same for the same database."""

    def __init__(self, connection: sqlite3.Connection, split: Split):
        self._split = split
        self.pools: dict[str, Pool] = {
            **self._closed_pools(connection),
            **self._word_pools(connection),
            **self._number_pools(connection),
            **self._day_pools(),
        }

    def sample(self, slots: Iterable[str], rng: random.Random) -> dict[str, Value] | None:
        """A value for every slot; `x` and `x2` differ and are in order. None where a pool has too few."""
        chosen: dict[str, Value] = {}
        for base, together in _siblings(slots).items():
            pool = self.pools[base]
            if len(pool) < len(together):
                return None
            drawn = rng.sample(pool, len(together))
            if len(drawn) > 1 and not isinstance(drawn[0].order, str):
                drawn.sort(key=lambda value: value.order)
            chosen.update(zip(together, drawn, strict=True))
        return chosen

    def _parted(self, kind: str, universe: Iterable[str]) -> list[str]:
        """This split's share of a closed set: ranked by hash, then cut, so that none is empty."""
        ranked = sorted(set(universe), key=lambda text: stable_number(f"{kind}:{text}"))
        cuts = [0, *(round(len(ranked) * share / 100) for share in _SHARES)]
        at = SPLITS.index(self._split)
        return sorted(ranked[cuts[at] : cuts[at + 1]])

    def _mine(self, kind: str, text: str) -> bool:
        """Whether a member of an open set (a number, a day) belongs to this split."""
        part = stable_number(f"{kind}:{text}") % 100
        return SPLITS[next(at for at, share in enumerate(_SHARES) if part < share)] == self._split

    def _closed_pools(self, connection: sqlite3.Connection) -> dict[str, Pool]:
        def column(table: str, name: str) -> list[str]:
            rows = connection.execute(f"SELECT DISTINCT {name} FROM {table} WHERE {name} IS NOT NULL")
            return [row[0] for row in rows]

        sites = set(column("warehouses", "country"))
        countries = self._parted("country", [*column("suppliers", "country"), *sites])
        texts = {
            "country": countries,
            "site_country": [country for country in countries if country in sites],
            "city": self._parted("city", column("suppliers", "city")),
            "category": self._parted("category", column("parts", "category")),
            "color": self._parted("color", column("parts", "color")),
            "carrier": self._parted("carrier", column("shipments", "carrier")),
            "supplier": self._parted("name", column("suppliers", "name")),
            "part": self._parted("name", column("parts", "name")),
            "warehouse": self._parted("name", column("warehouses", "name")),
        }
        pools = {slot: [_text(text) for text in members] for slot, members in texts.items()}
        for slot, table in (("order_status", "orders"), ("shipment_status", "shipments")):
            pools[slot] = [_text(text, shared=True) for text in sorted(column(table, "status"))]
        return {**pools}

    def _word_pools(self, connection: sqlite3.Connection) -> dict[str, Pool]:
        pools: dict[str, Pool] = {}
        for thing in ("supplier", "part", "warehouse"):
            names = [row[0] for row in connection.execute(f"SELECT name FROM {thing}s")]
            words = _repeated(lambda name: [*name.split(), name.split()[0][:4], name.split()[0][-4:]], names)
            starts = _repeated(lambda name: [name[:2], name[:3], name[:4]], names)
            mine = [word for word in words if self._mine("word", word.lower())]
            pools[f"{thing}_word"] = [Value((word,), _quoted(f"%{word}%"), word) for word in mine]
            mine = [start for start in starts if self._mine("start", start.lower())]
            pools[f"{thing}_start"] = [Value((start,), _quoted(f"{start}%"), start) for start in mine]
        return pools

    def _number_pools(self, connection: sqlite3.Connection) -> dict[str, Pool]:
        last_order = connection.execute("SELECT MAX(id) FROM orders").fetchone()[0]
        steps: dict[str, Iterable[float]] = {
            "rating": (tenth / 10 for tenth in range(20, 50)),
            "days": range(5, 58),
            "price": [*(half / 2 for half in range(4, 60)), *range(30, 400, 5)],
            "weight": [*(tenth / 10 for tenth in range(1, 60)), *(half / 2 for half in range(12, 40))],
            "capacity": range(2500, 19500, 100),
            "quantity": range(100, 1100, 10),
            "bulk": range(15000, 33000, 250),
            "money": range(20_000, 400_000, 2_500),
            "k": range(2, 21),
            "few": range(2, 60),
            "order_id": range(10, last_order),
        }
        return {
            slot: [
                Value((text,), text, float(text))
                for text in (f"{number:g}" if number < 100_000 else str(int(number)) for number in numbers)
                if self._mine("numbers", text)
            ]
            for slot, numbers in steps.items()
        }

    def _day_pools(self) -> dict[str, Pool]:
        days = [FIRST_DAY + timedelta(days=count) for count in range(8, (LAST_DAY - FIRST_DAY).days - 8)]
        joined = [date(2016, 6, 1) + timedelta(days=count) for count in range(2600)]
        years = sorted({day.year for day in days})
        of_year = [(year, month) for year in years for month in range(1, 13)]
        quarters = [f"{year} {quarter}" for year in years for quarter in range(1, 5)]
        return {
            "month": [
                Value((name,) * 8 + (name[:3],), f"'{number:02d}'", number, shared=True)
                for number, name in enumerate(_MONTHS, start=1)
            ],
            "year": [Value((str(year),), f"'{year}'", year, shared=True) for year in years],
            "joined_year": [
                Value((text,), f"'{text}'", text)
                for text in self._parted("year", map(str, range(2016, 2024)))
            ],
            "yearmonth": [
                _year_month(int(text[:4]), int(text[5:]))
                for text in self._parted("month", (f"{year}-{month:02d}" for year, month in of_year))
            ],
            "quarter": [_quarter(*map(int, text.split())) for text in self._parted("quarters", quarters)],
            "date": [_day(day) for day in days if not _edge(day) and self._mine("day", day.isoformat())],
            "joined": [_day(day) for day in joined if not _edge(day) and self._mine("day", day.isoformat())],
        }


def _siblings(slots: Iterable[str]) -> dict[str, list[str]]:
    siblings: dict[str, list[str]] = {}
    for slot in sorted(set(slots)):
        siblings.setdefault(slot.rstrip("0123456789"), []).append(slot)
    return siblings


def _repeated(parts: Callable[[str], list[str]], names: list[str]) -> list[str]:
    counts = Counter(
        part for name in names for part in set(parts(name)) if re.fullmatch("[A-Za-z]{2,}", part)
    )
    return sorted(part for part, count in counts.items() if count > 1)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _text(text: str, shared: bool = False) -> Value:
    return Value((text,), _quoted(text), text, shared)


def _edge(day: date) -> bool:
    """First or last day of a month: those are left to the quarters."""
    return day.day == 1 or (day + timedelta(days=1)).day == 1


def _day(day: date) -> Value:
    iso, name = day.isoformat(), _MONTHS[day.month - 1]
    said = (f"{name} {day.day}, {day.year}", f"{day.day} {name} {day.year}")
    return Value((iso, iso, iso, iso, *said), _quoted(iso), day.toordinal())


def _year_month(year: int, month: int) -> Value:
    name, iso = _MONTHS[month - 1], f"{year}-{month:02d}"
    return Value((f"{name} {year}",) * 7 + (f"{name[:3]} {year}", iso), _quoted(iso), iso)


def _quarter(year: int, quarter: int) -> Value:
    first = date(year, 3 * quarter - 2, 1)
    last = date(year + quarter // 4, 3 * quarter % 12 + 1, 1) - timedelta(days=1)
    named = "last" if quarter == 4 else _ORDINALS[quarter - 1]
    texts = (f"Q{quarter} {year}", f"Q{quarter} of {year}", f"the {named} quarter of {year}")
    return Value(texts, f"'{first}' AND '{last}'", f"{year}Q{quarter}")
