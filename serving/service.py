"""What stands behind the routes: the databases, and the pipeline once it is loaded."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from .batcher import Batcher
from .databases import Database, Databases
from .engines.calling import new_call
from .engines.cancel import Cancel, stoppable
from .engines.chat_engine import ChatEngine
from .engines.embedded import EmbeddedEngine
from .engines.openai_engine import OpenAIEngine
from .engines.opening import SupervisedEngine
from .errors import Overloaded, ServingError
from .execution import Result
from .feedback import Feedback, open_feedback
from .gateway.audit import Audit
from .gateway.caller import Caller
from .gateway.calls import Calls
from .gateway.durations import Durations
from .gateway.fair import Slots
from .gateway.keys import KeyStore
from .gateway.limits import Ledger, MemoryLedger
from .gateway.local import LocalCompletions
from .gateway.metrics import Metrics
from .gateway.proxy import Proxy
from .gateway.redis_limits import RedisLedger
from .pipeline import AskResult, Pipeline
from .progress import Listener
from .settings import Settings
from .tracing import open_tracing, stage

log = logging.getLogger(__name__)
PipelineFactory = Callable[[Settings], Pipeline]
MAX_EXECUTIONS = 4  # statements of users that run at one time
REMOTE_WORKERS = 8  # batches at one time where the engine is elsewhere and batches by itself
SPARE_S = 5.0  # a reservation outlives the longest request by so much
EXPECTED_TOKENS = 1_000  # of a question with its schema and its candidates, until it is known
LOCAL_SLOTS = 2  # completions put to the engine in this process: one that it makes and the next; the others wait in our order
LOAD_WAIT_S = 60.0  # how long a question waits for the model to be loaded
_LOOK_S = 0.2  # between two looks at whether the server is stopping meanwhile


class Service:
    """Loads the pipeline beside the event loop and puts questions to it."""

    def __init__(self, settings: Settings, pipeline_factory: PipelineFactory) -> None:
        self.settings = settings
        self.databases = Databases(settings.home, settings.secret)
        self.draining = False
        """Others are to be asked; who asks all the same is still answered."""
        self.stopping = False
        self.failure: ServingError | None = None
        self.pipeline: Pipeline | None = None
        self.feedback: Feedback | None = None
        self._factory = pipeline_factory
        self.started = time.time()
        self.metrics = Metrics()
        self.tracing = open_tracing(settings)
        self.durations = Durations()
        self.keys = KeyStore(settings.home, _secret(settings))
        self.audit = Audit(settings.home / "audit.jsonl")
        self.calls = Calls(settings.home / "calls")
        expire_s = settings.request_timeout_s + SPARE_S
        self.ledger: Ledger = (
            RedisLedger(settings.redis_url, expire_s=expire_s)
            if settings.redis_url
            else MemoryLedger(expire_s=expire_s)
        )
        slots = settings.engine_slots * max(1, len(settings.engine_urls) or settings.engine_replicas)
        self.slots = Slots(
            slots if not settings.embedded else LOCAL_SLOTS,
            settings.queue,
            most=max(1, slots * 3 // 4) if settings.needs_keys else None,
        )
        self.proxy: Proxy | None = None
        self.local: LocalCompletions | None = None
        self._stopping = Cancel()
        self._batcher: Batcher[tuple[str, Database], AskResult] | None = None
        self._loading: asyncio.Task[None] | None = None
        self._executions = asyncio.Semaphore(MAX_EXECUTIONS)
        self._waiting_executions = 0
        self._waiting_load = 0

    @property
    def ready(self) -> bool:
        return self._batcher is not None and not self.draining

    @property
    def engines_away(self) -> bool:
        """Whether the engine is elsewhere, and none of its servers answers."""
        return self.proxy is not None and not any(one.healthy for one in self.proxy.replicas.all)

    @property
    def waiting(self) -> int:
        """Questions that wait or are being answered."""
        return self._waiting_load + (self._batcher.inside if self._batcher else 0)

    def start(self) -> None:
        self._loading = asyncio.create_task(self._load())

    async def loaded(self) -> None:
        """Wait until the pipeline is loaded; raises what kept it from being so."""
        if self._loading is not None:
            await self._loading
        if self.failure is not None:
            raise self.failure

    async def stop(self) -> None:
        self.draining = self.stopping = True
        self._stopping.set()
        if self._loading is not None:
            await asyncio.gather(self._loading, return_exceptions=True)
        if self._batcher is not None:
            await self._batcher.close()
        self.slots.close()
        if self.proxy is not None:
            await self.proxy.close()
        await self.ledger.close()
        self.audit.close()
        self.calls.close()
        if (engine := getattr(self.pipeline, "engine", None)) is not None:
            await asyncio.to_thread(engine.close)
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)

    async def database(self, name: str) -> Database:
        return await asyncio.to_thread(self.databases.get, name)

    async def ask(
        self, question: str, database: Database, tenant: str = "", listen: Listener | None = None
    ) -> AskResult:
        """The answer, once the model is loaded; cancelled in time, the engine never sees it.

        Raises Overloaded.
        """
        await self.until_ready()
        assert self._batcher is not None
        return await self._batcher.submit((question, database), tenant, len(question), listen)

    async def ask_within_limits(
        self,
        caller: Caller,
        question: str,
        database: Database,
        listen: Listener | None = None,
    ) -> AskResult:
        """`ask`, on the account of a caller. Raises LimitReached too."""
        expected = EXPECTED_TOKENS + len(question)
        held = await self.ledger.reserve(caller, new_call(), expected)
        took = 0
        try:
            result = await self.ask(question, database, caller.tenant, listen)
            took = result.prompt_tokens + result.completion_tokens
            return result
        finally:
            if held is not None:
                await self.ledger.settle(held, took)

    def figures(self) -> bytes:
        """What Prometheus reads."""
        metrics = self.metrics
        metrics.ready.set(self.ready)
        metrics.waiting.set(self.slots.waiting + self.waiting)
        replicas = self.proxy.replicas.all if self.proxy is not None else ()
        metrics.engines_well.set(sum(one.healthy for one in replicas) if replicas else self.ready)
        metrics.in_flight.set(self.slots.slots - self.slots.free)
        metrics.engine_failures.set(sum(one.failures for one in replicas))
        return metrics.text()

    def note_answer(
        self, caller: Caller, request: str, route: str, database: str, question: str, result: AskResult
    ) -> None:
        """Write an answer down: in the audit and in the metrics."""
        self.audit.write(
            caller, request, route, 200, database=database, question=question, sql=result.sql,
            confidence=round(result.confidence, 4), abstain=result.abstain, error=result.error,
        )  # fmt: skip
        self.metrics.tokens.labels("prompt").inc(result.prompt_tokens)
        self.metrics.tokens.labels("completion").inc(result.completion_tokens)
        self.metrics.confidence.observe(result.confidence)
        if result.abstain:
            self.metrics.abstained.inc()
        for signal in result.signals:
            self.metrics.signal_seconds.labels(signal.name).observe(signal.ms / 1000)

    async def until_ready(self) -> None:
        """Return once the model can be asked. Raises Overloaded where it cannot be in time."""
        if self._batcher is not None and not self.stopping:
            return
        if self._batcher is None:
            await self._wait_for_load()
        if self.failure is not None:
            raise Overloaded(f"The model is not loaded: {self.failure.message}", self.failure.hint, 60)
        if self.stopping:
            raise Overloaded("The server is stopping.", "Try again shortly.", 2)
        if self._batcher is None:
            raise Overloaded("The model is still loading.", "Try again shortly; /readyz says when.", 5)

    def remember(self, caller: Caller, question: str, database: str, result: AskResult) -> str:
        """An identifier to label the answer by; empty where there is no SQL, or nothing is kept."""
        if self.feedback is None or not result.sql:
            return ""
        return self.feedback.remember(question, database, result, caller.tenant)

    async def execute(self, sql: str, database: Database) -> Result:
        """Run `sql`, in the database's own dialect, behind both walls, within limits. Raises GuardError, BadSql and kin."""
        if self._waiting_executions >= self.settings.queue:
            raise Overloaded(
                "Too many statements are waiting to run.", "", max(1, round(self.settings.sql_timeout_s))
            )
        self._waiting_executions += 1
        try:
            async with self._executions:
                with stage("execute", db__system__name=database.dialect) as spans:
                    if spans.texts:
                        spans.set("db.query.text", sql)
                    return await asyncio.to_thread(self._execute, sql, database)
        finally:
            self._waiting_executions -= 1

    async def _wait_for_load(self) -> None:
        """Until the model is loaded, or cannot be, or the server stops, or LOAD_WAIT_S are over."""
        if self._waiting_load >= self.settings.queue:
            raise Overloaded(
                f"The model is still loading, and {self._waiting_load} questions wait, which is all that may.",
                "Try again shortly; /readyz says when.",
                5,
            )
        self._waiting_load += 1
        try:
            deadline = time.monotonic() + LOAD_WAIT_S
            while self._loading is not None and not self._loading.done() and not self.draining:
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                await asyncio.wait((self._loading,), timeout=min(left, _LOOK_S))
        finally:
            self._waiting_load -= 1

    def _execute(self, sql: str, database: Database) -> Result:
        settings = self.settings
        return database.execute(
            sql,
            written_in=database.dialect,
            max_rows=settings.max_rows,
            max_bytes=settings.max_bytes,
            timeout_s=settings.sql_timeout_s,
        )

    async def _load(self) -> None:
        try:
            pipeline = await asyncio.to_thread(self._build)
        except ServingError as error:
            self.failure = error
            log.error("the model cannot be loaded: %s", error.message)
            return
        except Exception as error:
            log.exception("the model cannot be loaded")
            self.failure = ServingError(
                f"The model cannot be loaded ({type(error).__name__}).", "See the server's log."
            )
            return
        work: Callable[[Sequence[tuple[str, Database]]], list[AskResult]] = partial(pipeline.ask)
        self.pipeline = pipeline
        await asyncio.to_thread(self._open_feedback, pipeline)
        engine = getattr(pipeline, "engine", None)
        if isinstance(engine, (OpenAIEngine, ChatEngine)):
            key = self.settings.engine_api_key
            engine.remote.note = partial(self.calls.note, "settled", request="question")
            self.proxy = Proxy(
                engine.remote.replicas,
                self.calls,
                api_key=key.get_secret_value() if key else None,
                deadline_s=self.settings.engine_timeout_s,
                prioritised=isinstance(engine, SupervisedEngine),
            )
        elif isinstance(engine, EmbeddedEngine):
            self.local = LocalCompletions(engine, self.calls)
        workers = 1 if self.settings.embedded else REMOTE_WORKERS
        self._batcher = Batcher(work, queue=self.settings.queue, workers=workers)

    def _build(self) -> Pipeline:
        with stoppable(self._stopping):
            return self._factory(self.settings)

    def _open_feedback(self, pipeline: Pipeline) -> None:
        """Labels of before are taken up; where that fails, answers are judged as they shipped, and the log says so."""
        try:
            self.feedback = open_feedback(self.settings, pipeline)
        except (ServingError, OSError) as error:
            log.error("no labels are taken: %s", error)


def _secret(settings: Settings) -> bytes | None:
    if settings.key_secret is None:
        return None
    return settings.key_secret.get_secret_value().encode()
