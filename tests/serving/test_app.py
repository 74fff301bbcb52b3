"""The HTTP contract: what is answered, and that all that is wrong gets a fitting status in one shape."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hostile import BOMBS, REFUSED
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from serving import service
from serving.app import create_app
from serving.assembly import load_pipeline
from serving.databases import Databases
from serving.errors import CheckpointError, EngineError
from serving.pipeline import AskResult
from serving.settings import Settings


@pytest.fixture(scope="module")
def client(checkpoint: Path, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The service on a real checkpoint of random weights, with the demo and a shop."""
    home = tmp_path_factory.mktemp("home")
    Databases(home).add("shop", str(shop))
    settings = Settings(
        checkpoint=checkpoint, home=home, candidates=2, max_tokens=8, sql_timeout_s=0.2, threads=1
    )
    app = create_app(settings, load_pipeline)
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.portal is not None
        client.portal.call(app.state.service.loaded)
        yield client


def is_error(response: Any, status: int | None = None) -> bool:
    """Whether a response has the one shape, a status in 4xx (or the given one), and gives nothing away."""
    error = response.json()["error"]
    assert set(error) == {"type", "message", "hint"}
    assert error["message"]
    assert "Traceback" not in response.text
    assert "/tmp/" not in response.text.replace("/tmp/evil", "")
    return 400 <= response.status_code < 500 if status is None else response.status_code == status


def test_a_question_is_answered_in_the_shape_that_was_promised(client: TestClient) -> None:
    response = client.post(
        "/v1/sql", json={"question": "which suppliers are late?", "database": "demo", "execute": True}
    )
    assert response.status_code == 200
    answer = response.json()
    assert {"sql", "confidence", "abstain", "signals", "rows", "columns", "model", "usage"} <= answer.keys()
    assert 0 <= answer["confidence"] <= 1
    assert isinstance(answer["abstain"], bool)
    assert answer["model"] == "random-tiny"
    assert answer["usage"]["prompt_tokens"] > 0
    assert all(set(signal) == {"name", "value", "ms", "note", "cost"} for signal in answer["signals"])


def test_a_statement_is_run(client: TestClient) -> None:
    response = client.post(
        "/v1/execute", json={"database": "shop", "sql": "SELECT name FROM suppliers ORDER BY id"}
    )
    assert response.status_code == 200
    found = response.json()
    assert (found["columns"], found["rows"], found["truncated"]) == (
        ["name"],
        [["Acme"], ["Bolt"], ["Café"]],
        False,
    )
    assert found["ms"] >= 0


@pytest.mark.parametrize("sql", REFUSED)
def test_a_hostile_statement_gets_4xx(client: TestClient, sql: str) -> None:
    body = json.dumps({"database": "shop", "sql": sql}).encode()
    assert is_error(client.post("/v1/execute", content=body, headers={"content-type": "application/json"}))


@pytest.mark.parametrize("sql", [*BOMBS[:2], "SELECT nowhere FROM suppliers", "SELECT * FROM nowhere"])
def test_a_statement_that_fails_gets_4xx(client: TestClient, sql: str) -> None:
    assert is_error(client.post("/v1/execute", json={"database": "shop", "sql": sql}))


def test_the_databases_are_listed_and_described(client: TestClient) -> None:
    listed = client.get("/v1/databases").json()
    assert [line["name"] for line in listed] == ["demo", "shop"]
    assert "suppliers" in listed[0]["tables"]
    assert [table["name"] for table in client.get("/v1/databases/shop").json()["tables"]] == [
        "suppliers",
        "parts",
        "german",
    ]
    assert is_error(client.get("/v1/databases/nope"), 404)


def test_health_and_readiness(client: TestClient) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200
    assert client.get("/openapi.json").json()["paths"].keys() >= {"/v1/sql", "/v1/execute", "/v1/databases"}


def test_the_home_page_leads_to_the_docs_and_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert 'href="/docs"' in page.text
    assert "src=" not in page.text
    assert "{{" not in page.text


