"""Where the time of a request goes, as OpenTelemetry has it: a span for the request, and one within for each stage of its way.

A request's trace travels in a context variable, into threads too; code that works on it says `with stage("name"):` and knows
nothing of OpenTelemetry. Without a collector's address, or without the packages of the extra `traces`, a stage is nothing and
the W3C trace context that a client sent still goes on to the engine.

Questions that are answered as a batch share a stage: the first one's trace has its span, under which the engine's are, and the
others' traces have a span of the same time that links to it. No span holds a key's secret, a row, a question or SQL unless
`trace_texts` is set.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from sqlconf.signal import Answer, Reading, Signal

from .progress import AroundSignal
from .settings import Settings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

log = logging.getLogger(__name__)
NAME = "suresql"
EXPORT_TIMEOUT_S = 5
Value = str | bool | int | float


class Tracing:
    """One application's: makes spans and sends them in the background."""

    def __init__(self, provider: TracerProvider, *, texts: bool = False) -> None:
        """`texts`: questions and SQL are put into spans."""
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.api = trace
        self.texts = texts
        self.tracer = provider.get_tracer(NAME)
        self.propagator = TraceContextTextMapPropagator()
        self._provider = provider

    def close(self) -> None:
        """Send what there is. Blocks for some seconds where the collector does not answer."""
        self._provider.shutdown()


class Trace:
    """A place in a trace of ours, under which further spans go."""

    def __init__(self, tracing: Tracing, context: Context) -> None:
        self.tracing = tracing
        self.context = context

    def headers(self) -> dict[str, str]:
        """What tells a server of this place."""
        found: dict[str, str] = {}
        self.tracing.propagator.inject(found, self.context)
        return found


class _Passed:
    """A client's trace context, of which nothing is recorded here."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def headers(self) -> dict[str, str]:
        return dict(self._headers)


Place = Trace | _Passed
_Traces = tuple[Place | None, ...]
_current: ContextVar[_Traces] = ContextVar("traces", default=())


class Stage:
    """The spans of a stage, by the number of the question that each is of."""

    def __init__(self, spans: Mapping[int, Span], texts: bool) -> None:
        self._spans = spans
        self.texts = texts

    def set(self, name: str, value: Value | None) -> None:
        """Put an attribute on all of them."""
        for number in self._spans:
            self.set_of(number, name, value)

    def set_of(self, number: int, name: str, value: Value | None) -> None:
        """Put an attribute on one question's."""
        if value is not None and (span := self._spans.get(number)) is not None:
            span.set_attribute(name, value)


_NO_STAGE = Stage({}, False)


def open_tracing(settings: Settings) -> Tracing | None:
    """The tracing that the settings name; None without a collector's address, or, with a warning, without the packages."""
    if settings.traces_url is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("SURESQL_TRACES_URL is set, but nothing is traced: pip install 'suresql[traces]'")
        return None
    named = Resource({SERVICE_NAME: NAME}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=named, shutdown_on_exit=False)
    address = spans_address(settings.traces_url)
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=address, timeout=EXPORT_TIMEOUT_S))
    )
    return Tracing(provider, texts=settings.trace_texts)


def spans_address(collector: str) -> str:
    """Where a collector takes spans over HTTP."""
    return collector.rstrip("/") + "/v1/traces"


