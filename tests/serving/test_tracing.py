"""Traces: a collector that listens on a port gets a span for each stage of a request, in the trace that the client named."""

import gzip
import http.server
import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from server import Server

from serving import tracing
from serving.engines.vllm import environment
from serving.errors import SettingsError
from serving.settings import WEIGHTS, Settings, load_settings

PROMPT = "select count ( * ) from where group by"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = f"00-{TRACE}-00f067aa0ba902b7-01"
QUESTION = "which suppliers are in Xanadu or Zembla?"


class Collector:
    """An OTLP collector over HTTP: what it was sent, span by span."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    content = gzip.decompress(content)
                sent = ExportTraceServiceRequest.FromString(content)
                if self.path == "/v1/traces":
                    collector.spans += [
                        span
                        for one in sent.resource_spans
                        for scope in one.scope_spans
                        for span in scope.spans
                    ]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def by_name(self) -> dict[str, Any]:
        return {span.name: span for span in self.spans}

    def text(self) -> str:
        return "".join(map(str, self.spans))


@pytest.fixture
def collector() -> Iterator[Collector]:
    one = Collector()
    yield one
    one.close()


@contextmanager
def serving(checkpoint: Path, home: Path, **more: Any) -> Iterator[Server]:
    server = Server(
        Settings(checkpoint=checkpoint, home=home, candidates=2, max_tokens=40, threads=1, **more)
    )
    try:
        yield server
    finally:
        server.stop()  # what was not sent yet is


def ask(url: str, path: str, body: dict[str, Any], **headers: str) -> Any:
    data = json.dumps(body).encode()
    sent = Request(url + path, data, {"content-type": "application/json", **headers})
    with urlopen(sent, timeout=60) as response:
        return json.loads(response.read())


def test_a_question_leaves_a_span_for_each_stage_and_signal_in_its_clients_trace(
    checkpoint: Path, tmp_path: Path, collector: Collector
) -> None:
    with serving(checkpoint, tmp_path, traces_url=collector.url) as server:
        body = {"question": QUESTION, "database": "demo", "execute": True}
        answer = ask(server.url, "/v1/sql", body, traceparent=CALLER)
        ask(
            server.url,
            "/v1/execute",
            {"database": "demo", "sql": "select name as yoknapatawpha from suppliers"},
        )
    spans = collector.by_name()
    whole = spans["POST /v1/sql"]
    assert whole.trace_id.hex() == TRACE
    assert whole.parent_span_id.hex() == CALLER.split("-")[2]
    inside = [span for span in collector.spans if span.parent_span_id == whole.span_id]
    assert {span.name for span in inside} >= {"parse", "queue", "prompt", "generate", "choose", "confidence"}
    signals = {span.name.removeprefix("signal ") for span in inside if span.name.startswith("signal ")}
    assert answer["sql"]
    assert signals == {one["name"] for one in answer["signals"]} != set()
    assert all(whole.start_time_unix_nano <= span.start_time_unix_nano for span in inside)
    assert spans["execute"].parent_span_id == spans["POST /v1/execute"].span_id
    # Words, since digits stand by chance in times and ids.
    for literal in ("Xanadu", "Zembla", "yoknapatawpha", "select name"):
        assert literal not in collector.text()


def test_questions_and_sql_are_in_the_spans_where_that_is_asked_for(
    checkpoint: Path, tmp_path: Path, collector: Collector
) -> None:
    sql = "select name as yoknapatawpha from suppliers"
    with serving(checkpoint, tmp_path, traces_url=collector.url, trace_texts=True) as server:
        ask(server.url, "/v1/sql", {"question": QUESTION, "database": "demo"})
        ask(server.url, "/v1/execute", {"database": "demo", "sql": sql})
    assert QUESTION in collector.text()
    assert sql in str(collector.by_name()["execute"])


@pytest.mark.slow
def test_an_engine_behind_a_gateway_goes_on_in_the_gateways_trace(
    tmp_path: Path, collector: Collector
) -> None:
    completion = {"model": "nano", "prompt": PROMPT, "max_tokens": 4}
    options: dict[str, Any] = {"checkpoint": WEIGHTS / "nano", "traces_url": collector.url}
    with (
        serving(home=tmp_path / "engine", **options) as engine,
        serving(home=tmp_path / "front", engine_urls=(engine.url,), profile="thorough", **options) as front,
    ):
        ask(front.url, "/v1/completions", completion, traceparent=CALLER)
        question = {"question": "which suppliers are in Germany?", "database": "demo"}
        assert ask(front.url, "/v1/sql", question, traceparent=CALLER)["sql"]
    ours = {span.span_id: span for span in collector.spans if span.trace_id.hex() == TRACE}
    served = [span for span in ours.values() if span.name == "POST /v1/completions"]
    parents = {ours[span.parent_span_id].name for span in served if span.parent_span_id in ours}
    assert {"engine", "generate", "signal self_report"} <= parents


@pytest.mark.vllm
@pytest.mark.skipif(not environment(Settings()).ready, reason="vLLM is not installed")
def test_vllm_goes_on_in_its_clients_trace(tmp_path: Path, collector: Collector) -> None:
    options: dict[str, Any] = {"checkpoint": WEIGHTS / "nano", "engine": "vllm", "engine_timeout_s": 400}
    with serving(home=tmp_path, traces_url=collector.url, profile="thorough", **options) as server:
        ask(
            server.url,
            "/v1/completions",
            {"model": "nano", "prompt": PROMPT, "max_tokens": 4},
            traceparent=CALLER,
        )
        question = {"question": "which suppliers are in Germany?", "database": "demo"}
        assert ask(server.url, "/v1/sql", question, traceparent=CALLER)["sql"]
    ours = {span.span_id: span for span in collector.spans if span.trace_id.hex() == TRACE}
    served = [span for span in ours.values() if span.name == "llm_request"]  # vLLM's own
    assert {"engine", "generate", "signal self_report"} <= {ours[span.parent_span_id].name for span in served}


def test_a_gateway_that_traces_nothing_passes_its_clients_trace_on(
    checkpoint: Path, tmp_path: Path, collector: Collector
) -> None:
    with (
        serving(checkpoint, tmp_path / "engine", traces_url=collector.url) as engine,
        serving(checkpoint, tmp_path / "front", engine_urls=(engine.url,)) as front,
    ):
        for path in ("/v1/completions", "/v1/chat/completions"):
            body: dict[str, Any] = {"model": "random-tiny", "max_tokens": 2, "prompt": PROMPT}
            body["messages"] = [{"role": "user", "content": PROMPT}]
            ask(front.url, path, body, traceparent=CALLER)
        ask(front.url, "/v1/sql", {"question": QUESTION, "database": "demo"}, traceparent=CALLER)
    served = [span for span in collector.spans if span.name.startswith("POST ")]
    assert len(served) > 2
    assert {span.trace_id.hex() for span in served} == {TRACE}
    assert {span.parent_span_id.hex() for span in served} == {CALLER.split("-")[2]}


def test_a_broken_trace_context_begins_a_trace_of_its_own(
    checkpoint: Path, tmp_path: Path, collector: Collector
) -> None:
    with serving(checkpoint, tmp_path, traces_url=collector.url) as server:
        ask(server.url, "/v1/execute", {"database": "demo", "sql": "select 1"}, traceparent="00-zz-1-\xff")
    assert len(collector.by_name()["POST /v1/execute"].trace_id) == 16


def test_questions_of_one_batch_each_have_their_own_trace() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    own = tracing.Tracing(provider)
    places = []
    for _ in range(3):
        with tracing.Request(own, {}):
            places.append(tracing.current())
    with pytest.raises(KeyError), tracing.worked_for(places), tracing.stage("generate", of=[0, 2]) as spans:
        spans.set_of(2, "which", "third")
        with tracing.stage("engine"):
            raise KeyError("a secret")
    found = {
        name: [s for s in exporter.get_finished_spans() if s.name == name] for name in ("generate", "engine")
    }
    first, third = found["generate"]
    assert first.context.trace_id != third.context.trace_id
    assert [link.context.span_id for link in third.links] == [first.context.span_id]
    assert third.attributes["which"] == "third"
    assert [span.parent.span_id for span in found["engine"]] == [first.context.span_id, third.context.span_id]
    for span in exporter.get_finished_spans():
        assert "a secret" not in span.to_json()


def test_without_the_packages_nothing_is_traced_and_the_log_says_how(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert tracing.open_tracing(settings) is None
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with caplog.at_level(logging.WARNING):
        named = settings.model_copy(update={"traces_url": "http://127.0.0.1:4318"})
        assert tracing.open_tracing(named) is None
    assert "suresql[traces]" in caplog.text
    with tracing.Request(None, {}), tracing.stage("generate") as spans:
        spans.set("name", "value")
        assert tracing.headers() == {}


def test_the_collectors_address_is_opentelemetrys_own_variable_or_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    assert load_settings().traces_url == "http://collector:4318"
    monkeypatch.setenv("SURESQL_TRACES_URL", "http://other:4318")
    assert load_settings().traces_url == "http://other:4318"
    with pytest.raises(SettingsError, match=r"127\.0\.0\.1:4318"):
        load_settings(traces_url="collector:4318")
