"""Which tables a set of columns needs, and along which keys they join: FROM, inferred from the schema."""

from collections import deque
from collections.abc import Iterable, Sequence

from corpus.schema import ForeignKey, Schema


def connect(schema: Schema, tables: Iterable[str]) -> tuple[list[str], list[ForeignKey]] | None:
    """Tables in join order and the key of each further one; None where no path of keys joins them.

    Starts at the schema's first of `tables` and adds the nearest of the rest by the shortest path of keys (ties by the
    schema's order), with what lies between.
    """
    wanted = {name.casefold() for name in tables}
    missing = [t.name for t in schema.tables if t.name.casefold() in wanted]
    if not missing:
        return None
    joined, keys = [missing.pop(0)], []
    while missing:
        path = _shortest(schema, joined, missing)
        if path is None:
            return None
        for key, name in path:
            joined.append(name)
            keys.append(key)
        missing = [name for name in missing if name not in joined]
    return joined, keys


def _shortest(
    schema: Schema, sources: Sequence[str], targets: Sequence[str]
) -> list[tuple[ForeignKey, str]] | None:
    queue: deque[tuple[str, list[tuple[ForeignKey, str]]]] = deque((name, []) for name in sources)
    seen = set(sources)
    while queue:
        here, path = queue.popleft()
        for key in schema.joins:
            for one, other in ((key.table, key.ref_table), (key.ref_table, key.table)):
                if one != here or other in seen:
                    continue
                step = [*path, (key, other)]
                if other in targets:
                    return step
                seen.add(other)
                queue.append((other, step))
    return None
