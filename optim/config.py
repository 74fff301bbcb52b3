"""A training run's configuration: a TOML file, validated once, at the edge."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from optim.errors import ConfigError
from optim.newton_schulz import STEPS
from optim.schedule import decay_start

FREE_ON_RESUME = frozenset(
    {
        "output.run",
        "output.export",
        "output.tensorboard",
        "parallel.shard",
        "parallel.experts",
        "train.accumulate",
        "train.checkpoint_activations",
        "train.compile",
        "train.threads",
        "train.checkpoint_every",
        "train.eval_every",
        "train.log_every",
    }
)
"""Keys that do not change what is learned, so that a resumed run may change them."""


class Section(BaseModel):
    """A table of the file: unknown keys are refused, values stay as they were read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSection(BaseModel):
    """Which model: a preset of `model.ModelConfig`, any of its fields to override, and where weights come from.

    With `start` the preset and the overrides must say the shape of the checkpoint that is there.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    preset: str = "nano"
    start: Path | None = Field(
        default=None, description="exported checkpoint to begin from: weights and tokenizer"
    )

    @property
    def overrides(self) -> dict[str, Any]:
        """The fields of `model.ModelConfig` that the file sets."""
        return dict(self.model_extra or {})


class TrainSection(Section):
    """How to train. Intervals are in steps, 0 for never."""

    steps: int = Field(gt=0)
    batch_tokens: int = Field(16_384, gt=0, description="tokens a step, padding included, over all ranks")
    accumulate: int = Field(1, gt=0, description="micro-batches a rank cuts its batch into, to save memory")
    max_length: int = Field(1024, gt=1, description="longer examples are dropped, and counted")
    lr: float = Field(2e-3, gt=0, description="peak learning rate, of Muon and AdamW alike")
    adam_lr: float | None = Field(None, gt=0, description="a learning rate of AdamW's own")
    weight_decay: float = Field(0.1, ge=0)
    momentum: float = Field(0.95, ge=0, lt=1)
    nesterov: bool = False
    ns_steps: int = Field(STEPS, gt=0)
    warmup: int = Field(100, ge=0)
    decay_fraction: float = Field(0.2, ge=0, le=1)
    grad_clip: float = Field(1.0, ge=0, description="0: no limit")
    tau: float = Field(100.0, gt=0, description="QK-clip's limit on attention logits")
    router_bias_rate: float = Field(1e-3, ge=0)
    ema_decay: float | None = Field(None, gt=0, lt=1, description="export a moving average of the weights")
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    ns_dtype: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="what Newton-Schulz computes in; auto measures what is fast, and then keeps it"
    )
    checkpoint_activations: bool = Field(
        False, description="compute a layer's activations again in the backward pass, to save memory"
    )
    compile: bool = Field(False, description="torch.compile each layer")
    threads: int = Field(0, ge=0, description="CPU threads of a rank; 0: what PyTorch chooses")
    tokenizer_sample: int = Field(40_000, gt=0, description="examples that the tokenizer is trained on")
    checkpoint_every: int = Field(500, ge=0)
    eval_every: int = Field(500, ge=0)
    eval_examples: int = Field(256, ge=0, description="examples held out of training to measure the loss on")
    log_every: int = Field(20, gt=0)


class ParallelSection(Section):
    """How the model lies on the processes that torchrun starts; one process needs none of it."""

    shard: int = Field(0, ge=0, description="ranks over which a dense weight is split (FSDP2); 0: all")
    experts: int = Field(1, ge=1, description="ranks among which a layer's experts are divided")


class OutputSection(Section):
    """Where the run's data, checkpoints and log go, and the finished model."""

    run: Path
    export: Path | None = None
    export_checkpoints: bool = Field(False, description="export at every checkpoint too")
    tensorboard: bool = Field(False, description="write events for TensorBoard too, to run/tensorboard")


class RunConfig(Section):
    """The whole file. `data` goes to `corpus.mixture.training_texts` as it is."""

    model: ModelSection = ModelSection()
    data: dict[str, Any] = {}
    train: TrainSection
    parallel: ParallelSection = ParallelSection(shard=0, experts=1)
    output: OutputSection

    def as_dict(self) -> dict[str, Any]:
        """As JSON would hold it: what checkpoints keep and compare."""
        return self.model_dump(mode="json")

    def lines(self) -> str:
        """For people: one `section.key = value` a line."""
        return "\n".join(
            f"{section}.{key} = {json.dumps(value, ensure_ascii=False)}"
            for section, table in self.as_dict().items()
            for key, value in table.items()
        )

    def free_on_resume(self, old: Mapping[str, Any], step: int) -> frozenset[str]:
        """Keys in which this configuration may differ from that of a checkpoint at `step`.

        The run's length is among them while neither the old nor the new schedule has begun its decay: so far
        the two runs are the same.
        """
        starts = [
            decay_start(table["steps"], table["decay_fraction"])
            for table in (old["train"], self.as_dict()["train"])
        ]
        if step <= min(starts):
            return FREE_ON_RESUME | {"train.steps", "train.decay_fraction"}
        return FREE_ON_RESUME


def read_config(path: Path, settings: Sequence[str] = ()) -> RunConfig:
    """Read a TOML file; `settings` are `section.key=value` strings that override it, values as in TOML."""
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the configuration {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the configuration {path} is not TOML, which is UTF-8: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the configuration {path} is not TOML: {error}") from error
    for setting in settings:
        _override(content, setting)
    return parse_config(content, str(path))


def parse_config(content: Mapping[str, Any], source: str) -> RunConfig:
    """Validate a configuration's content; `source` names it in errors."""
    try:
        return RunConfig.model_validate(content)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, e['loc']))}: {e['msg']}, found {e['input']!r}{_meant(e)}"
            for e in error.errors()
        ]
        raise ConfigError(f"the configuration {source} is wrong:\n" + "\n".join(lines)) from error


def closest(name: str, known: Iterable[str]) -> str:
    """ "; did you mean ...?" for a misspelt name, or nothing."""
    found = get_close_matches(name, sorted(known), 1)
    return f"; did you mean {found[0]}?" if found else ""


def _meant(error: ErrorDetails) -> str:
    """For a key that there is not, the key of its section that looks most like it."""
    if error["type"] != "extra_forbidden":
        return ""
    *sections, name = map(str, error["loc"])
    table: Any = RunConfig
    for section in sections:
        table = table.model_fields[section].annotation
    return closest(name, table.model_fields)


def _override(content: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    *sections, name = key.strip().split(".")
    if not equals or not sections or not name:
        raise ConfigError(f"--set {setting!r} is not section.key=value, such as train.steps=2000")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a string
    table = content
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {setting!r}: {section} is a value, not a section")
    table[name] = value