GOOD: dict[str, Any] = {"question": "which suppliers?", "database": "demo", "execute": False}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({**GOOD, "question": ""}, 422),
        ({**GOOD, "question": "   \n"}, 422),
        ({**GOOD, "question": "x" * 4_001}, 413),
        ({**GOOD, "question": "x" * 100_000}, 413),
        ({**GOOD, "question": "a\x00b"}, 422),
        ({**GOOD, "question": None}, 422),
        ({**GOOD, "question": 7}, 422),
        ({**GOOD, "question": ["x"]}, 422),
        ({**GOOD, "database": "nope"}, 404),
        ({**GOOD, "database": "../../etc/passwd"}, 404),
        ({**GOOD, "database": "\ud800"}, 422),
        ({**GOOD, "question": "\udfff"}, 422),
        ({**GOOD, "database": {}}, 422),
        ({**GOOD, "execute": "yes"}, 422),
        ({**GOOD, "execute": 1}, 422),
        ({**GOOD, "surprise": 1}, 422),
        ({"database": "demo"}, 422),
        ({}, 422),
        ([], 422),
        ("text", 422),
        (None, 422),
    ],
)
def test_a_wrong_body_gets_a_fitting_status(client: TestClient, body: object, status: int) -> None:
    content = json.dumps(body).encode()
    assert is_error(
        client.post("/v1/sql", content=content, headers={"content-type": "application/json"}), status
    )


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"not json", 400),
        (b'{"question": }', 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 50_000, 400),
        (b'{"question": "' + b"x" * 1_100_000 + b'"}', 413),
    ],
)
def test_a_body_that_is_not_json_gets_a_fitting_status(
    client: TestClient, content: bytes, status: int
) -> None:
    response = client.post("/v1/sql", content=content, headers={"content-type": "application/json"})
    assert is_error(response, status)


def test_a_body_without_a_length_is_capped_all_the_same(client: TestClient) -> None:
    chunks = (b"x" * 100_000 for _ in range(12))
    assert is_error(client.post("/v1/sql", content=chunks, headers={"content-type": "application/json"}), 413)


def test_unknown_paths_and_methods_are_errors_of_the_same_shape(client: TestClient) -> None:
    assert is_error(client.get("/v2/sql"), 404)
    assert is_error(client.get("/v1/sql"), 405)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_FIELDS = {
    "sql": st.text() | _JSON,
    "database": st.sampled_from(["demo", "shop", "x"]) | _JSON,
    "question": _JSON,
    "x": _JSON,
}
_BODIES = st.fixed_dictionaries({}, optional=_FIELDS)


@given(
    path=st.sampled_from(["/v1/execute", "/v1/sql"]),
    body=_BODIES.map(json.dumps).map(str.encode) | st.binary(),
)
@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_body_gets_a_5xx(client: TestClient, path: str, body: bytes) -> None:
    response = client.post(path, content=body, headers={"content-type": "application/json"})
    assert response.status_code < 500
    assert response.status_code == 200 or is_error(response)


def test_a_service_whose_model_cannot_be_loaded_is_never_ready_and_says_why(settings: Settings) -> None:
    def broken(_settings: Settings) -> Any:
        raise CheckpointError("The shard 2 is missing.", "Copy it again.")

    app = create_app(settings, broken)
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.portal is not None
        with pytest.raises(CheckpointError):
            client.portal.call(app.state.service.loaded)
        ready = client.get("/readyz")
        assert is_error(ready, 503)
        assert "shard 2" in ready.text
        asked = client.post("/v1/sql", json=GOOD)
        assert is_error(asked, 503)
        assert int(asked.headers["retry-after"]) > 0
        assert client.get("/healthz").status_code == 200
        assert client.post("/v1/execute", json={"sql": "SELECT 1"}).json()["rows"] == [[1]]


