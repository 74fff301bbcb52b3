"""Opens the engine that the settings name."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

from corpus.grammar_tokens import Vocabulary

from ..errors import EngineSetupError
from ..settings import Settings
from .chat_engine import ChatEngine
from .embedded import EmbeddedEngine
from .engine import Engine
from .openai_engine import OpenAIEngine
from .remote import Remote
from .replicas import Replicas
from .supervisor import Supervised
from .vllm import START_S, start

log = logging.getLogger(__name__)
OWNER = "suresql"
"""Of models that a SureSQL lists."""


class ReferenceEngine(Engine, Protocol):
    """An engine that serves a checkpoint of ours, whose vocabulary is therefore known."""

    @property
    def vocabulary_size(self) -> int: ...
    @property
    def grammar_vocabulary(self) -> Vocabulary: ...
    def special_tokens(self) -> dict[str, int]: ...


class SupervisedEngine(OpenAIEngine):
    """An engine whose processes are ours, and end with it."""

    def __init__(self, remote: Remote, settings: Settings, processes: Sequence[Supervised]) -> None:
        super().__init__(remote, settings.checkpoint, settings.checkpoint.name)
        self.processes = tuple(processes)

    def close(self) -> None:
        super().close()
        stop_all(self.processes)


def stop_all(processes: Sequence[Supervised]) -> None:
    """End them, all told to before any is waited for."""
    for one in processes:
        one.ask_to_stop()
    for one in processes:
        one.stop()


def open_engine(settings: Settings) -> ReferenceEngine | ChatEngine:
    """The engine, ready to be asked; a ChatEngine for a model that is not ours.

    Raises CheckpointError, EngineSetupError or EngineUnavailable.
    """
    if settings.engine_urls:
        remote = connect(settings)
        try:
            name, ours = served_model(remote, settings)
            if settings.engine_format == "plain" or (
                settings.engine_format == "auto" and name != settings.checkpoint.name
            ):
                return ChatEngine(remote, name)
            return OpenAIEngine(remote, settings.checkpoint, name, ours=ours)
        except BaseException:
            remote.close()
            raise
    if settings.engine == "vllm":
        processes = start(settings)
        try:
            for one in processes:
                one.wait(START_S)
            remote = Remote(Replicas([one.url for one in processes]), deadline_s=settings.engine_timeout_s)
            return SupervisedEngine(remote, settings, processes)
        except BaseException:
            stop_all(processes)
            raise
    return EmbeddedEngine(settings.checkpoint, threads=settings.threads)


def connect(settings: Settings) -> Remote:
    """The connection to the servers of `engine_urls`."""
    key = settings.engine_api_key.get_secret_value() if settings.engine_api_key else None
    return Remote(Replicas(settings.engine_urls), api_key=key, deadline_s=settings.engine_timeout_s)


def served_model(remote: Remote, settings: Settings) -> tuple[str, bool]:
    """The name of the model to ask for, and whether SureSQL serves it.

    Raises EngineSetupError where the servers do not list the one that is wanted.
    """
    listed: Any = remote.get("/v1/models")
    models = {str(one["id"]): one for one in listed.get("data", []) if isinstance(one, dict) and "id" in one}
    names = list(models)
    wanted = settings.engine_model
    if wanted is None and settings.checkpoint.name in names:
        wanted = settings.checkpoint.name
    if not names or (wanted is not None and wanted not in names):
        raise EngineSetupError(
            f"The engines list {', '.join(names) or 'no model'}; asked for was {wanted or 'any'}.",
            "Set SURESQL_ENGINE_MODEL to one that they serve.",
        )
    name = wanted or names[0]
    return name, models[name].get("owned_by") == OWNER
