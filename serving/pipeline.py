"""From a question to SQL with a confidence: candidates, the first that compiles, signals, fusion; of whichever model.

How a model is asked, and how SQL is found in what it writes, is a Writer's affair: `serving.ours` and `serving.plain` have one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, TypeVar

from sqlconf.doubts import Doubt
from sqlconf.signal import Answer, Reading, Signal, measure_all, values

from .candidates import Choice, Read, Written, choose
from .database_key import database_key
from .databases import Database
from .doubts import doubts_of
from .engines import Engine
from .engines.chat_engine import ChatEngine
from .progress import tell, telling
from .tracing import stage, traced

P = TypeVar("P")


class Fusion(Protocol):
    """Readings of signals to the probability that the SQL is right."""

    def of(self, group: str) -> Fusion: ...
    def contributions(self, readings: Mapping[str, float | None]) -> Mapping[str, float]: ...
    def probability(self, readings: Sequence[Mapping[str, float | None]]) -> list[float]: ...


class Writer(Protocol[P]):
    """Has a language model write SQL for questions; P is what it puts to it."""

    @property
    def engine(self) -> Engine | ChatEngine: ...
    @property
    def read(self) -> Read | None:
        """See `candidates.choose`."""
        ...

    def prompts(self, question: str, database: Database) -> Sequence[P]:
        """The question in one way or several; none where the database has nothing to ask of."""
        ...

    def write(self, prompts: Sequence[P]) -> list[Written]:
        """What the model wrote for each prompt, one at the least."""
        ...


@dataclass(frozen=True)
class AskResult:
    """SQL for a question, in its database's dialect, and how sure it is; without any, `sql` is empty and `error` says why."""

    sql: str
    confidence: float
    abstain: bool
    signals: list[Reading]
    model: str
    prompt_tokens: int
    completion_tokens: int
    ms: float
    error: str | None = None
    answer: Answer | None = None
    """What the signals looked at: the candidates and the tokens are in it."""
    doubts: list[Doubt] = field(default_factory=list)
    """What is uncertain: the clause, the token, the signal, the rival statement and where its rows differ."""
    database: str = ""
    """The key of the database's schema, by which a calibration knows it."""
    generation_ms: float = 0.0
    """Of `ms`, this question's share of writing SQL and running candidates."""


