"""What stands behind the routes: the databases, and the pipeline once it is loaded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from .batcher import Batcher
from .databases import Database, Databases
from .errors import Overloaded, ServingError
from .execution import Result
from .guard import check
from .pipeline import AskResult, Pipeline
from .settings import Settings

log = logging.getLogger(__name__)
PipelineFactory = Callable[[Settings], Pipeline]
MAX_EXECUTIONS = 4  # statements of users that run at one time


class Service:
    """Loads the pipeline beside the event loop and puts questions to it."""

    def __init__(self, settings: Settings, pipeline_factory: PipelineFactory) -> None:
        self.settings = settings
        self.databases = Databases(settings.home)
        self.draining = False
        self.failure: ServingError | None = None
        self._factory = pipeline_factory
        self._batcher: Batcher[tuple[str, Database], AskResult] | None = None
        self._loading: asyncio.Task[None] | None = None
        self._executions = asyncio.Semaphore(MAX_EXECUTIONS)
        self._waiting_executions = 0

    @property
    def ready(self) -> bool:
        return self._batcher is not None and not self.draining

    @property
    def waiting(self) -> int:
        """Questions that wait or are being answered."""
        return self._batcher.inside if self._batcher else 0

    def start(self) -> None:
        self._loading = asyncio.create_task(self._load())

    async def loaded(self) -> None:
        """Wait until the pipeline is loaded; raises what kept it from being so."""
        if self._loading is not None:
            await self._loading
        if self.failure is not None:
            raise self.failure

    async def stop(self) -> None:
        self.draining = True
        if self._loading is not None:
            await asyncio.gather(self._loading, return_exceptions=True)
        if self._batcher is not None:
            await self._batcher.close()

    async def database(self, name: str) -> Database:
        return await asyncio.to_thread(self.databases.get, name)

    def ask(self, question: str, database: Database) -> asyncio.Future[AskResult]:
        """A future of the answer; cancelled in time, the engine never sees it. Raises Overloaded."""
        if self.failure is not None:
            raise Overloaded(f"The model is not loaded: {self.failure.message}", self.failure.hint, 60)
        if self._batcher is None or self.draining:
            raise Overloaded(
                "The server is stopping." if self.draining else "The model is still loading.", "", 2
            )
        return self._batcher.submit((question, database))

    async def execute(self, sql: str, database: Database) -> Result:
        """Guard `sql` and run it, reading only and within the limits. Raises GuardError, BadSql and kin."""
        if self._waiting_executions >= self.settings.queue:
            raise Overloaded(
                "Too many statements are waiting to run.", "", max(1, round(self.settings.sql_timeout_s))
            )
        self._waiting_executions += 1
        try:
            async with self._executions:
                return await asyncio.to_thread(self._execute, sql, database)
        finally:
            self._waiting_executions -= 1

    def _execute(self, sql: str, database: Database) -> Result:
        check(sql)
        settings = self.settings
        return database.execute(
            sql, max_rows=settings.max_rows, max_bytes=settings.max_bytes, timeout_s=settings.sql_timeout_s
        )

    async def _load(self) -> None:
        try:
            pipeline = await asyncio.to_thread(self._factory, self.settings)
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
        self._batcher = Batcher(work, queue=self.settings.queue)
