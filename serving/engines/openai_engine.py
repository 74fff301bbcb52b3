"""An Engine over servers that speak OpenAI's completions as vLLM does, serving a checkpoint whose tokenizer is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from corpus.grammar_tokens import Grammar, Vocabulary
from model import Tokenizer
from model.errors import ModelError

from ..errors import CheckpointError, EngineError
from .bars import vocabulary_of
from .beam import beam_search
from .engine import Completion, Constraint
from .remote import Remote
from .told_binding import FIELD, told

PATH = "/v1/completions"
MOST_LOGPROBS = 20
"""What vLLM gives unless told otherwise."""
SPARE = 16
"""Next tokens asked for beyond those that a beam search needs, lest a mask bar too many of them."""


class OpenAIEngine:
    """Prompts go as token ids, so that both sides mean the same tokens; see Engine for the calls."""

    def __init__(
        self, remote: Remote, checkpoint: str | Path, model_name: str, *, ours: bool = False
    ) -> None:
        """`ours`: the servers are SureSQL's, whose beam search is as wanted.

        Raises CheckpointError where `checkpoint` has no tokenizer of ours.
        """
        self.remote = remote
        self._ours = ours
        self.model_name = model_name
        try:
            self._tokenizer = Tokenizer.load(Path(checkpoint))
        except (ModelError, OSError) as error:
            raise CheckpointError(
                f"The tokenizer of {checkpoint} cannot be read: {error}",
                "Give the folder of the checkpoint that the engines serve.",
            ) from error

    @property
    def vocabulary_size(self) -> int:
        """How many token ids stand for text."""
        return len(self._tokenizer)

    @cached_property
    def grammar_vocabulary(self) -> Vocabulary:
        """What `corpus.grammar_tokens.Grammar` has to know of the tokens."""
        return vocabulary_of(self._tokenizer)

    def special_tokens(self) -> dict[str, int]:
        """The tokens that no user's text is made of, with their ids."""
        return {token: self._tokenizer.token_id(token) for token in self._tokenizer.special_tokens}

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_tokens: int,
        n: int = 1,
        temperature: float = 0.0,
        seed: int | None = None,
        allowed: Sequence[Sequence[int] | None] | None = None,
        constraints: Sequence[Constraint | None] | None = None,
    ) -> list[list[Completion]]:
        """See Engine.generate; samples are not drawn under a constraint."""
        ids = [self._encode(prompt) for prompt in prompts]
        masks = [None if allowed is None else allowed[i] for i in range(len(prompts))]
        found: list[list[Completion]] = [[] for _ in prompts]
        bound = [None if constraints is None else constraints[i] for i in range(len(prompts))]
        if temperature > 0 and any(one is not None for one in bound):
            raise EngineError("Samples under a constraint are not drawn over HTTP.", "Ask at temperature 0.")
        free = [i for i in range(len(prompts)) if temperature == 0 and (n > 1 or bound[i] is not None)]
        searched = self._search(
            [ids[i] for i in free], n, max_tokens, [masks[i] for i in free], [bound[i] for i in free]
        )
        for i, several in zip(free, searched, strict=True):
            found[i] = several
        others = sorted({*range(len(prompts))} - {*free})
        bodies = [
            {**self._body(ids[i], max_tokens), "n": n, "temperature": temperature, "seed": seed,
             **({} if masks[i] is None else {"allowed_token_ids": self._mask(masks[i])})}
            for i in others
        ]  # fmt: skip
        for i, several in zip(others, self._ask(bodies, [ids[i] for i in others]), strict=True):
            found[i] = several
        return [_ordered(several, distinct=temperature == 0) for several in found]

    def score(self, prompts: Sequence[str], continuations: Sequence[str]) -> list[tuple[float, ...]]:
        """See Engine.score."""
        starts = [self._encode(prompt) for prompt in prompts]
        ends = [self._tokenizer.encode(continuation) for continuation in continuations]
        bodies = [
            {"model": self.model_name, "prompt": [*a, *b], "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0,
             **({"prompt_logprobs_from": len(a)} if self._ours else {})}
            for a, b in zip(starts, ends, strict=True)
        ]  # fmt: skip
        asked = [i for i, end in enumerate(ends) if end]
        scores: list[tuple[float, ...]] = [() for _ in ends]
        answers = self.remote.post(PATH, [bodies[i] for i in asked], [starts[i] for i in asked])
        for i, answer in zip(asked, answers, strict=True):
            try:
                rows = answer["choices"][0]["prompt_logprobs"][len(starts[i]) :]
                scores[i] = tuple(
                    float(row[str(token)]["logprob"]) for row, token in zip(rows, ends[i], strict=True)
                )
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise EngineError(
                    f"The engine's answer has no log-probabilities of its prompt ({type(error).__name__}).",
                    "It must know vLLM's prompt_logprobs.",
                ) from error
        return scores

    def close(self) -> None:
        self.remote.close()

    def _encode(self, text: str) -> list[int]:
        ids = self._tokenizer.encode(text)
        if not ids:
            raise EngineError("A prompt is empty.")
        return ids

    def _mask(self, mask: Sequence[int] | None) -> list[int]:
        return sorted({*(mask or ()), self._tokenizer.eos_id})

    def _search(
        self,
        prompts: list[list[int]],
        n: int,
        max_tokens: int,
        masks: Sequence[Sequence[int] | None],
        constraints: Sequence[Constraint | None],
    ) -> list[list[Completion]]:
        """The n best of a beam search of each prompt."""
        if self._ours:
            bodies = [
                {**self._body(prompt, max_tokens), "n": n, "use_beam_search": True,
                 **({} if mask is None else {"allowed_token_ids": list(mask)}), **_told(constraint)}
                for prompt, mask, constraint in zip(prompts, masks, constraints, strict=True)
            ]  # fmt: skip
            return self._ask(bodies, prompts)

        def next_tokens(
            texts: Sequence[tuple[int, Sequence[tuple[int, ...]]]],
        ) -> list[list[dict[int, float]]]:
            bodies = [
                {"model": self.model_name, "prompt": [[*prompts[i], *written] for written in several],
                 "max_tokens": 1, "temperature": 0.0, "logprobs": min(MOST_LOGPROBS, 2 * n + SPARE),
                 "return_tokens_as_token_ids": True}
                for i, several in texts
            ]  # fmt: skip
            answers = self.remote.post(PATH, bodies, [prompts[i] for i, _ in texts])
            return [[_top(choice) for choice in _in_order(answer)] for answer in answers]

        found = beam_search(
            next_tokens, len(prompts), beams=n, max_tokens=max_tokens, eos_id=self._tokenizer.eos_id,
            allowed=[None if mask is None else frozenset(mask) for mask in masks], constraints=constraints,
        )  # fmt: skip
        return [
            [self._decoded(one.ids, one.logprobs, one.stopped, len(prompt)) for one in several]
            for prompt, several in zip(prompts, found, strict=True)
        ]

    def _body(self, ids: list[int], max_tokens: int) -> dict[str, Any]:
        return {
            "model": self.model_name, "prompt": ids, "max_tokens": max_tokens, "logprobs": 1,
            "return_token_ids": True, "skip_special_tokens": False, "spaces_between_special_tokens": False,
        }  # fmt: skip

    def _ask(self, bodies: list[dict[str, Any]], ids: list[list[int]]) -> list[list[Completion]]:
        answers = self.remote.post(PATH, bodies, ids)
        return [
            [self._completion(choice, len(prompt)) for choice in _in_order(answer)]
            for answer, prompt in zip(answers, ids, strict=True)
        ]

    def _completion(self, choice: dict[str, Any], prompt_tokens: int) -> Completion:
        try:
            token_ids = tuple(int(i) for i in choice["token_ids"])
            logprobs = tuple(float(one) for one in choice["logprobs"]["token_logprobs"])
        except (KeyError, TypeError, ValueError) as error:
            raise EngineError(
                f"The engine's answer lacks token ids or log-probabilities ({type(error).__name__}).",
                "It must know vLLM's return_token_ids and logprobs.",
            ) from error
        stopped = choice.get("finish_reason") == "stop"
        if stopped and token_ids[-1:] != (self._tokenizer.eos_id,) and len(logprobs) == len(token_ids) + 1:
            token_ids = (*token_ids, self._tokenizer.eos_id)
        return self._decoded(token_ids, logprobs, stopped, prompt_tokens)

    def _decoded(
        self, token_ids: tuple[int, ...], logprobs: tuple[float, ...], stopped: bool, prompt_tokens: int
    ) -> Completion:
        written = token_ids[:-1] if token_ids[-1:] == (self._tokenizer.eos_id,) else token_ids
        return Completion(
            text=self._tokenizer.decode(list(written)),
            token_ids=token_ids,
            logprobs=logprobs,
            prompt_tokens=prompt_tokens,
            finish_reason="stop" if stopped else "length",
        )


def _told(constraint: Constraint | None) -> dict[str, Any]:
    """A constraint as another SureSQL builds it anew; it gives no next tokens that one could choose from here."""
    if constraint is None:
        return {}
    if not isinstance(constraint, Grammar):
        raise EngineError(
            "A SureSQL elsewhere can be told of a prompt's grammar, and of no other constraint."
        )
    return {FIELD: told(constraint.binding)}


def _in_order(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(answer["choices"], key=lambda choice: choice["index"])


def _top(choice: dict[str, Any]) -> dict[int, float]:
    """Token ids and log-probabilities of the one position that was asked for."""
    try:
        (tokens,) = choice["logprobs"]["top_logprobs"]
        return {int(token.removeprefix("token_id:")): float(logprob) for token, logprob in tokens.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise EngineError(
            f"The engine's answer lacks log-probabilities by token id ({type(error).__name__}).",
            "It must know vLLM's return_tokens_as_token_ids and logprobs.",
        ) from error


def _ordered(found: Sequence[Completion], distinct: bool) -> list[Completion]:
    kept = list({one.token_ids: one for one in found}.values()) if distinct else list(found)
    return sorted(kept, key=lambda one: -one.logprob)