class Pipeline:
    """Answers questions in batches. Construct once; safe to call from several threads if the writer's engine is."""

    def __init__(
        self,
        writer: Writer[Any],
        signals: Sequence[Signal],
        fusion: Fusion,
        *,
        abstain_below: float = 0.5,
        abstain_below_known: Mapping[str, float] | None = None,
        run_candidates: bool = True,
        by_statement: Sequence[tuple[Signal, float]] = (),
        signal_limit_s: float | None = None,
    ) -> None:
        """`abstain_below_known` holds the thresholds of databases that have one of their own, by their keys; `by_statement`
        signals that look at a statement alone, by which candidates are weighed, and to which power.
        """
        self.writer = writer
        self.signals = list(signals)
        self.fusion = fusion
        self.abstain_below = abstain_below
        self.abstain_below_known = dict(abstain_below_known or {})
        self._run_candidates = run_candidates
        self._by_statement = list(by_statement)
        self._signal_limit_s = signal_limit_s

    @property
    def engine(self) -> Engine | ChatEngine:
        return self.writer.engine

    def adopt(self, fusion: Fusion, abstain_below: float, known: Mapping[str, float]) -> None:
        """Judge by another calibration of the same signals from the next question on."""
        self.fusion, self.abstain_below, self.abstain_below_known = fusion, abstain_below, dict(known)

    def ask(self, questions: Sequence[tuple[str, Database]]) -> list[AskResult]:
        """SQL with a confidence for each question on its database. Candidates are run to compare what they give, briefly
        and behind both walls, unless `run_candidates` is off.

        Raises DatabaseUnavailable, PromptTooLong or EngineError, each on behalf of the whole batch.
        """
        if not questions:
            return []
        started = time.perf_counter()
        with stage("prompt"):
            prompts = [self.writer.prompts(text, database) for text, database in questions]
        prompted = time.perf_counter()
        with stage("generate", gen_ai__request__model=self.engine.model_name) as spans:
            if spans.texts:
                for i, (text, _) in enumerate(questions):
                    spans.set_of(i, "suresql.question", text)
            found = self._write(prompts)
        with stage("choose"):
            choices = [
                self._choose(text, database, some)
                for (text, database), some in zip(questions, found, strict=True)
            ]
        generation_ms = (time.perf_counter() - prompted) * 1000 / len(questions)
        answers = {
            i: _answer(*questions[i], choice)
            for i, choice in enumerate(choices)
            if isinstance(choice, Choice)
        }
        numbers = list(answers)
        for i, answer in answers.items():
            tell(i, "sql", {"sql": questions[i][1].translate(answer.sql)})
        signals = traced(telling(self.signals, numbers), numbers)
        rows = measure_all(signals, list(answers.values()), self._signal_limit_s)
        measured = dict(zip(numbers, rows, strict=True))
        ms = (time.perf_counter() - started) * 1000 / len(questions)
        results: list[AskResult] = []
        with stage("confidence") as spans:
            for i, (choice, some, (_, database)) in enumerate(zip(choices, found, questions, strict=True)):
                result = AskResult(
                    "",
                    0.0,
                    True,
                    [],
                    self.engine.model_name,
                    prompt_tokens=sum(one.prompt_tokens for _, written in some for one in written[:1]),
                    completion_tokens=sum(len(one.token_ids) for _, written in some for one in written),
                    ms=ms,
                    error=None if isinstance(choice, Choice) else choice,
                    database=database_key(database.schema()),
                    generation_ms=generation_ms,
                )
                if i in answers:
                    result = self._judged(result, answers[i], measured[i], database)
                spans.set_of(i, "suresql.confidence", result.confidence)
                spans.set_of(i, "suresql.abstain", result.abstain)
                if spans.texts:
                    spans.set_of(i, "db.query.text", result.sql)
                results.append(result)
        return results

    def _write(self, prompts: Sequence[Sequence[Any]]) -> list[list[Written]]:
        """What the model wrote for each question's prompts."""
        asked = [prompt for some in prompts for prompt in some]
        written = iter(self.writer.write(asked) if asked else ())
        return [[next(written) for _ in some] for some in prompts]

    def _choose(self, question: str, database: Database, written: Sequence[Written]) -> Choice | str:
        if not written:
            return "The database has no table that a question could be asked of."
        weigh = partial(self._weigh, question, database) if self._by_statement else None
        return choose(written, database, run=self._run_candidates, weigh=weigh, read=self.writer.read)

    def _weigh(self, question: str, database: Database, statements: Sequence[str]) -> list[float]:
        """What the signals that look at a statement alone make of each, to the power that each was given."""
        contents = database.contents()
        answers = [Answer(question, sql, database.schema(), context=contents) for sql in statements]
        weights = [1.0] * len(answers)
        rows = measure_all([signal for signal, _ in self._by_statement], answers)
        for i, row in enumerate(rows):
            for reading, (_, power) in zip(row, self._by_statement, strict=True):
                weights[i] *= 1.0 if reading.value is None else reading.value**power
        return weights

    def _judged(
        self, result: AskResult, answer: Answer, readings: list[Reading], database: Database
    ) -> AskResult:
        """The result with an answer, by what was measured of it."""
        fusion = self.fusion.of(result.database)
        (confidence,) = fusion.probability([values(readings)])
        return replace(
            result,
            sql=database.translate(answer.sql),
            confidence=confidence,
            abstain=confidence < self.abstain_below_known.get(result.database, self.abstain_below),
            signals=readings,
            answer=answer,
            doubts=doubts_of(answer, readings, fusion, database, self._run_candidates),
        )


def _answer(question: str, database: Database, choice: Choice) -> Answer:
    completion = choice.completion
    return Answer(
        question, choice.sql, database.schema(), completion.logprobs, choice.context, choice.candidates, completion.tokens
    )  # fmt: skip
