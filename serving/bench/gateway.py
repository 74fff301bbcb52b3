"""What the gateway costs: CPU of its process on each request, everything on, before an engine that does no work; and how much of
a real model's throughput is left behind it. Peers, where installed, in the same run before the same engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

from ..engines.vllm import free_port
from ..errors import EvaluationError
from ..gateway.caller import Limits
from ..gateway.keys import KeyStore
from ..settings import Settings
from .mock_engine import CHUNKS

PLAIN, STREAMS, ROUNDS, AT_ONCE = 600, 200, 3, 8
REAL_REQUESTS = 48
START_S = 240.0
PROMPT = "select the suppliers that are in Germany and shipped late in March, with their parts; " * 4
_SERVE = "from serving.cli import main; main()"
_LITELLM = """
model_list:
  - model_name: {model}
    litellm_params: {{model: text-completion-openai/{model}, api_base: {url}/v1, api_key: none}}
"""


def run(settings: Settings) -> dict[str, Any]:
    """CPU milliseconds are of the gateway's process, read from /proc, the median of alternating rounds. `*_over_ours_*` are a
    peer's cost over ours; SURESQL_PEERS names an environment that has litellm and vllm-router.
    """
    if not Path("/proc/self/stat").exists():
        raise EvaluationError(
            "The CPU of a process is read from /proc, which is not here.", "Run it on Linux."
        )
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = settings.checkpoint.name
        mock, _ = stack.enter_context(mock_engine(model))
        redis = stack.enter_context(_redis(home))
        ours = stack.enter_context(gateway(settings, home / "ours", mock, redis))
        places = {"ours": ours, **_peers(stack, home, mock, model)}
        costs: dict[str, dict[str, list[float]]] = {
            name: {"plain": [], "stream": [], "rate": []} for name in places
        }
        direct: list[float] = []
        for _ in range(ROUNDS):
            direct.append(asyncio.run(_load(mock, "", model, PLAIN, stream=False)))
            for name, (url, pid, key) in places.items():
                cost = costs[name]
                asyncio.run(_load(url, key, model, 20, stream=False))
                for kind, count in (("plain", PLAIN), ("stream", STREAMS)):
                    before = _cpu_s(pid)
                    rate = asyncio.run(_load(url, key, model, count, stream=kind == "stream"))
                    cost[kind].append((_cpu_s(pid) - before) * 1000 / count)
                    if kind == "plain":
                        cost["rate"].append(rate)
        figures: dict[str, Any] = {
            "cpu_ms_per_request": round(statistics.median(costs["ours"]["plain"]), 3),
            "cpu_ms_per_stream": round(statistics.median(costs["ours"]["stream"]), 3),
            "chunks_per_stream": CHUNKS,
            "requests_per_s_idle_engine": round(statistics.median(costs["ours"]["rate"])),
            "requests_per_s_direct_idle_engine": round(statistics.median(direct)),
            "everything_on": {
                "keys": True, "limits": "redis" if redis else "memory", "audit": True, "metrics": True,
                "access_log": True, "fair_queue": True,
            },
        }  # fmt: skip
        for name, cost in costs.items():
            if name == "ours":
                continue
            for kind in ("plain", "stream"):
                own = statistics.median(costs["ours"][kind])
                figures[f"{name}_cpu_ms_{kind}"] = round(statistics.median(cost[kind]), 3)
                figures[f"{name}_over_ours_{kind}"] = round(statistics.median(cost[kind]) / own, 2)
        for name in ("litellm", "vllm_router"):
            if name not in places:
                figures[f"{name}_over_ours_plain"] = None  # not installed
    with tempfile.TemporaryDirectory() as folder:
        figures.update(_before_a_real_model(settings, Path(folder)))
    return figures


def _before_a_real_model(settings: Settings, home: Path) -> dict[str, Any]:
    """Throughput of the checkpoint in a server of its own, and of the same behind the gateway, turn by turn."""
    with contextlib.ExitStack() as stack:
        engine, _, engine_key = stack.enter_context(gateway(settings, home / "engine", None, None))
        url, _, key = stack.enter_context(
            gateway(settings, home / "front", engine, None, engine_key=engine_key)
        )
        model = settings.checkpoint.name
        ratios = []
        for _ in range(2 * ROUNDS - 1):
            alone = asyncio.run(_load(engine, engine_key, model, REAL_REQUESTS, stream=False, tokens=48))
            behind = asyncio.run(_load(url, key, model, REAL_REQUESTS, stream=False, tokens=48))
            ratios.append(behind / alone)
    return {
        "throughput_ratio_to_direct": round(statistics.median(ratios), 3),
        "throughput_ratio_rounds": [round(one, 3) for one in ratios],
        "throughput_engine": "embedded engine in a server of its own",
    }


async def _load(url: str, key: str, model: str, count: int, *, stream: bool, tokens: int = 32) -> float:
    """Requests a second. Raises EvaluationError if any fails."""
    body = {"model": model, "prompt": PROMPT, "max_tokens": tokens, "temperature": 0, "stream": stream}
    data = json.dumps(body).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {key or 'none'}"}
    left = iter(range(count))

    async def worker(session: aiohttp.ClientSession) -> None:
        for _ in left:
            async with session.post(url + "/v1/completions", data=data, headers=headers) as response:
                content = await response.read()
                if response.status != 200:
                    raise EvaluationError(f"{url} answered {response.status}: {content[:300]!r}")

    async with aiohttp.ClientSession() as session:
        started = time.perf_counter()
        await asyncio.gather(*(worker(session) for _ in range(AT_ONCE)))
        return count / (time.perf_counter() - started)


@contextlib.contextmanager
def mock_engine(model: str, *more: str) -> Iterator[tuple[str, int]]:
    """The engine that does no work: its address and its process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.bench.mock_engine", model, *more], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}", process.pid
    finally:
        _end(process)


