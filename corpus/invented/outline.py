"""What there is to invent: domains of tables of columns, as `domains.txt` has them."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from corpus.errors import CorpusError


@dataclass(frozen=True)
class ColumnOutline:
    """A column by any of its names; what stands in it, as `values` understands; or, of `parent`, the key."""

    names: tuple[str, ...]
    kind: str = ""
    parent: int | None = None
    """Which table of the domain."""


@dataclass(frozen=True)
class TableOutline:
    names: tuple[str, ...]
    columns: tuple[ColumnOutline, ...]

    @property
    def parents(self) -> tuple[int, ...]:
        return tuple(c.parent for c in self.columns if c.parent is not None)


@dataclass(frozen=True)
class Domain:
    name: str
    tables: tuple[TableOutline, ...]


@lru_cache(maxsize=1)
def domains() -> tuple[Domain, ...]:
    """All domains of the package's own file."""
    return parse((Path(__file__).parent / "domains.txt").read_text(encoding="utf-8"))


def parse(text: str) -> tuple[Domain, ...]:
    """Domains of an outline. Raises CorpusError, with the line, for what is none."""
    drafts: list[tuple[str, list[tuple[int, str, str]]]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("["):
            drafts.append((line.strip("[] "), []))
            continue
        table, colon, columns = line.partition(":")
        if not colon or not drafts:
            raise CorpusError(f"the outline's line {number} is no table of a domain: {line!r}")
        drafts[-1][1].append((number, table.strip(), columns))
    return tuple(_domain(name, lines) for name, lines in drafts)


def _domain(name: str, lines: list[tuple[int, str, str]]) -> Domain:
    tables = {table: i for i, (_, names, _) in enumerate(lines) for table in names.split("|")}
    return Domain(
        name,
        tuple(
            TableOutline(
                tuple(names.split("|")),
                tuple(_column(part.strip(), tables, number) for part in columns.split(", ")),
            )
            for number, names, columns in lines
        ),
    )


def _column(text: str, tables: dict[str, int], number: int) -> ColumnOutline:
    if text.startswith(">"):
        if text[1:] not in tables:
            raise CorpusError(
                f"the outline's line {number} has a key of {text[1:]!r}, which is no table there"
            )
        return ColumnOutline((text[1:],), parent=tables[text[1:]])
    names, equals, kind = text.partition("=")
    if not equals or not kind:
        raise CorpusError(f"the outline's line {number} has {text!r}; expected name=kind or >table")
    return ColumnOutline(tuple(names.split("|")), kind)
