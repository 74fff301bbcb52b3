"""Two replicas of vLLM, one killed under load: what had not begun to stream is answered all the same."""

import json
import os
import signal
import subprocess
import threading
from collections import Counter
from pathlib import Path

import httpx
import pytest
from server import Server

from serving.engines.opening import SupervisedEngine
from serving.engines.vllm import environment
from serving.settings import Settings

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(not environment(Settings()).ready, reason="vLLM is not installed"),
]
BODY = {
    "model": "nano",
    "prompt": "select the suppliers ",
    "max_tokens": 48,
    "temperature": 1.0,
    "ignore_eos": True,
}


def test_no_request_fails_when_a_replica_is_killed_under_load(tmp_path: Path) -> None:
    server = Server(
        Settings(
            home=tmp_path, engine="vllm", engine_dtype="float32", engine_replicas=2, engine_timeout_s=400,
            engine_arguments="--max-num-seqs 8", threads=1,
        )
    )  # fmt: skip
    try:
        engine = server.app.state.service.pipeline.engine
        assert isinstance(engine, SupervisedEngine)
        replicas = server.app.state.service.proxy.replicas.all
        ended: Counter[str] = Counter()
        stop = threading.Event()

        def ask(number: int, stream: bool) -> None:
            with httpx.Client(base_url=server.url, timeout=400) as client:
                for turn in range(10_000):
                    if stop.is_set():
                        return
                    prompt = f"{number}-{turn} {BODY['prompt']}"  # no two begin alike: both replicas get some
                    found = client.post("/v1/completions", json={**BODY, "prompt": prompt, "stream": stream})
                    ended[_how(found, stream)] += 1

        def until(enough: object) -> None:
            while not enough():  # type: ignore[operator]
                assert clients[0].is_alive()
                threading.Event().wait(0.05)

        clients = [threading.Thread(target=ask, args=(i, i == 3)) for i in range(4)]
        for client in clients:
            client.start()
        until(lambda: all(one.answered >= 3 for one in replicas) and all(one.in_flight for one in replicas))
        victim = engine.processes[0]
        found = subprocess.run(["pgrep", "-P", str(victim.pid)], capture_output=True, text=True, check=True)
        os.killpg(int(found.stdout.split()[0]), signal.SIGKILL)
        until(lambda: victim.restarts >= 1)
        answered = replicas[0].answered
        until(lambda: replicas[0].healthy and replicas[0].answered >= answered + 3)
        stop.set()
        for client in clients:
            client.join(400)
        assert set(ended) <= {"answer", "stream", "stream that says that it was cut"}, ended
        assert ended["stream that says that it was cut"] <= 1
        assert ended["answer"] >= 12 and ended["stream"] >= 1
    finally:
        server.stop()


def _how(found: httpx.Response, stream: bool) -> str:
    if found.status_code != 200:
        return f"{found.status_code} {found.text[:200]}"
    if not stream:
        return "answer" if found.json()["usage"]["completion_tokens"] == 48 else found.text[:200]
    if found.text.endswith("data: [DONE]\n\n"):
        return "stream"
    last = json.loads(found.text.rstrip().rpartition("data: ")[2])
    return "stream that says that it was cut" if "error" in last else found.text[-200:]
