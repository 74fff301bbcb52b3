"""API keys: what is kept is not the key, rights hold, and what ended is good no longer, in every process."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from serving.app import create_app
from serving.databases import Databases
from serving.errors import InvalidRequest, Unauthorized
from serving.gateway import keys as keys_module
from serving.gateway.caller import Limits, Scope
from serving.gateway.keys import KeyStore
from serving.pipeline import AskResult
from serving.settings import Settings

ANSWER = AskResult("SELECT 1 AS one", 0.9, False, [], "m", 7, 3, 1.0)


class Answering:
    """A pipeline that knows one answer."""

    engine = None

    def ask(self, questions: list[Any]) -> list[AskResult]:
        return [ANSWER] * len(questions)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyStore:
    monkeypatch.setattr(keys_module, "LOOK_S", -1.0)  # look each time
    return KeyStore(tmp_path / "home")


@pytest.fixture
def client(store: KeyStore, shop: Path, tmp_path: Path) -> Iterator[TestClient]:
    Databases(tmp_path / "home").add("shop", str(shop))
    settings = Settings(home=tmp_path / "home", keys="required")
    app = create_app(settings, lambda _: Answering())  # type: ignore[arg-type,return-value]
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.portal is not None
        client.portal.call(app.state.service.loaded)
        yield client


def with_key(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def ask(client: TestClient, text: str | None, **more: object) -> Any:
    body = {"question": "how many?", "database": "shop", **more}
    return client.post("/v1/sql", json=body, headers=with_key(text) if text else {})


def test_the_key_itself_is_nowhere_in_the_home(store: KeyStore, tmp_path: Path) -> None:
    text, key = store.create("one")
    for file in (tmp_path / "home").iterdir():
        content = file.read_bytes()
        assert text.encode() not in content
        assert text.rsplit("-", 1)[1].encode() not in content
        assert file.stat().st_mode & 0o077 == 0
    assert store.check(text).key == key.prefix


def test_no_part_of_a_key_may_differ(store: KeyStore) -> None:
    text, _ = store.create("one")
    for place in range(len(text)):
        other = text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :]
        with pytest.raises(Unauthorized):
            store.check(other)
    for bad in ("", None, "sure", "sure-", "sure--", text[:-1], text + "x", text.upper(), "é" * 40):
        with pytest.raises(Unauthorized):
            store.check(bad)


def test_two_secrets_know_nothing_of_each_others_keys(tmp_path: Path) -> None:
    text, _ = KeyStore(tmp_path, b"a" * 32).create("one")
    with pytest.raises(Unauthorized):
        KeyStore(tmp_path, b"b" * 32).check(text)


def test_what_one_process_revokes_or_rotates_another_knows(store: KeyStore, tmp_path: Path) -> None:
    other = KeyStore(tmp_path / "home")
    text, key = store.create("one", scopes=[Scope.ASK], databases=["shop"], limits=Limits(5), days=1)
    assert other.check(text).limits == Limits(5)
    made, new = store.rotate(key.prefix, grace_s=3_600)
    assert other.check(text).key == key.prefix
    assert other.check(made).databases == frozenset({"shop"})
    assert new.expires == pytest.approx(key.expires, abs=5)
    store.rotate(new.prefix, grace_s=0)
    with pytest.raises(Unauthorized, match="revoked"):
        other.check(made)
    store.revoke(key.prefix)
    with pytest.raises(Unauthorized, match="revoked"):
        other.check(text)
    with pytest.raises(InvalidRequest):
        store.rotate(key.prefix)


def test_a_key_expires(store: KeyStore) -> None:
    text, _ = store.create("one", days=1e-9)
    with pytest.raises(Unauthorized, match="expired"):
        store.check(text)


def test_many_stores_made_at_once_share_one_secret(tmp_path: Path) -> None:
    begin = threading.Barrier(8)

    def make(_: int) -> str:
        begin.wait(10)
        return KeyStore(tmp_path).create("one")[0]

    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(make, range(8)))
    assert [KeyStore(tmp_path).check(text).tenant for text in texts] == ["one"] * 8


def test_without_a_key_nothing_of_v1_answers(client: TestClient) -> None:
    for method, path in (
        ("POST", "/v1/sql"), ("POST", "/v1/execute"), ("GET", "/v1/databases"), ("GET", "/v1/databases/shop"),
        ("POST", "/v1/completions"), ("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/v1/other"),
    ):  # fmt: skip
        response = client.request(method, path, json={} if method == "POST" else None)
        assert response.status_code == 401, path
        assert response.json()["error"]["type"] == "unauthorized"
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


def test_a_key_is_good_for_its_scopes_and_databases_alone(client: TestClient, store: KeyStore) -> None:
    asks, _ = store.create("asks", databases=["shop"])
    runs, _ = store.create("runs", scopes=[Scope.ASK, Scope.EXECUTE])
    assert ask(client, asks).status_code == 200
    assert ask(client, asks, execute=True).status_code == 403
    assert ask(client, asks, database="demo").status_code == 404
    assert client.get("/v1/databases/demo", headers=with_key(asks)).status_code == 404
    assert [one["name"] for one in client.get("/v1/databases", headers=with_key(asks)).json()] == ["shop"]
    statement = {"sql": "SELECT 1", "database": "shop"}
    assert client.post("/v1/execute", json=statement, headers=with_key(asks)).status_code == 403
    assert client.post("/v1/execute", json=statement, headers=with_key(runs)).status_code == 200
    assert ask(client, runs, execute=True).json()["rows"] == [[1]]
    only_runs, _ = store.create("only-runs", scopes=[Scope.EXECUTE])
    assert ask(client, only_runs).status_code == 403


def test_a_key_tells_nothing_of_databases_that_it_may_not_read(client: TestClient, store: KeyStore) -> None:
    text, _ = store.create("asks", databases=["shop"])
    hidden, missing = ask(client, text, database="demo"), ask(client, text, database="nope")
    assert hidden.json() == json.loads(missing.text.replace("nope", "demo"))
    assert "demo" not in missing.text


def test_rates_and_budgets_are_refused_with_429_and_a_time_to_come_back(
    client: TestClient, store: KeyStore
) -> None:
    text, _ = store.create("slow", limits=Limits(requests_per_minute=2))
    assert [ask(client, text).status_code for _ in range(3)] == [200, 200, 429]
    refused = ask(client, text)
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "2 requests a minute" in refused.json()["error"]["message"]
    text, _ = store.create("poor", limits=Limits(token_budget=1_025))
    codes = [ask(client, text).status_code for _ in range(4)]  # each holds 1,009 and takes 10
    assert codes == [200, 200, 429, 429]


def test_each_question_and_statement_leaves_a_line_without_the_key(
    client: TestClient, store: KeyStore, tmp_path: Path
) -> None:
    text, key = store.create("both", scopes=[Scope.ASK, Scope.EXECUTE])
    ask(client, text)
    client.post(
        "/v1/execute", json={"sql": "DROP TABLE suppliers", "database": "shop"}, headers=with_key(text)
    )
    content = (tmp_path / "home" / "audit.jsonl").read_text()
    lines = [json.loads(line) for line in content.splitlines()]
    assert [(line["route"], line["status"]) for line in lines] == [("/v1/sql", 200), ("/v1/execute", 400)]
    assert lines[0]["sql"] == ANSWER.sql
    assert lines[1]["sql"] == "DROP TABLE suppliers"
    assert {line["key"] for line in lines} == {key.prefix}
    assert text not in content
