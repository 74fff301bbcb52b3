"""Questions drawn from written blocks: a wording, its choices made, its slots filled with values of the database."""

import random
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from corpus.authored.reading import SLOT, Authored, Block
from corpus.errors import CorpusError
from corpus.schema import connect_read_only
from corpus.spider import Example
from corpus.synthetic.condition import literal, quoted
from corpus.synthetic.pen import date_in_words, mark_of, typed
from corpus.synthetic.wording import choose, finish

Value = str | int | float
TRIES = 8
"""Draws of values until a statement gives rows."""


def build_authored_database(authored: Authored, path: Path) -> Path:
    """Raises CorpusError where its SQL does not run."""
    try:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executescript(authored.script)
    except sqlite3.Error as error:
        raise CorpusError(f"the database {authored.name} cannot be made: {error}.") from error
    return path


def authored_questions(authored: Authored, path: Path, repeat: int, seed: int) -> list[Example]:
    """Each block up to `repeat` times, each time with another question. Raises CorpusError for SQL that does not run."""
    rng = random.Random(f"{seed} {authored.name}")
    found: list[Example] = []
    with closing(connect_read_only(path)) as connection:
        for number, block in enumerate(authored.blocks):
            drawn: dict[str, str] = {}
            order = rng.sample(block.wordings, len(block.wordings))
            for i in range(repeat):
                one = _draw(block, order[i % len(order)], connection, rng)
                if one is not None:
                    drawn.setdefault(*one)
            found += [
                Example(f"{authored.name}-{seed}-{number}-{i}", question, sql, authored.name)
                for i, (question, sql) in enumerate(drawn.items())
            ]
    return found


def _draw(
    block: Block, wording: str, connection: sqlite3.Connection, rng: random.Random
) -> tuple[str, str] | None:
    """A question and its SQL, or None where no values drawn give rows."""
    slots = list({match[0]: match for match in SLOT.finditer(block.sql)}.values())
    for _ in range(TRIES):
        values = _values(slots, connection, rng)
        if values is None:
            return None
        sql = SLOT.sub(lambda m, known=values: literal(known[m[0]]), block.sql)  # type: ignore[misc]
        try:
            rows = connection.execute(sql).fetchmany(2)
        except sqlite3.Error as error:
            raise CorpusError(f"{sql!r} does not run: {error}.") from error
        if rows and (len(rows) > 1 or any(cell not in (None, 0) for cell in rows[0])):
            said = {slot: _said(value, rng) for slot, value in values.items()}
            marks = {slot: mark_of(i) for i, slot in enumerate(said)}
            text = SLOT.sub(lambda m, known=marks: known[m[0]], wording)  # type: ignore[misc]
            return typed(finish(choose(rng, text)), list(said.values()), rng), sql
    return None


def _values(
    slots: Sequence[re.Match[str]], connection: sqlite3.Connection, rng: random.Random
) -> dict[str, Value] | None:
    """A value for each slot: those of one table and number are of one row. None where a column has none, or no other."""
    values: dict[str, Value] = {}
    rows: dict[tuple[str, str], list[re.Match[str]]] = {}
    for slot in slots:
        if slot["low"]:
            taken = {value for value in values.values() if isinstance(value, int)}
            left = sorted(set(range(int(slot["low"]), int(slot["high"]) + 1)) - taken)
            if not left:
                return None
            values[slot[0]] = rng.choice(left)
        else:
            rows.setdefault((slot["table"], slot["number"] or ""), []).append(slot)
    for (table, _), own in rows.items():
        shown = [quoted(slot["column"].strip('"')) for slot in own]
        shown = [
            f"strftime('%Y', {one})" if slot["year"] else one for slot, one in zip(own, shown, strict=True)
        ]
        found = connection.execute(
            f"SELECT {', '.join(shown)} FROM {quoted(table.strip(chr(34)))}"
        ).fetchall()
        taken_texts = {str(value) for value in values.values()}
        left_rows = [
            row
            for row in found
            if all(
                isinstance(cell, str | int | float) and cell != "" and str(cell) not in taken_texts
                for cell in row
            )
        ]
        if not left_rows:
            return None
        values |= {slot[0]: cell for slot, cell in zip(own, rng.choice(left_rows), strict=True)}
    return values


def _said(value: Value, rng: random.Random) -> str:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        return date_in_words(value, rng)
    return f"{value:g}" if isinstance(value, float) and abs(value) < 1e5 else str(value)
