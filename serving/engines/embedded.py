"""The language model in this process: transformers' DeepseekV3ForCausalLM on the CPU, our own decoding."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from transformers.utils import logging as transformers_logging

from corpus.grammar_tokens import Vocabulary
from corpus.references import ASK
from model import Tokenizer
from model.errors import ModelError
from model.hf import load_transformers

from ..errors import CheckpointError, EngineError, InvalidRequest, PromptTooLong, ServingError
from . import decoding
from .bars import Bars, vocabulary_of
from .engine import Completion, Constraint
from .prefixes import Prefixes

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_ROWS = 32  # beams and samples included
MAX_BATCH_TOKENS = 16_384  # rows times the longest row: bounds the cache
PREFIX_BYTES = 256 * 2**20  # some 300 databases with the small model
EXPERTS = "grouped_mm"  # the fastest of transformers' three on two cores, for prefill and decode alike


class EmbeddedEngine:
    """An Engine over a checkpoint folder in the HF format. One batch computes at a time.

    What the model makes of a prompt up to its first `prefix_end` token, the schema's part, is kept for the next prompt that
    begins alike, within `prefix_bytes`.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        threads: int | None = None,
        dtype: torch.dtype = torch.float32,
        prefix_end: str = ASK,
        prefix_bytes: int = PREFIX_BYTES,
    ) -> None:
        """Load the checkpoint. Raises CheckpointError if a file is missing or does not fit."""
        folder = Path(checkpoint)
        if not folder.is_dir():
            raise CheckpointError(
                f"There is no checkpoint folder {folder}.",
                "Train one with suresql train, or set SURESQL_CHECKPOINT.",
            )
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            self._tokenizer = Tokenizer.load(folder)
            with _no_progress_bar():
                self._model = load_transformers(folder, dtype)
        except (ModelError, OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"The checkpoint {folder} cannot be loaded: {error}", "Is the folder whole?"
            ) from error
        self._model.requires_grad_(False)
        self._model.set_experts_implementation(EXPERTS)
        self._context = int(self._model.config.max_position_embeddings)
        self._prefixes = Prefixes(self.special_tokens().get(prefix_end), prefix_bytes)
        self._lock = threading.Lock()
        self.model_name = folder.name

    def generate(
        self,
        prompts: Sequence[str | Sequence[int]],
        *,
        max_tokens: int,
        n: int = 1,
        temperature: float = 0.0,
        seed: int | None = None,
        allowed: Sequence[Sequence[int] | None] | None = None,
        constraints: Sequence[Constraint | None] | None = None,
    ) -> list[list[Completion]]:
        """See Engine.generate. A prompt may be token ids too."""
        if n < 1 or max_tokens < 1 or temperature < 0:
            raise ValueError(
                f"n {n} and max_tokens {max_tokens} must be positive, temperature {temperature} not negative"
            )
        ids = [self.encode(prompt) for prompt in prompts]
        self._check_room(ids, max_tokens)
        generator = torch.Generator()
        generator.seed() if seed is None else generator.manual_seed(seed)

        def run(batch: list[int]) -> list[list[Completion]]:
            bars = None
            if allowed is not None or constraints is not None:
                bars = Bars(
                    None if allowed is None else [allowed[i] for i in batch],
                    None if constraints is None else [constraints[i] for i in batch],
                    self._tokenizer.eos_id,
                )
            chosen = [ids[i] for i in batch]
            ends = {"eos_id": self._tokenizer.eos_id, "pad_id": self._tokenizer.pad_id}
            if n > 1 and temperature == 0:
                found = decoding.beam_search(
                    self._model, chosen, beams=n, max_tokens=max_tokens, bars=bars, prefixes=self._prefixes, **ends
                )  # fmt: skip
            else:
                found = decoding.decode(
                    self._model, chosen, max_tokens=max_tokens, n=n, temperature=temperature, bars=bars,
                    generator=generator, prefixes=self._prefixes, **ends,
                )  # fmt: skip
            return [
                sorted((self._completion(one, len(prompt)) for one in several), key=lambda one: -one.logprob)
                for prompt, several in zip(chosen, found, strict=True)
            ]

        return self._batched([self._widths(one, max_tokens) for one in ids], run, rows_each=n)

    def score(
        self, prompts: Sequence[str | Sequence[int]], continuations: Sequence[str | Sequence[int]]
    ) -> list[tuple[float, ...]]:
        """See Engine.score. Either may be token ids too."""
        starts = [self.encode(prompt) for prompt in prompts]
        ends = [self.encode(continuation) for continuation in continuations]
        self._check_room([[*a, *b] for a, b in zip(starts, ends, strict=True)], 0)

        def run(batch: list[int]) -> list[tuple[float, ...]]:
            return decoding.score(
                self._model,
                [starts[i] for i in batch],
                [ends[i] for i in batch],
                self._tokenizer.pad_id,
                self._prefixes,
            )

        return self._batched([self._widths(a, len(b)) for a, b in zip(starts, ends, strict=True)], run)

    def close(self) -> None:
        """See Engine.close; there is nothing to let go of."""

    def alternatives(
        self, prompts: Sequence[str], continuations: Sequence[str], most: int
    ) -> list[tuple[list[float], list[float], list[list[float]]]]:
        """For each pair, of the continuation's tokens: log-probabilities, entropies, and the `most` largest log-probabilities."""
        starts = [self.encode(prompt) for prompt in prompts]
        ends = [self.encode(continuation) for continuation in continuations]
        self._check_room([[*a, *b] for a, b in zip(starts, ends, strict=True)], 0)

        def run(batch: list[int]) -> list[tuple[list[float], list[float], list[list[float]]]]:
            return decoding.alternatives(
                self._model,
                [starts[i] for i in batch],
                [ends[i] for i in batch],
                self._tokenizer.pad_id,
                most,
                self._prefixes,
            )

        return self._batched([self._widths(a, len(b)) for a, b in zip(starts, ends, strict=True)], run)

    @property
    def vocabulary_size(self) -> int:
        """How many token ids stand for text; the model may have more outputs than that."""
        return len(self._tokenizer)

    @cached_property
    def grammar_vocabulary(self) -> Vocabulary:
        """What `corpus.grammar_tokens.Grammar` has to know of the tokens."""
        return vocabulary_of(self._tokenizer)

    def special_tokens(self) -> dict[str, int]:
        """The tokens that no user's text is made of, with their ids."""
        return {token: self._tokenizer.token_id(token) for token in self._tokenizer.special_tokens}

    def encode(self, text: str | Sequence[int]) -> list[int]:
        """A text's token ids; ids as they are. Raises InvalidRequest for one that is not in the vocabulary."""
        if isinstance(text, str):
            return self._tokenizer.encode(text)
        if text and not 0 <= min(text) <= max(text) < self.vocabulary_size:
            raise InvalidRequest(f"Token ids are 0 to {self.vocabulary_size - 1}; found {max(text)} or less.")
        return list(text)

    def token(self, token_id: int) -> str:
        """The text of one token."""
        return self._tokenizer.decode([token_id])

    def conversation(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The prompt that a conversation makes: the format's template takes what the user says, and nothing else."""
        return "".join(one["content"] for one in messages if one["role"] == "user")

    def _widths(self, prompt: list[int], more: int) -> tuple[int, int]:
        """Tokens of the prompt's prefix, and of the rest with `more` that follow it."""
        prefix = self._prefixes.length(prompt)
        return prefix, len(prompt) - prefix + more

    def _completion(self, decoded: decoding.Decoded, prompt_tokens: int) -> Completion:
        written = decoded.ids[:-1] if decoded.stopped else decoded.ids
        return Completion(
            text=self._tokenizer.decode(list(written)),
            token_ids=decoded.ids,
            logprobs=decoded.logprobs,
            prompt_tokens=prompt_tokens,
            finish_reason="stop" if decoded.stopped else "length",
            tokens=tuple(self._tokenizer.decode([one]) for one in decoded.ids),
        )

    def _check_room(self, ids: Sequence[Sequence[int]], max_tokens: int) -> None:
        for one in ids:
            if not one:
                raise EngineError("A prompt is empty.")
            if len(one) + max_tokens > self._context:
                raise PromptTooLong(
                    f"The question and its schema take {len(one)} tokens, and the answer up to {max_tokens};"
                    f" the model reads {self._context}.",
                    "Ask more briefly, or of a smaller database.",
                )

    def _batched(
        self, widths: Sequence[tuple[int, int]], run: Callable[[list[int]], list[T]], rows_each: int = 1
    ) -> list[T]:
        """Apply `run` to batches of like widths and put the results back in the order that was asked in."""
        results: dict[int, T] = {}
        for batch in _batches(widths, rows_each):
            with self._lock, torch.inference_mode():
                try:
                    found = run(batch)
                except ServingError:
                    raise
                except (RuntimeError, IndexError, ValueError, MemoryError) as error:
                    log.exception("the model failed on a batch of %d", len(batch))
                    raise EngineError(
                        "The language model failed on this request.", "See the server's log."
                    ) from error
            results.update(zip(batch, found, strict=True))
        return [results[i] for i in range(len(widths))]


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _batches(widths: Sequence[tuple[int, int]], rows_each: int) -> Iterator[list[int]]:
    """Indices in batches, the longest first, each within MAX_ROWS and MAX_BATCH_TOKENS (or a single one).

    `widths` are of prefix and rest, either of which is padded to the widest of its batch.
    """
    batch: list[int] = []
    widest = (0, 0)
    for i in sorted(range(len(widths)), key=lambda i: widths[i], reverse=True):
        rows = (len(batch) + 1) * rows_each
        wider = (max(widest[0], widths[i][0]), max(widest[1], widths[i][1]))
        if batch and (rows > MAX_ROWS or rows * sum(wider) > MAX_BATCH_TOKENS):
            yield batch
            batch, wider = [], widths[i]
        batch.append(i)
        widest = wider
    if batch:
        yield batch
