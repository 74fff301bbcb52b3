"""A client that leaves in the middle of a completion: the engine stops, then its slot is free, and the account is settled."""

import json
import socket
import threading
from pathlib import Path

import pytest
from server import Server

from serving.bench import restart
from serving.gateway.caller import Limits
from serving.gateway.keys import KeyStore
from serving.settings import Settings


@pytest.mark.parametrize("stream", [False, True])
def test_the_slot_is_free_when_the_engine_is_and_no_sooner(
    checkpoint: Path, tmp_path: Path, stream: bool
) -> None:
    key, kept = KeyStore(tmp_path).create("client", limits=Limits(token_budget=10**6))
    server = Server(Settings(checkpoint=checkpoint, home=tmp_path, threads=1, keys="required"))
    try:
        service = server.app.state.service
        body = {"model": "random-tiny", "prompt": "select", "max_tokens": 1_900, "temperature": 9.0, "n": 16}
        data = json.dumps({**body, "stream": stream}).encode()
        host, port = server.url.removeprefix("http://").split(":")
        client = socket.create_connection((host, int(port)))
        client.sendall(
            f"POST /v1/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n"
            f"content-length: {len(data)}\r\n\r\n".encode()
            + data
        )
        lock = service.pipeline.engine._lock
        while not lock.locked():
            threading.Event().wait(0.001)
        assert service.slots.free == service.slots.slots - 1
        client.close()
        while service.slots.free < service.slots.slots:
            threading.Event().wait(0.001)
        assert not lock.locked()
        while service.ledger.left(kept.prefix)[1]:
            threading.Event().wait(0.001)
        (line,) = service.calls.lines()
        assert line["side"] == "settled" and line["why"] == "its end was not told"
        assert service.ledger.left(kept.prefix)[0] == line["tokens"] > 0
    finally:
        server.stop()
    audited = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(one["status"], one["tokens"]) for one in audited] == [(499, line["tokens"])]


@pytest.mark.slow
def test_a_rolling_restart_fails_no_request(tmp_path: Path) -> None:
    found = restart.run(Settings(home=tmp_path))
    assert found["failed"] == found["past_deadline"] == 0, found["examples"]
    assert found["requests"] > 20
    for one in found["restarts"]:
        assert one["not_ready_after_s"] is not None, one
        assert one["closed_after_s"] is None or one["not_ready_after_s"] < one["closed_after_s"], one
        assert one["answers_meanwhile"] > 0, one