class Slow:
    """A model that takes its time to load, and then answers all the same."""

    engine = None

    def __init__(self) -> None:
        self.loaded = threading.Event()

    def load(self, _settings: Settings) -> Any:
        assert self.loaded.wait(30)
        return self

    def ask(self, questions: list[Any]) -> list[AskResult]:
        return [AskResult("SELECT 1", 0.9, False, [], "m", 1, 1, 1.0)] * len(questions)


def test_a_question_waits_while_the_model_is_loading(settings: Settings) -> None:
    slow = Slow()
    app = create_app(settings, slow.load)
    with TestClient(app, raise_server_exceptions=False) as client, ThreadPoolExecutor() as pool:
        asked = pool.submit(client.post, "/v1/sql", json=GOOD)
        while app.state.service.waiting == 0:
            time.sleep(0.01)
        assert is_error(client.get("/readyz"), 503)
        assert not asked.done()
        slow.loaded.set()
        assert asked.result(30).status_code == 200
        assert client.get("/readyz").status_code == 200
        assert app.state.service.waiting == 0


def test_a_question_does_not_wait_for_ever(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LOAD_WAIT_S", 0.05)
    slow = Slow()
    with TestClient(create_app(settings, slow.load), raise_server_exceptions=False) as client:
        asked = client.post("/v1/sql", json=GOOD)
        slow.loaded.set()
    assert is_error(asked, 503)
    assert int(asked.headers["retry-after"]) > 0


def test_no_more_wait_for_the_model_than_the_queue_holds_and_none_once_it_stops(settings: Settings) -> None:
    slow = Slow()
    app = create_app(settings.model_copy(update={"queue": 1}), slow.load)
    with TestClient(app, raise_server_exceptions=False) as client, ThreadPoolExecutor() as pool:
        first = pool.submit(client.post, "/v1/sql", json=GOOD)
        while app.state.service.waiting == 0:
            time.sleep(0.01)
        assert is_error(client.post("/v1/sql", json=GOOD), 503)
        app.state.service.draining = True
        assert is_error(first.result(30), 503)
        slow.loaded.set()


def test_a_failing_engine_gives_a_500_that_tells_nothing_of_the_inside(settings: Settings) -> None:
    class Failing:
        engine = None

        def ask(self, _questions: object) -> Any:
            raise RuntimeError("secret /tmp/path")

    with TestClient(create_app(settings, lambda _: Failing()), raise_server_exceptions=False) as client:  # type: ignore[arg-type,return-value]
        assert client.portal is not None
        client.portal.call(client.app.state.service.loaded)  # type: ignore[attr-defined]
        response = client.post("/v1/sql", json=GOOD)
        assert is_error(response, 500)
        assert "secret" not in response.text


def test_a_draining_service_is_not_ready_but_answers_who_has_not_seen_that_yet(settings: Settings) -> None:
    asked: list[object] = []

    class Idle:
        engine = None

        def ask(self, questions: list[object]) -> Any:
            asked.extend(questions)
            raise EngineError("this one answers nothing")

    app = create_app(settings, lambda _: Idle())  # type: ignore[arg-type,return-value]
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.portal is not None
        client.portal.call(app.state.service.loaded)
        app.state.service.draining = True
        assert is_error(client.get("/readyz"), 503)
        client.post("/v1/sql", json=GOOD)
        assert len(asked) == 1
        app.state.service.stopping = True
        assert is_error(client.post("/v1/sql", json=GOOD), 503)
        assert len(asked) == 1


def test_a_request_ends_by_its_deadline_and_says_so(settings: Settings) -> None:
    slow = Slow()
    app = create_app(settings.model_copy(update={"request_timeout_s": 0.2}), slow.load)
    with TestClient(app, raise_server_exceptions=False) as client:
        asked = client.post("/v1/sql", json=GOOD)
        assert is_error(asked, 504)
        assert "0.2 s" in asked.json()["error"]["message"] and int(asked.headers["retry-after"]) > 0
        slow.loaded.set()
