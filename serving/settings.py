"""What can be set, from the environment (SURESQL_...) or by an option; read once, at the edge."""

from __future__ import annotations

import os
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .errors import SettingsError

WEIGHTS = Path(__file__).resolve().parent.parent / "model" / "weights"


def default_home() -> Path:
    """Where a program keeps its state on this platform."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "suresql"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "suresql"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "suresql"


class Settings(BaseSettings):
    """Every setting with its default and its bounds."""

    model_config = SettingsConfigDict(env_prefix="SURESQL_", frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65_535)
    checkpoint: Path = WEIGHTS / "nano"
    fusion: Path | None = Field(
        None, description="the calibration; the checkpoint's own fusion.json if unset"
    )
    profile: Literal["fast", "default", "thorough"] = Field(
        "default", description="how much is measured for a confidence: fast, default or thorough"
    )
    signal_limit_s: float = Field(
        5.0, gt=0, le=600, description="a signal that takes longer for an answer is missing from it"
    )
    data: Path | None = Field(None, description="folder of the data sets, for benchmarks that need them")
    home: Path = Field(default_factory=default_home, description="registered databases and the demo")
    engine: Literal["embedded", "vllm"] = Field(
        "embedded", description="who runs the model: this process, or vLLM in one of its own"
    )
    engine_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="servers of OpenAI's protocol that run already, divided by commas"
    )
    engine_model: str | None = Field(
        None, description="the model to ask them for; the first they list if unset"
    )
    engine_api_key: SecretStr | None = Field(None, description="sent to them")
    engine_format: Literal["auto", "references", "plain"] = Field(
        "auto",
        description="what their model reads: our numbered references, or a schema in plain SQL as any model does;"
        " auto: references where it goes by the checkpoint's name",
    )
    engine_tools: Literal["engine", "kimi"] = Field(
        "engine",
        description="who reads tool calls from what their model writes: they themselves (vLLM with a --tool-call-parser),"
        " or the gateway, in Kimi K2's format",
    )
    engine_grammar: bool = Field(
        False,
        description="what a model that is not ours writes is bound to a SELECT over the schema, where its server knows vLLM's"
        " structured outputs; it loses WITH and more, and can say nothing beside it",
    )
    engine_replicas: int = Field(1, ge=1, le=64, description="vLLM processes to start")
    engine_dtype: Literal["float32", "bfloat16", "float16"] | None = Field(
        None, description="of vLLM; float32 on a CPU and bfloat16 on a GPU if unset"
    )
    engine_cache_gb: int = Field(1, ge=1, le=4_096, description="GiB for vLLM's key-value cache on a CPU")
    engine_arguments: str = Field("", description="further arguments for vLLM's command line")
    engine_timeout_s: float = Field(120.0, gt=0, le=3_600, description="the longest an engine may take")
    request_timeout_s: float = Field(
        180.0,
        gt=0,
        le=7_200,
        description="the longest a request may take, its wait included; then it gets a 504",
    )
    vllm_environment: Path | None = Field(
        None, description="where vLLM is installed; <home>/engines/vllm if unset"
    )
    vllm_mla: bool | None = Field(
        None, description="vLLM's latent attention; on a GPU where the shape admits it if unset"
    )
    keys: Literal["auto", "required", "off"] = Field(
        "auto", description="whether requests need an API key; auto: unless bound to the loopback"
    )
    key_secret: SecretStr | None = Field(
        None, description="of the keys' HMAC, where several machines share keys; made in <home> if unset"
    )
    redis_url: str | None = Field(None, description="where several processes keep limits; in memory if unset")
    engine_slots: int = Field(64, ge=1, le=65_536, description="completions at one time, for each engine")
    access_log: bool = Field(False, description="a line of JSON on standard error for every request")
    traces_url: str | None = Field(
        default_factory=lambda: os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None,
        description="an OpenTelemetry collector's address (OTLP over HTTP), such as http://127.0.0.1:4318;"
        " OTEL_EXPORTER_OTLP_ENDPOINT if unset",
    )
    trace_texts: bool = Field(False, description="put questions and SQL, values included, into traces")
    threads: int | None = Field(
        None, ge=1, le=512, description="of the language model; torch's choice if unset"
    )
    candidates: int = Field(4, ge=1, le=16, description="SQL statements considered for a question")
    run_candidates: bool = Field(
        True, description="run them, read-only and briefly, to see which agree; off, none is run unasked"
    )
    grammar: bool = Field(True, description="candidates are statements of the database by construction")
    max_tokens: int = Field(160, ge=8, le=2_048, description="of a generated statement")
    abstain_below: float = Field(
        0.5, ge=0, le=1, description="confidence under which the answer is to abstain"
    )
    precision: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of answers to be right; if set, abstain where the calibration does not promise it",
    )
    predictions: str | None = Field(
        None, description=f"judged predictions for bench promise, files divided by {os.pathsep}"
    )
    secret_key: SecretStr | None = Field(
        None, description="seals the passwords of registered databases; one is made in `home` if unset"
    )
    bench_questions: int = Field(300, ge=20, le=10_000, description="of Spider's, for bench confidence")
    bench_minutes: float = Field(10.0, gt=0, le=1_440, description="how long bench soak goes on")
    peers_python: Path | None = Field(
        None, description="a Python with uqlm and lm-polygraph, for bench confidence"
    )
    sql_timeout_s: float = Field(5.0, gt=0, le=600)
    max_rows: int = Field(1_000, ge=1, le=100_000)
    max_bytes: int = Field(4 * 2**20, ge=1_024, le=2**30, description="of rows in an answer")
    queue: int = Field(32, ge=1, le=10_000, description="requests that wait or run; more get 503")

    @field_validator("traces_url")
    @classmethod
    def _collector(cls, value: str | None) -> str | None:
        if value is not None and (
            urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname
        ):
            raise ValueError("a collector's address is such as http://127.0.0.1:4318")
        return value

    @field_validator("engine_urls", mode="before")
    @classmethod
    def _addresses(cls, value: object) -> object:
        urls = (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )
        for url in urls if isinstance(urls, (list, tuple)) else ():
            parts = urlsplit(str(url))
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("an address is such as http://127.0.0.1:8001")
        return urls

    @property
    def needs_keys(self) -> bool:
        """Whether requests need an API key."""
        return self.keys == "required" or (self.keys == "auto" and not self.on_loopback)

    @property
    def on_loopback(self) -> bool:
        """Whether nobody but this machine can reach the address listened on."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def embedded(self) -> bool:
        """Whether the model runs in this process."""
        return self.engine == "embedded" and not self.engine_urls

    @property
    def secret(self) -> str | None:
        """The key that seals addresses, if one is set."""
        return None if self.secret_key is None else self.secret_key.get_secret_value()

    @property
    def default_fusion_file(self) -> Path:
        """The calibration of the default profile, beside which the others' stand."""
        return self.fusion or self.checkpoint / "fusion.json"

    @property
    def fusion_file(self) -> Path:
        """The calibration that answers are judged by: the one named, else the checkpoint's for the profile."""
        return self.fusion or profile_file(self.default_fusion_file, self.profile)


def profile_file(default: Path, profile: str) -> Path:
    """Where a profile's calibration stands, beside the default's."""
    return default if profile == "default" else default.with_name(f"{default.stem}-{profile}{default.suffix}")


def load_settings(**given: Any) -> Settings:
    """The settings, `given` before the environment; None stands for not given. Raises SettingsError."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"The setting {name} cannot be {first.get('input')!r}: {first['msg']}.",
            f"Set SURESQL_{name.upper()} or the option of that name.",
        ) from error
