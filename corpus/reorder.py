"""A prompt with its tables and columns in another order: the same question to a model that was trained on shuffled schemas.

What a model holds for likely in one order only, it holds for no good reason; `sqlconf.views` asks how much stays.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from corpus.references import BOS, SCHEMA, TABLE, Prompt

_COLUMN = re.compile(r" [^<]*(?:<(?!c\d)[^>]*>)*<c\d+>")
_REFERENCE = re.compile(r"<[tc]\d+>")
_FROM = re.compile(r"(?<= from)<t\d+>(?: ,<t\d+>)+")


@dataclass(frozen=True)
class Reordered:
    """The prompt, and what each of the first one's references of tables and columns is called in it."""

    prompt: Prompt
    names: Mapping[str, str]

    def renamed(self, text: str) -> str:
        """`text` over the first prompt's references, over this one's. Values keep their numbers; tables that are joined
        along their keys stand in the order of the prompt, as `corpus.fold` writes them.
        """
        text = _REFERENCE.sub(lambda match: self.names.get(match[0], match[0]), text)
        return _FROM.sub(lambda match: " ,".join(sorted(match[0].split(" ,"), key=_number)), text)


def _number(reference: str) -> int:
    return int(reference[2:-1])


def reorder(prompt: Prompt, shuffle: random.Random) -> Reordered:
    """Tables in another order, and columns within them; equal dice and equal schemas give equal orders."""
    head = BOS + SCHEMA
    parts = prompt.schema.removeprefix(head).split(TABLE)[1:]
    columns = [
        _COLUMN.findall(part, part.index(">") + 1) for part in parts
    ]  # the table's own reference comes first
    order = list(range(len(parts)))
    shuffle.shuffle(order)
    names: dict[str, str] = {}
    written = [head]
    tables: list[str] = []
    places: list[tuple[str, str]] = []
    for part in order:
        own = list(columns[part])
        shuffle.shuffle(own)
        names[f"<t{part}>"] = f"<t{len(tables)}>"
        tables.append(prompt.binding.tables[part])
        written.append(TABLE + parts[part][: parts[part].index(">") + 1])
        for column in own:
            old = _REFERENCE.findall(column)[-1]
            names[old] = f"<c{len(places)}>"
            places.append(prompt.binding.columns[int(old[2:-1])])
            written.append(column)
    binding = replace(prompt.binding, tables=tuple(tables), columns=tuple(places))
    found = Reordered(replace(prompt, binding=binding), names)
    moved = replace(
        found.prompt, schema=found.renamed("".join(written)), question=found.renamed(prompt.question)
    )
    return replace(found, prompt=moved)
