"""The files in `databases`: the SQL that makes a database, a line `-- questions`, and blocks of wordings above their SQL.

    how many (orders|sales) did {customers.name} (make|place)
    order count for {customers.name}
    = SELECT count(*) FROM orders ... WHERE customers.name = {customers.name}

One of `(a|b)` is chosen, `[maybe]` is there half of the time. A slot stands for a value, the same one wherever its text is
the same: `{table.column}` for one of the column's, `{table.column:year}` for the year of one, `{2..9}` for a whole number;
`#2` at a slot's end makes it another than the slot without. Slots of one table are filled from one row of it, those with a
number from another. In SQL a slot is a literal.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from corpus.errors import CorpusError

SLOT = re.compile(
    r"\{(?:(?P<low>\d+)\.\.(?P<high>\d+)|(?P<table>[^{}.]+)\.(?P<column>[^{}.:#]+?)(?P<year>:year)?)(?P<number>#\d)?\}"
)
_MARK = "-- questions"


@dataclass(frozen=True)
class Block:
    """One statement, and the ways in which people ask for it."""

    wordings: tuple[str, ...]
    sql: str


@dataclass(frozen=True)
class Authored:
    """A database, as the SQL that makes it, and what is asked of it."""

    name: str
    script: str
    blocks: tuple[Block, ...]


def authored_files() -> list[Path]:
    """The files of this package, by name."""
    return sorted((Path(__file__).parent / "databases").glob("*.txt"))


def kept_for_calibration(name: str, every: int) -> bool:
    """Whether training leaves out this database, about one in `every` (none if 0): by its name alone, so that it stays so when
    others come.
    """
    return bool(every) and int(hashlib.sha256(name.encode()).hexdigest(), 16) % every == 0


def read_authored(path: Path) -> Authored:
    """Raises CorpusError for a file of another form, with the place."""
    script, mark, asked = path.read_text(encoding="utf-8").partition(f"\n{_MARK}\n")
    if not mark:
        raise CorpusError(
            f"{path}: no line '{_MARK}'; it stands between the database and what is asked of it."
        )
    return Authored(
        path.stem,
        script,
        tuple(_block(path, lines) for lines in re.split(r"\n\s*\n", asked.strip())),
    )


def _block(path: Path, text: str) -> Block:
    *wordings, last = (line.strip() for line in text.splitlines())
    if not last.startswith("= ") or not wordings or any(line.startswith("= ") for line in wordings):
        raise CorpusError(f"{path}: expected wordings and below them one line '= SQL', found {text!r}.")
    sql = last.removeprefix("= ").rstrip("; ")
    for line in wordings:
        if strange := {m[0] for m in SLOT.finditer(line)} - {m[0] for m in SLOT.finditer(sql)}:
            raise CorpusError(f"{path}: {line!r} has {', '.join(sorted(strange))}, which its SQL lacks.")
        if "{" in SLOT.sub("", line):
            raise CorpusError(f"{path}: {line!r} has a slot of no known form.")
    if "{" in SLOT.sub("", sql):
        raise CorpusError(f"{path}: {sql!r} has a slot of no known form.")
    return Block(tuple(wordings), sql)
