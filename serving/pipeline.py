"""From a question to SQL with a confidence: candidates, the first that compiles, signals, fusion."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar

from corpus import references
from corpus.grammar_tokens import Grammar, Vocabulary
from corpus.linking import Near
from corpus.mixture import verify_prompt
from corpus.references import YES, Binding, Prompt
from corpus.reorder import reorder
from corpus.telling import references_used, spoken, tell_prompt, told
from sqlconf.doubts import Doubt
from sqlconf.signal import Answer, Reading, Signal, measure_all, values

from .candidates import Choice, Context, Written, choose
from .database_key import database_key
from .databases import Database
from .doubts import doubts_of
from .engines import Completion, Engine
from .progress import tell, telling
from .tracing import stage, traced

log = logging.getLogger(__name__)
T = TypeVar("T")
MAX_WORDS = 40  # tokens of a back-translation
WORDINGS = 4
"""Ways in which SQL is put back into words: the mean of their similarities ranks better than the likeliest's alone."""
VIEWS = 1  # other orders of the schema that an answer's SQL is scored in: a second adds hardly anything, and its price


class Fusion(Protocol):
    """Readings of signals to the probability that the SQL is right."""

    def of(self, group: str) -> Fusion: ...
    def contributions(self, readings: Mapping[str, float | None]) -> Mapping[str, float]: ...
    def probability(self, readings: Sequence[Mapping[str, float | None]]) -> list[float]: ...


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


class LanguageModel:
    """sqlconf's Model over an engine: what signals ask of a language model."""

    def __init__(self, engine: Engine, mask: ReferenceMask | None = None) -> None:
        self._engine = engine
        self._mask = mask

    def back_translate(self, answers: Sequence[Answer]) -> list[tuple[str, ...] | None]:
        """Each answer's SQL in words, in the WORDINGS that the model holds for likeliest."""
        return self._on_contexts(answers, self._tell)

    def self_report(self, answers: Sequence[Answer]) -> list[float | None]:
        """The probability that the model gives to <yes> after each answer."""
        return self._on_contexts(answers, self._verify)

    def question_logprobs(self, answers: Sequence[Answer]) -> list[tuple[float, ...] | None]:
        """What the model thinks of the question's words, given the SQL."""
        return self._on_contexts(answers, self._score_words)

    def view_logprobs(self, answers: Sequence[Answer]) -> list[tuple[tuple[float, ...], ...] | None]:
        """What the model thinks of each answer's SQL where the schema stands in VIEWS other orders, the same for all
        questions that were answered with the whole of it: its part of the prompt is then read once.
        """
        return self._on_contexts(answers, self._view)

    def _view(self, contexts: Sequence[Context]) -> list[tuple[tuple[float, ...], ...]]:
        views = [
            reorder(context.prompt, random.Random(number)) for context in contexts for number in range(VIEWS)
        ]
        texts = [
            view.renamed(context.written)
            for context, some in zip(contexts, _of_each(views), strict=True)
            for view in some
        ]
        return [
            tuple(some) for some in _of_each(self._engine.score([view.prompt.text for view in views], texts))
        ]

    def _score_words(self, contexts: Sequence[Context]) -> list[tuple[float, ...]]:
        prompts = [tell_prompt(context.written, context.prompt) for context in contexts]
        return self._engine.score(prompts, [told(context.prompt, context.written) for context in contexts])

    def _tell(self, contexts: Sequence[Context]) -> list[tuple[str, ...]]:
        prompts = [tell_prompt(context.written, context.prompt) for context in contexts]
        allowed = None
        if self._mask is not None:
            uses = [references_used(context.written, context.prompt.binding) for context in contexts]
            allowed = [self._mask.words(references) for references in uses]
        found = self._engine.generate(prompts, max_tokens=MAX_WORDS, n=WORDINGS, allowed=allowed)
        return [
            tuple(spoken(one.text, context.prompt.binding) for one in some)
            for some, context in zip(found, contexts, strict=True)
        ]

    def _verify(self, contexts: Sequence[Context]) -> list[float]:
        prompts = [verify_prompt(context.written, context.prompt) for context in contexts]
        scores = self._engine.score(prompts, [YES] * len(prompts))
        return [min(1.0, math.exp(sum(logprobs))) for logprobs in scores]

    def _on_contexts(
        self, answers: Sequence[Answer], ask: Callable[[Sequence[Context]], list[T]]
    ) -> list[T | None]:
        known = [
            (i, answer.context) for i, answer in enumerate(answers) if isinstance(answer.context, Context)
        ]
        found: list[T | None] = [None] * len(answers)
        if known:
            for (i, _), one in zip(known, ask([context for _, context in known]), strict=True):
                found[i] = one
        return found


