"""Which of the statements that the model wrote is the answer: those that run are grouped by what they give."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from corpus.contents import Contents
from corpus.errors import CorpusError
from corpus.fold import grounded, unfold
from corpus.references import EOS, Prompt
from sqlconf.grounding import ContentsView
from sqlconf.signal import Candidate

from .databases import Database
from .engines import Completion
from .errors import BadSql, GuardError
from .execution import Result

MAX_ROWS, MAX_BYTES, TIMEOUT_S = 1_000, 2**20, 0.5
"""Of a candidate that is run to compare: beyond, results count as the same when what was read is."""
UNGROUNDED = 0.05
"""A candidate with a value that its column does not hold counts so much."""
EMPTY = 0.1
"""So much counts one that gives no row, or nothing but null."""


@dataclass(frozen=True)
class Context:
    """What goes along with an Answer: its prompt and the text that the model wrote, its end included."""

    prompt: Prompt
    written: str
    contents: ContentsView | None = None


@dataclass(frozen=True)
class Choice:
    """The statement chosen, and all that were considered."""

    sql: str
    completion: Completion
    context: Context | Contents
    """What signals look at beside the statement: all that went before it, or, where that is not ours, the contents alone."""
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class _Runnable:
    completion: Completion
    candidate: Candidate
    weight: float


Weigh = Callable[[Sequence[str]], Sequence[float]]
"""Statements to factors of their weights."""
Read = Callable[[Completion], tuple[str, bool]]
"""The statement in what was written, and whether its values stand in their columns. Raises CorpusError or BadSql."""


def choose(
    prompt: Prompt | None,
    completions: Sequence[Completion],
    database: Database,
    *,
    run: bool = True,
    weigh: Weigh | None = None,
    read: Read | None = None,
) -> Choice | str:
    """The weightiest member of the group of like results that weighs most together; else why there is none.

    A candidate is one that came to an end, that the guard passes and that the database can plan; its weight is its
    probability, times what `weigh` makes of its statement. With `run`, each is executed under the walls, briefly; without,
    each is a group of its own. `read` finds the statement in what was written; unless given, `prompt` tells how.
    """
    if read is None:
        if prompt is None:
            raise ValueError("what is written can be read with a prompt or with `read`")
        read = partial(_folded, prompt)
    considered: list[Candidate] = []
    runnable: list[_Runnable] = []
    reason = ""
    for completion in completions:
        try:
            found = _runnable(read, completion, database, run)
            runnable.append(found)
            considered.append(found.candidate)
        except (CorpusError, RecursionError) as error:
            reason = reason or str(error)
            considered.append(Candidate("", completion.logprob, None, None, len(completion.token_ids)))
        except (GuardError, BadSql) as error:
            reason = reason or error.message
            considered.append(Candidate("", completion.logprob, None, None, len(completion.token_ids)))
    if not runnable:
        return f"No SQL that could be run was found for this question: {reason or 'the model wrote nothing'}"
    if weigh:
        factors = weigh([one.candidate.sql for one in runnable])
        runnable = [replace(one, weight=one.weight * f) for one, f in zip(runnable, factors, strict=True)]
    groups: dict[str, list[_Runnable]] = defaultdict(list)
    for one in runnable:
        groups[one.candidate.result or f"sql: {one.candidate.sql}"].append(one)
    best = max(groups.values(), key=lambda group: sum(one.weight for one in group))
    chosen = max(best, key=lambda one: one.weight)
    contents = database.contents()
    context = Context(prompt, chosen.completion.text + EOS, contents) if prompt is not None else contents
    return Choice(chosen.candidate.sql, chosen.completion, context, tuple(considered))


def _folded(prompt: Prompt, completion: Completion) -> tuple[str, bool]:
    return unfold(completion.text, prompt.binding), grounded(completion.text, prompt.binding)


def _runnable(read: Read, completion: Completion, database: Database, run: bool) -> _Runnable:
    """Raises CorpusError, GuardError or BadSql for what cannot be run."""
    if completion.finish_reason == "length":
        raise CorpusError("it did not come to an end")
    sql, is_grounded = read(completion)
    database.compiles(sql)
    weight = math.exp(completion.logprob)
    if not is_grounded:
        weight *= UNGROUNDED
    result, rows = None, None
    if run:
        try:
            found = database.execute(sql, max_rows=MAX_ROWS, max_bytes=MAX_BYTES, timeout_s=TIMEOUT_S)
            result, rows = _key(found), sum(any(cell is not None for cell in row) for row in found.rows)
            if not rows:
                weight *= EMPTY
        except BadSql:
            pass  # too slow to know, or a value that does not fit: it stands for itself
    return _Runnable(
        completion, Candidate(sql, completion.logprob, result, rows, len(completion.token_ids)), weight
    )


def _key(result: Result) -> str:
    """Equal for results of the same rows in any order."""
    rows = sorted(repr(row) for row in result.rows)
    return hashlib.sha256("\n".join(rows).encode("utf-8", "surrogatepass")).hexdigest()