@contextlib.contextmanager
def _redis(home: Path) -> Iterator[str | None]:
    if shutil.which("redis-server") is None:
        yield None
        return
    port = free_port()
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(home)],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        _end(process)


@contextlib.contextmanager
def gateway(
    settings: Settings,
    home: Path,
    engine: str | None,
    redis: str | None,
    engine_key: str = "",
    **variables: str,
) -> Iterator[tuple[str, int, str]]:
    """A `suresql serve` with everything on: its address, its process and a key."""
    limits = Limits(10**8, 10**9, 10**12)
    key, _ = KeyStore(home).create("bench", limits=limits)
    port = free_port()
    environment = {
        **os.environ, "SURESQL_HOME": str(home), "SURESQL_KEYS": "required", "SURESQL_ACCESS_LOG": "true",
        "SURESQL_CHECKPOINT": str(settings.checkpoint), "SURESQL_PORT": str(port), "SURESQL_QUEUE": "1000",
        "SURESQL_ENGINE": "embedded", "SURESQL_ENGINE_URLS": engine or "",
    }  # fmt: skip
    environment |= variables
    if redis:
        environment["SURESQL_REDIS_URL"] = redis
    if engine_key:
        environment["SURESQL_ENGINE_API_KEY"] = engine_key
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, "serve"], env=environment, stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url + "/readyz", process, home / "log")
        yield url, process.pid, key
    finally:
        _end(process)


def _peers(stack: contextlib.ExitStack, home: Path, mock: str, model: str) -> dict[str, tuple[str, int, str]]:
    folder = os.environ.get("SURESQL_PEERS")
    found: dict[str, tuple[str, int, str]] = {}
    if not folder:
        return found
    binaries = Path(folder) / "bin"
    (home / "litellm.yaml").write_text(_LITELLM.format(model=model, url=mock))
    commands = {
        "litellm": ["litellm", "--config", str(home / "litellm.yaml"), "--host", "127.0.0.1", "--port"],
        "vllm_router": ["vllm-router", "--worker-urls", mock, "--host", "127.0.0.1", "--port"],
    }
    for name, (program, *more) in commands.items():
        if not (binaries / program).exists():
            continue
        port = free_port()
        command = [str(binaries / program), *more, str(port)]
        if name == "vllm_router":
            command += ["--prometheus-port", str(free_port())]
        log_file = home / f"{name}.log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        stack.callback(_end, process)
        with contextlib.suppress(EvaluationError):  # a peer that does not start is reported as not there
            _wait(f"http://127.0.0.1:{port}/v1/models", process, log_file)
            found[name] = (f"http://127.0.0.1:{port}", process.pid, "")
    return found


def _wait(url: str, process: subprocess.Popen[Any], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError as error:
            if error.code in (401, 403, 404):
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise EvaluationError(f"{url} does not answer: {log.read_text(errors='replace')[-600:]}")


def _cpu_s(pid: int) -> float:
    """User and system time of a process and of those that it started."""
    ticks = 0
    for one in _family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> list[int]:
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                found += _family(int(child))
    return found


def _end(process: subprocess.Popen[Any]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
