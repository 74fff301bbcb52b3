"""Answers in pieces and in batches, clients that leave, and databases that an administrator adds."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from leaving import post
from starlette.testclient import TestClient

from serving.app import create_app
from serving.assembly import load_pipeline
from serving.engines.embedded import EmbeddedEngine
from serving.gateway.caller import Scope
from serving.gateway.keys import KeyStore
from serving.settings import Settings

QUESTION = {"question": "which suppliers are in Germany?", "database": "demo"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def client(checkpoint: Path, home: Path) -> Iterator[TestClient]:
    settings = Settings(
        checkpoint=checkpoint, home=home, candidates=2, max_tokens=40, threads=1, keys="required"
    )
    key, _ = KeyStore(home).create("tests", scopes=list(Scope))
    app = create_app(settings, load_pipeline)
    with TestClient(app, raise_server_exceptions=False, headers={"authorization": f"Bearer {key}"}) as client:
        assert client.portal is not None
        client.portal.call(app.state.service.loaded)
        yield client


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for one in text.strip().split("\n\n"):
        kind, data = one.split("\n", 1)
        found.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_a_streamed_answer_ends_with_the_whole_one(client: TestClient) -> None:
    whole = client.post("/v1/sql", json=QUESTION).json()
    response = client.post("/v1/sql", json={**QUESTION, "stream": True})
    if not whole["sql"]:  # the random model wrote none: there is nothing to tell before the answer
        assert whole["error"]
        return
    told = events(response.text)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert told[0] == ("sql", {"sql": whole["sql"]})
    assert told[-1][0] == "answer"
    answer = told[-1][1]
    assert answer.keys() == whole.keys()
    assert [(one["name"], one["value"]) for kind, one in told if kind == "signal"] == [
        (one["name"], one["value"]) for one in answer["signals"]
    ]


def test_what_is_wrong_before_the_first_event_has_a_status(client: TestClient) -> None:
    assert client.post("/v1/sql", json={**QUESTION, "database": "nope", "stream": True}).status_code == 404


def test_a_batch_answers_in_order_and_one_that_fails_spoils_no_other(client: TestClient) -> None:
    body = {
        "questions": [
            QUESTION,
            {**QUESTION, "database": "nope"},
            {**QUESTION, "question": "how many orders?"},
        ]
    }
    lines = client.post("/v1/sql/batch", json=body).json()
    assert [line["error"] is None for line in lines] == [True, False, True]
    assert lines[1]["error"]["type"] == "unknown_database"
    assert client.post("/v1/sql/batch", json={"questions": []}).status_code == 422
    assert client.post("/v1/sql/batch", json={"questions": [QUESTION] * 65}).status_code == 422


def test_an_administrator_adds_and_removes_databases_within_the_homes_folder(
    client: TestClient, home: Path
) -> None:
    folder = home / "databases"
    folder.mkdir(exist_ok=True)
    connection = sqlite3.connect(folder / "songs.sqlite")
    connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    added = client.post("/v1/databases", json={"name": "songs", "url": str(folder / "songs.sqlite")})
    assert added.status_code == 201
    assert added.json() == {"name": "songs", "dialect": "sqlite", "tables": ["songs"], "error": None}
    assert client.post("/v1/databases", json={"name": "other", "url": "/etc/passwd"}).status_code == 422
    asks, _ = KeyStore(home).create("asks")
    for method, path in (("POST", "/v1/databases"), ("DELETE", "/v1/databases/songs")):
        body = {"name": "x", "url": str(folder / "songs.sqlite")} if method == "POST" else None
        response = client.request(method, path, json=body, headers={"authorization": f"Bearer {asks}"})
        assert response.status_code in (401, 403)
    assert client.delete("/v1/databases/songs").status_code == 204
    assert client.get("/v1/databases/songs").status_code == 404


def test_where_keys_are_off_nobody_changes_databases_over_http(checkpoint: Path, tmp_path: Path) -> None:
    app = create_app(Settings(checkpoint=checkpoint, home=tmp_path), lambda _: object())  # type: ignore[arg-type,return-value]
    with TestClient(app) as client:
        assert client.post("/v1/databases", json={"name": "a", "url": "/tmp/x"}).status_code == 403
        assert client.delete("/v1/databases/demo").status_code == 403


def test_metrics_and_docs_need_no_key_and_nothing_from_elsewhere(client: TestClient) -> None:
    client.post("/v1/sql", json=QUESTION)
    figures = client.get("/metrics", headers={"authorization": ""}).text
    assert 'suresql_requests_total{route="/v1/sql",status="200"}' in figures
    assert 'suresql_first_byte_seconds_count{route="/v1/sql"}' in figures
    assert "suresql_ready 1.0" in figures
    page = client.get("/docs", headers={"authorization": ""})
    assert page.status_code == 200
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    assert "https://" not in page.text


@pytest.mark.parametrize("stream", [False, True])
def test_when_the_client_leaves_the_engine_stops_and_its_slot_is_free(
    checkpoint: Path, tmp_path: Path, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = threading.Event(), threading.Event()
    generate = EmbeddedEngine.generate

    def watched(self: EmbeddedEngine, *given: Any, **more: Any) -> Any:
        begun.set()
        try:
            while True:  # for as long as anyone waits, step by step
                generate(self, *given, **more)
        finally:
            ended.set()

    async def scenario() -> None:
        app = create_app(Settings(checkpoint=checkpoint, home=tmp_path, threads=1), load_pipeline)
        async with app.router.lifespan_context(app):
            await app.state.service.loaded()
            monkeypatch.setattr(EmbeddedEngine, "generate", watched)
            gone = asyncio.Event()
            body = {"model": checkpoint.name, "prompt": "select", "max_tokens": 8, "stream": stream}
            asked = asyncio.create_task(post(app, "/v1/completions", body, gone))
            assert await asyncio.to_thread(begun.wait, 30)
            slots = app.state.service.slots
            assert slots.free == slots.slots - 1
            gone.set()
            assert await asked == [], "nothing may be sent to who has gone"
            assert slots.free == slots.slots
            assert await asyncio.to_thread(ended.wait, 30)

    asyncio.run(scenario())
