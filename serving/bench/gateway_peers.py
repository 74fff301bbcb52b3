"""The gateways that ours is measured beside, from an environment of their own: LiteLLM's proxy and vLLM's router."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from ..engines.vllm import free_port
from ..errors import EvaluationError
from .places import Place
from .servers import Server, started

NAMES = ("litellm", "vllm_router")
_LITELLM = """
model_list:
  - model_name: {model}
    litellm_params: {{model: text-completion-openai/{model}, api_base: {url}/v1, api_key: none}}
"""


def start_peers(
    stack: contextlib.ExitStack, home: Path, engine: str, model: str
) -> tuple[dict[str, Place], dict[str, str]]:
    """Those of SURESQL_PEERS, an environment's folder, before the engine until the stack is closed; and of the others why not."""
    folder = os.environ.get("SURESQL_PEERS")
    if not folder:
        return {}, dict.fromkeys(NAMES, "SURESQL_PEERS names no environment")
    found: dict[str, Place] = {}
    missing: dict[str, str] = {}
    master = "sk-" + secrets.token_hex(16)  # without one, LiteLLM does not start
    (home / "litellm.yaml").write_text(_LITELLM.format(model=model, url=engine))
    host = ["--host", "127.0.0.1", "--port"]
    commands = {
        "litellm": ["litellm", "--config", str(home / "litellm.yaml"), "--telemetry", "False", *host],
        "vllm_router": ["vllm-router", "--worker-urls", engine, "--prometheus-port", str(free_port()), *host],
    }
    alive = {"litellm": "/health/liveliness", "vllm_router": "/health"}
    for name, (program, *more) in commands.items():
        binary = Path(folder) / "bin" / program
        if not binary.exists():
            missing[name] = f"not installed in {Path(folder).name}"
            continue
        port = free_port()
        server = Server(
            name, [str(binary), *more, str(port)], port, home / f"{name}.log",
            {"LITELLM_MASTER_KEY": master, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": ""},
            ready=alive[name], cwd=home,
        )  # fmt: skip
        try:
            stack.enter_context(started(server))
        except EvaluationError as error:
            missing[name] = f"did not start: {error.message[-300:]}"
            continue
        found[name] = Place(server.url, server.pid, master if name == "litellm" else "")
    return found, missing


def versions() -> dict[str, str]:
    """Of the peers that are installed."""
    folder = os.environ.get("SURESQL_PEERS")
    found = {}
    for name in NAMES if folder else ():
        for info in Path(str(folder)).glob(f"lib/python*/site-packages/{name}-*.dist-info"):
            found[name] = info.name.removesuffix(".dist-info").rpartition("-")[2]
    return found
