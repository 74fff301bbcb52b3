"""The ledger of calls outlives its process, bears a full disk, and is handed to administrators alone."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serving.app import create_app
from serving.assembly import load_pipeline
from serving.errors import StateError
from serving.gateway import calls as calls_module
from serving.gateway.caller import Limits, Scope
from serving.gateway.calls import Calls
from serving.gateway.keys import KeyStore
from serving.settings import Settings


def sketches(calls: Calls) -> dict[str, bytes]:
    return {side: one.to_bytes() for side, one in calls.sketches.items()}


def test_what_a_killed_process_noted_is_known_to_the_next(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from serving.gateway.calls import Calls\n"
        "calls = Calls(Path(sys.argv[1]))\n"
        "for i in range(50): calls.note('did', f'{i:016x}', i)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    found = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert found.returncode == -signal.SIGKILL
    after = Calls(tmp_path)
    assert after.counts["did"] == 50
    assert after.sketches["did"].decode() == {i: i for i in range(1, 50)}
    after.close()


def test_two_processes_in_one_folder_have_a_file_each_and_go_on_with_either(tmp_path: Path) -> None:
    one, other = Calls(tmp_path), Calls(tmp_path)
    one.note("did", "1" * 16, 10)
    other.note("did", "2" * 16, 20)
    whole = one.sketches["did"] + other.sketches["did"]
    one.close()
    other.close()
    again = [Calls(tmp_path), Calls(tmp_path)]
    assert (again[0].sketches["did"] + again[1].sketches["did"]).to_bytes() == whole.to_bytes()
    for calls in again:
        calls.close()


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    calls = Calls(tmp_path)
    calls.note("settled", "a" * 16, 5)
    calls.close()
    with (tmp_path / "0.jsonl").open("ab") as file:
        file.write(b'{"side":"settled","call":"bbbb')
    calls = Calls(tmp_path)
    calls.note("settled", "c" * 16, 7)
    calls.close()
    calls = Calls(tmp_path)
    assert calls.sketches["settled"].decode() == {int("a" * 16, 16): 5, int("c" * 16, 16): 7}
    calls.close()


def test_a_full_file_is_begun_anew_and_its_sums_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls_module, "MOST_BYTES", 100_000)
    calls = Calls(tmp_path)
    for i in range(2_000):
        calls.note("did" if i % 2 else "settled", f"{i:016x}", 1)
    known, counts = sketches(calls), dict(calls.counts)
    calls.close()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 250_000
    again = Calls(tmp_path)
    assert sketches(again) == known and again.counts == counts == {"did": 1_000, "settled": 1_000}
    assert [line["call"] for line in again.lines({f"{1_999:016x}"})] == [f"{1_999:016x}"]
    again.close()


def test_a_disk_that_is_full_is_borne(tmp_path: Path) -> None:
    calls = Calls(tmp_path)
    os.close(calls._handle)
    calls._handle = os.open("/dev/full", os.O_WRONLY)
    calls.note("did", "d" * 16, 3)
    assert calls.sketches["did"].decode() == {int("d" * 16, 16): 3}
    calls.close()


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="ledger of calls"):
        Calls(tmp_path / "file")


@pytest.fixture
def client_and_keys(settings: Settings) -> Any:
    settings = settings.model_copy(update={"keys": "required"})
    store = KeyStore(settings.home)
    keys = {
        "user": store.create("user", limits=Limits(token_budget=10**6))[0],
        "admin": store.create("admin", scopes=(Scope.ADMIN,))[0],
    }
    app = create_app(settings, load_pipeline)
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.portal is not None
        client.portal.call(app.state.service.loaded)
        yield client, {name: {"authorization": f"Bearer {key}"} for name, key in keys.items()}


@pytest.mark.parametrize("stream", [False, True])
def test_the_two_sides_of_a_gateway_with_its_own_engine_agree_to_the_token(
    client_and_keys: Any, stream: bool
) -> None:
    client, keys = client_and_keys
    body = {"model": "random-tiny", "prompt": "select count", "max_tokens": 5, "stream": stream}
    answers = [client.post("/v1/completions", json=body, headers=keys["user"]) for _ in range(3)]
    refused = client.post("/v1/completions", json={**body, "temperature": "hot"}, headers=keys["user"])
    assert [one.status_code for one in answers] == [200] * 3 and refused.status_code == 422
    state = client.get("/v1/ledger", headers=keys["admin"]).json()
    assert state["calls"] == {"settled": 4, "did": 3}
    assert state["sketches"]["settled"] == state["sketches"]["did"]
    lines = client.get("/v1/ledger/calls?side=did", headers=keys["admin"]).text.splitlines()
    ledger = client.app.state.service.ledger
    spent = sum(json.loads(line)["tokens"] for line in lines)
    assert spent > 0 and ledger.left(json.loads(lines[0])["key"]) == (spent, 0)


def test_the_ledger_is_an_administrators_alone(client_and_keys: Any) -> None:
    client, keys = client_and_keys
    for path in ("/v1/ledger", "/v1/ledger/calls"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=keys["user"]).status_code == 403
        assert client.get(path, headers=keys["admin"]).status_code == 200


def test_a_call_is_known_by_the_name_that_the_gateway_before_gave_it(client_and_keys: Any) -> None:
    client, keys = client_and_keys
    body = {"model": "random-tiny", "prompt": "select count", "max_tokens": 5}
    for name in ("00000000000000ff", "not a name"):
        client.post("/v1/completions", json=body, headers={**keys["user"], "x-suresql-call": name})
    lines = client.get("/v1/ledger/calls?side=did", headers=keys["admin"]).text.splitlines()
    named = [json.loads(line)["call"] for line in lines]
    assert named[0] == "00000000000000ff" and len(named[1]) == 16
    found = client.get(f"/v1/ledger/calls?call={named[1]}", headers=keys["admin"]).text.splitlines()
    assert {json.loads(line)["side"] for line in found} == {"settled", "did"}