class Request:
    """The span of a whole request, from its client's trace context on; a context manager."""

    __slots__ = ("_before", "_span", "_tracing")

    def __init__(self, tracing: Tracing | None, headers: Mapping[str, str]) -> None:
        """`headers`: those of traceparent and tracestate that the client sent."""
        self._tracing = tracing
        self._span: Span | None = None
        traces: _Traces = (_Passed(dict(headers)),) if headers else ()
        if tracing is not None:
            parent = tracing.propagator.extract(headers)
            self._span = tracing.tracer.start_span("request", parent, kind=tracing.api.SpanKind.SERVER)
            traces = (Trace(tracing, tracing.api.set_span_in_context(self._span, parent)),)
        self._before = _current.set(traces)

    def __enter__(self) -> Request:
        return self

    def end(self, name: str, status: int, attributes: Mapping[str, Value]) -> None:
        """How it was answered. A span's name is of few values: it has the route in it, not the path."""
        span, tracing = self._span, self._tracing
        if span is None or tracing is None or not span.is_recording():
            return
        span.update_name(name)
        span.set_attribute("http.response.status_code", status)
        span.set_attributes(dict(attributes))
        if status >= 500:
            span.set_status(tracing.api.StatusCode.ERROR)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._before)
        if self._span is not None:
            self._span.end()


@contextmanager
def stage(name: str, of: Sequence[int] | None = None, **attributes: Value) -> Iterator[Stage]:
    """A span for what happens within, in the trace of each request that this context works for; `of` are the numbers of the
    questions of the batch that it concerns, all by default. What is raised leaves its kind there, not its message.

    An attribute is written with __ for the dots of its name.
    """
    traces = _current.get()
    numbers = range(len(traces)) if of is None else of
    recorded = [(i, one) for i in numbers if i < len(traces) and isinstance(one := traces[i], Trace)]
    if not recorded:
        yield _NO_STAGE
        return
    named: dict[str, Value] = {key.replace("__", "."): value for key, value in attributes.items()}
    if len(traces) > 1:
        named["suresql.batch_size"] = len(traces)
    spans: dict[int, Span] = {}
    under: list[Place | None] = [None] * len(traces)
    links: list[Any] = []
    for i, one in recorded:
        api = one.tracing.api
        spans[i] = span = one.tracing.tracer.start_span(name, one.context, attributes=named, links=links)
        under[i] = Trace(one.tracing, api.set_span_in_context(span, one.context))
        links = links or [api.Link(span.get_span_context())]
    before = _current.set(tuple(under))
    try:
        yield Stage(spans, recorded[0][1].tracing.texts)
    except BaseException as error:
        for span in spans.values():
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(recorded[0][1].tracing.api.StatusCode.ERROR)
        raise
    finally:
        _current.reset(before)
        for span in spans.values():
            span.end()


def waited(name: str, since_ns: Sequence[int]) -> None:
    """A span for what each request that this context works for has waited for, since a time of its own."""
    for one, since in zip(_current.get(), since_ns, strict=False):
        if isinstance(one, Trace):
            one.tracing.tracer.start_span(name, one.context, start_time=since).end()


def now_ns() -> int:
    """The time as `waited` takes it."""
    return time.time_ns()


def current() -> Place | None:
    """The trace of the one request that this context works for."""
    traces = _current.get()
    return traces[0] if traces else None


@contextmanager
def worked_for(traces: Sequence[Place | None]) -> Iterator[None]:
    """Within, stages are of these requests: the questions of a batch, in order."""
    before = _current.set(tuple(traces) if any(traces) else ())
    try:
        yield
    finally:
        _current.reset(before)


def headers() -> dict[str, str]:
    """W3C trace context for a server that is asked from here: of the first request that this context works for."""
    for one in _current.get():
        if one is not None:
            return one.headers()
    return {}


class _Traced(AroundSignal):
    """A signal with a span around its measuring."""

    def measure(self, answers: Sequence[Answer]) -> list[Reading]:
        with stage(f"signal {self.name}", self._questions) as spans:
            readings = self._signal.measure(answers)
            for number, reading in zip(self._questions, readings, strict=False):
                spans.set_of(number, "suresql.signal.value", reading.value)
            return readings


def traced(signals: Sequence[Signal], questions: Sequence[int]) -> Sequence[Signal]:
    """The signals, with spans where anything is recorded; `questions` are the numbers of those that are measured."""
    if not any(isinstance(one, Trace) for one in _current.get()):
        return signals
    return [_Traced(signal, questions) for signal in signals]
