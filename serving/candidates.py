"""Which of the statements that the model wrote is the answer: those that run are grouped by what they give."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from corpus.contents import Contents
from corpus.errors import CorpusError
from corpus.fold import grounded, unfold
from corpus.references import EOS, Prompt
from sqlconf.grounding import ContentsView
from sqlconf.signal import Candidate
from sqlconf.statement import read as read_statement

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
class _Statement:
    """A statement that the database can plan, as it was written with the most probability."""

    sql: str
    prompt: Prompt | None
    completion: Completion
    grounded: bool
    share: float
    """The probability of being written, over all prompts alike."""


@dataclass(frozen=True)
class _Runnable:
    statement: _Statement
    candidate: Candidate
    weight: float


Weigh = Callable[[Sequence[str]], Sequence[float]]
"""Statements to factors of their weights."""
Read = Callable[[Completion], tuple[str, bool]]
"""The statement in what was written, and whether its values stand in their columns. Raises CorpusError or BadSql."""
Written = tuple[Prompt | None, Sequence[Completion]]
"""A prompt, and what the model wrote for it."""


def choose(
    written: Sequence[Written],
    database: Database,
    *,
    run: bool = True,
    weigh: Weigh | None = None,
    read: Read | None = None,
) -> Choice | str:
    """The weightiest member of the group of like results that weighs most together; else why there is none.

    A candidate is one that came to an end, that the guard passes and that the database can plan; its weight is its
    probability, averaged over the prompts that the question was put in, times what `weigh` makes of its statement. With `run`,
    each is executed under the walls, briefly; without, each is a group of its own. `read` finds the statement in what was
    written; unless given, the prompt tells how.
    """
    considered: list[Candidate] = []
    statements: dict[str, _Statement] = {}
    reason = ""
    for prompt, completions in written:
        for completion in completions:
            try:
                found = _statement(prompt, completion, len(written), database, read)
                known = statements.get(found.sql)
                if known is not None:
                    more = known if known.completion.logprob >= found.completion.logprob else found
                    found = replace(more, share=known.share + found.share)
                statements[found.sql] = found
                continue
            except (CorpusError, RecursionError) as error:
                reason = reason or str(error)
            except (GuardError, BadSql) as error:
                reason = reason or error.message
            share = completion.logprob - math.log(len(written))
            considered.append(Candidate("", share, None, None, len(completion.token_ids)))
    if not statements:
        return f"No SQL that could be run was found for this question: {reason or 'the model wrote nothing'}"
    runnable = [_runnable(one, database, run) for one in statements.values()]
    considered += [one.candidate for one in runnable]
    if weigh:
        factors = weigh([one.candidate.sql for one in runnable])
        runnable = [replace(one, weight=one.weight * f) for one, f in zip(runnable, factors, strict=True)]
    groups: dict[str, list[_Runnable]] = defaultdict(list)
    for one in runnable:
        groups[one.candidate.result or f"sql: {one.candidate.sql}"].append(one)
    best = max(groups.values(), key=lambda group: sum(one.weight for one in group))
    chosen = max(best, key=lambda one: one.weight).statement
    contents = database.contents()
    context = (
        Context(chosen.prompt, chosen.completion.text + EOS, contents)
        if chosen.prompt is not None
        else contents
    )
    return Choice(chosen.sql, chosen.completion, context, tuple(considered))


def _statement(
    prompt: Prompt | None, completion: Completion, prompts: int, database: Database, read: Read | None
) -> _Statement:
    """Raises CorpusError, GuardError or BadSql for what cannot be run."""
    if completion.finish_reason == "length":
        raise CorpusError("it did not come to an end")
    if read is not None:
        sql, is_grounded = read(completion)
    elif prompt is not None:
        sql = unfold(completion.text, prompt.binding)
        is_grounded = grounded(completion.text, prompt.binding)
    else:
        raise ValueError("what is written can be read with a prompt or with `read`")
    database.compiles(sql)
    return _Statement(sql, prompt, completion, is_grounded, math.exp(completion.logprob) / prompts)


def _runnable(one: _Statement, database: Database, run: bool) -> _Runnable:
    weight = one.share if one.grounded else one.share * UNGROUNDED
    result, rows, distinct = None, None, None
    if run:
        try:
            found = database.execute(one.sql, max_rows=MAX_ROWS, max_bytes=MAX_BYTES, timeout_s=TIMEOUT_S)
            if not _reads_nothing(one.sql, database):
                result, distinct = _told(found)
                rows = sum(any(cell is not None for cell in row) for row in found.rows)
                if not rows:
                    weight *= EMPTY
        except BadSql:
            pass  # too slow to know, or a value that does not fit: it stands for itself
    logprob = math.log(one.share) if one.share > 0 else -math.inf
    tokens = len(one.completion.token_ids)
    return _Runnable(one, Candidate(one.sql, logprob, result, rows, tokens, distinct), weight)


def _reads_nothing(sql: str, database: Database) -> bool:
    """Whether a table that it reads is empty: most statements then give the same rows, which say nothing of the SQL."""
    statement = read_statement(sql)
    if statement is None:
        return False
    names = {place.node.name.casefold() for place in statement.all(exp.Table)}
    return any(
        database.is_empty(table.name) for table in database.schema().tables if table.name.casefold() in names
    )


def _told(result: Result) -> tuple[str, float]:
    """A key that is equal for results of the same rows in any order, and the share of rows left without repeats."""
    rows = sorted(repr(row) for row in result.rows)
    key = hashlib.sha256("\n".join(rows).encode("utf-8", "surrogatepass")).hexdigest()
    return key, len(set(rows)) / len(rows) if rows else 1.0