def _of_each(found: Sequence[T]) -> list[Sequence[T]]:
    """What belongs to each of the contexts, VIEWS of them."""
    return [found[start : start + VIEWS] for start in range(0, len(found), VIEWS)]


class ReferenceMask:
    """The token ids that may follow a prompt: ordinary text, and the references that the prompt defines."""

    def __init__(self, size: int, special_tokens: Mapping[str, int], always: Sequence[str] = ()) -> None:
        """`size` token ids stand for text; of the special ones, `always` may be written anywhere."""
        self._special = dict(special_tokens)
        never = {i for text, i in special_tokens.items() if text not in always}
        self._free = [i for i in range(size) if i not in never]

    def words(self, references: Iterable[str]) -> list[int]:
        """What SQL over these references is put into words with."""
        return self._free + sorted({self._special[text] for text in references})

    def allowed(self, binding: Binding) -> list[int]:
        return self._free + [self._special[text] for text in binding.references()]


class Pipeline:
    """Answers questions in batches. Construct once; safe to call from several threads if the engine is."""

    def __init__(
        self,
        engine: Engine,
        signals: Sequence[Signal],
        fusion: Fusion,
        *,
        mask: ReferenceMask | None = None,
        near: Near | None = None,
        candidates: int = 4,
        max_tokens: int = 160,
        abstain_below: float = 0.5,
        abstain_below_known: Mapping[str, float] | None = None,
        run_candidates: bool = True,
        by_statement: Sequence[tuple[Signal, float]] = (),
        grammar: Vocabulary | None = None,
        narrowed: bool = True,
        learned: Collection[str] = (),
        signal_limit_s: float | None = None,
    ) -> None:
        """With `grammar`, the vocabulary of the engine, candidates are statements of the prompt's database by construction.
        With `narrowed`, each question is also put with the part of the schema alone that it is about, but on databases
        whose key is among `learned`: those the model was trained on as a whole, and knows only so.
        """
        self.engine = engine
        self.signals = list(signals)
        self.fusion = fusion
        self.abstain_below = abstain_below
        self.abstain_below_known = dict(abstain_below_known or {})
        self.near = near
        self._mask = mask
        self._candidates = candidates
        self._max_tokens = max_tokens
        self._run_candidates = run_candidates
        self._by_statement = list(by_statement)
        self._grammar = grammar
        self._narrowed = narrowed
        self._learned = frozenset(learned)
        self._signal_limit_s = signal_limit_s

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
            prompts = [self._prompts(text, database) for text, database in questions]
        prompted = time.perf_counter()
        with stage("generate", gen_ai__request__model=self.engine.model_name) as spans:
            if spans.texts:
                for i, (text, _) in enumerate(questions):
                    spans.set_of(i, "suresql.question", text)
            written = iter(self._generate([prompt for some in prompts for prompt in some]))
            found = [[(prompt, next(written)) for prompt in some] for some in prompts]
        with stage("choose"):
            choices = [
                choose(some, database, run=self._run_candidates, weigh=partial(self._weigh, text, database))
                if some[0][0].binding.columns
                else "The database has no table that a question could be asked of."
                for some, (text, database) in zip(found, questions, strict=True)
            ]
        answers = [
            Answer(
                text,
                choice.sql,
                database.schema(),
                choice.completion.logprobs,
                choice.context,
                choice.candidates,
                choice.completion.tokens,
            )
            for (text, database), choice in zip(questions, choices, strict=True)
            if isinstance(choice, Choice)
        ]
        generation_ms = (time.perf_counter() - prompted) * 1000 / len(questions)
        numbers = [i for i, choice in enumerate(choices) if isinstance(choice, Choice)]
        for i, answer in zip(numbers, answers, strict=True):
            tell(i, "sql", {"sql": questions[i][1].translate(answer.sql)})
        signals = traced(telling(self.signals, numbers), numbers)
        measured = iter(zip(answers, measure_all(signals, answers, self._signal_limit_s), strict=True))
        ms = (time.perf_counter() - started) * 1000 / len(questions)
        results: list[AskResult] = []
        with stage("confidence") as spans:
            for choice, some, (_, database) in zip(choices, found, questions, strict=True):
                looked_at, readings = next(measured) if isinstance(choice, Choice) else (None, [])
                key = database_key(database.schema())
                result = self._result(choice, database, readings, some, ms, key)
                told = [] if looked_at is None else self._doubts(looked_at, readings, database, key)
                spans.set_of(len(results), "suresql.confidence", result.confidence)
                spans.set_of(len(results), "suresql.abstain", result.abstain)
                if spans.texts:
                    spans.set_of(len(results), "db.query.text", result.sql)
                results.append(replace(result, answer=looked_at, generation_ms=generation_ms, doubts=told))
        return results

    def _doubts(
        self, answer: Answer, readings: Sequence[Reading], database: Database, key: str
    ) -> list[Doubt]:
        return doubts_of(answer, readings, self.fusion.of(key), database, self._run_candidates)

    def _prompts(self, text: str, database: Database) -> list[Prompt]:
        """The question with the whole schema, and again with the part of it that it is about, where that is less."""
        schema, contents = database.schema(), database.contents()
        whole = references.ask(text, schema, contents, near=self.near)
        if not self._narrowed or database_key(schema) in self._learned:
            return [whole]
        narrow = references.ask_narrowly(text, schema, contents, near=self.near)
        less = len(narrow.binding.columns) < len(whole.binding.columns)
        return [whole, narrow] if less and narrow.binding.columns else [whole]

    def _generate(self, prompts: Sequence[Prompt]) -> list[list[Completion]]:
        """Candidates for each prompt; none where it has nothing to ask of."""
        asked = [prompt for prompt in prompts if prompt.binding.columns]
        if not asked:
            return [[] for _ in prompts]
        mask, grammar = self._mask, self._grammar
        found = iter(
            self.engine.generate(
                [prompt.text for prompt in asked],
                max_tokens=self._max_tokens,
                n=self._candidates,
                allowed=None if mask is None else [mask.allowed(prompt.binding) for prompt in asked],
                constraints=None
                if grammar is None
                else [Grammar(prompt.binding, grammar) for prompt in asked],
            )
        )
        return [next(found) if prompt.binding.columns else [] for prompt in prompts]

    def _weigh(self, question: str, database: Database, statements: Sequence[str]) -> list[float]:
        """What the signals that look at a statement alone make of each, to the power that each was given."""
        if not self._by_statement or not statements:
            return [1.0] * len(statements)
        contents = database.contents()
        answers = [Answer(question, sql, database.schema(), context=contents) for sql in statements]
        weights = [1.0] * len(answers)
        rows = measure_all([signal for signal, _ in self._by_statement], answers)
        for i, row in enumerate(rows):
            for reading, (_, power) in zip(row, self._by_statement, strict=True):
                weights[i] *= 1.0 if reading.value is None else reading.value**power
        return weights

    def _result(
        self,
        choice: Choice | str,
        database: Database,
        readings: list[Reading],
        written: Sequence[Written],
        ms: float,
        key: str,
    ) -> AskResult:
        sql, error = (database.translate(choice.sql), None) if isinstance(choice, Choice) else ("", choice)
        confidence = 0.0
        if error is None:
            confidence = self.fusion.of(key).probability([values(readings)])[0]
        threshold = self.abstain_below_known.get(key, self.abstain_below)
        return AskResult(
            sql=sql,
            confidence=confidence,
            abstain=error is not None or confidence < threshold,
            signals=readings,
            model=self.engine.model_name,
            prompt_tokens=sum(one.prompt_tokens for _, found in written for one in found[:1]),
            completion_tokens=sum(len(one.token_ids) for _, found in written for one in found),
            ms=ms,
            error=error,
            database=key,
        )
