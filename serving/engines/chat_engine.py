"""Any model behind OpenAI's chat protocol: conversations in, texts with their log-probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import EngineError
from .engine import Completion
from .remote import Remote

PATH = "/v1/chat/completions"
Conversation = Sequence[dict[str, str]]
MOST_TOP = 20


class ChatEngine:
    """A model that need not be ours, whose tokens are not known here."""

    def __init__(self, remote: Remote, model_name: str) -> None:
        self.remote = remote
        self.model_name = model_name

    def chat(
        self,
        conversations: Sequence[Conversation],
        *,
        max_tokens: int,
        n: int = 1,
        temperature: float = 0.0,
        grammars: Sequence[str | None] | None = None,
    ) -> list[list[Completion]]:
        """`n` answers to each: at temperature 0 the likeliest one alone. `grammars`, one for each in Lark's notation or None, are
        kept to by servers that know vLLM's structured outputs; log-probabilities are then of what they leave.

        Raises PromptTooLong, EngineError and kin.
        """
        rules = [None] * len(conversations) if grammars is None else grammars
        bodies = [
            self._body(one, max_tokens)
            | {"n": n, "temperature": temperature, "logprobs": True}
            | ({} if rule is None else {"structured_outputs": {"grammar": rule}})
            for one, rule in zip(conversations, rules, strict=True)
        ]
        return [
            [_completion(choice, answer) for choice in answer["choices"]] for answer in self._post(bodies)
        ]

    def first_token(self, conversations: Sequence[Conversation]) -> list[dict[str, float]]:
        """The likeliest first tokens of an answer to each, with their log-probabilities; empty if it gives none."""
        bodies = [
            self._body(one, 1) | {"temperature": 0.0, "logprobs": True, "top_logprobs": MOST_TOP}
            for one in conversations
        ]
        found = []
        for answer in self._post(bodies):
            content = (answer["choices"][0].get("logprobs") or {}).get("content") or []
            top = content[0].get("top_logprobs", []) if content else []
            found.append({str(one["token"]): float(one["logprob"]) for one in top})
        return found

    def close(self) -> None:
        self.remote.close()

    def _body(self, conversation: Conversation, max_tokens: int) -> dict[str, Any]:
        return {"model": self.model_name, "messages": list(conversation), "max_tokens": max_tokens}

    def _post(self, bodies: list[dict[str, Any]]) -> list[Any]:
        answers = self.remote.post(PATH, bodies, [str(body["messages"]) for body in bodies])
        if not all(isinstance(answer, dict) and answer.get("choices") for answer in answers):
            raise EngineError("The engine's answer has no choices.", "Does it speak OpenAI's chat protocol?")
        return answers


def _completion(choice: dict[str, Any], answer: dict[str, Any]) -> Completion:
    content = (choice.get("logprobs") or {}).get("content") or []
    return Completion(
        text=str(choice["message"].get("content") or ""),
        token_ids=tuple(range(len(content))),  # which they are is the model's affair
        logprobs=tuple(float(one["logprob"]) for one in content),
        prompt_tokens=int((answer.get("usage") or {}).get("prompt_tokens", 0)),
        finish_reason="length" if choice.get("finish_reason") == "length" else "stop",
    )
