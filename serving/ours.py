"""Questions to a model of ours: it reads prompts over numbered references, and points to tables, columns and values."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from corpus import references
from corpus.grammar_tokens import Grammar, Vocabulary
from corpus.linking import Near
from corpus.mixture import verify_prompt
from corpus.references import YES, Binding, Prompt
from corpus.reorder import reorder
from corpus.telling import references_used, spoken, tell_prompt, told
from sqlconf.signal import Answer

from .candidates import Context, Written
from .databases import Database
from .engines import Engine

T = TypeVar("T")
MAX_WORDS = 40  # tokens of a back-translation
WORDINGS = 4
"""Ways in which SQL is put back into words: the mean of their similarities ranks better than the likeliest's alone."""
VIEWS = 1  # other orders of the schema that an answer's SQL is scored in: a second adds hardly anything, and its price


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


class ReferenceWriter:
    """Has an engine write candidates over references, bound to those of the prompt and, with a grammar, to statements."""

    read = None

    def __init__(
        self,
        engine: Engine,
        *,
        mask: ReferenceMask | None = None,
        near: Near | None = None,
        candidates: int = 4,
        max_tokens: int = 160,
        grammar: Vocabulary | None = None,
        narrowed: bool = True,
    ) -> None:
        """With `grammar`, the vocabulary of the engine, candidates are statements of the prompt's database by construction.
        With `narrowed`, each question is also put with the part of the schema alone that it is about.
        """
        self.engine = engine
        self.near = near
        self._mask = mask
        self._candidates = candidates
        self._max_tokens = max_tokens
        self._grammar = grammar
        self._narrowed = narrowed

    def prompts(self, question: str, database: Database) -> list[Prompt]:
        """The question with the whole schema, and again with the part of it that it is about, where that is less."""
        schema, contents = database.schema(), database.contents()
        whole = references.ask(question, schema, contents, near=self.near)
        if not whole.binding.columns:
            return []
        if not self._narrowed:
            return [whole]
        narrow = references.ask_narrowly(question, schema, contents, near=self.near)
        less = len(narrow.binding.columns) < len(whole.binding.columns)
        return [whole, narrow] if less and narrow.binding.columns else [whole]

    def write(self, prompts: Sequence[Prompt]) -> list[Written]:
        """Candidates for each prompt."""
        mask, grammar = self._mask, self._grammar
        found = self.engine.generate(
            [prompt.text for prompt in prompts],
            max_tokens=self._max_tokens,
            n=self._candidates,
            allowed=None if mask is None else [mask.allowed(prompt.binding) for prompt in prompts],
            constraints=None if grammar is None else [Grammar(prompt.binding, grammar) for prompt in prompts],
        )
        return list(zip(prompts, found, strict=True))
