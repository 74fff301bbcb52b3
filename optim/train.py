"""Train a model on the corpus: `python -m optim.train --config FILE`, or `torchrun -m optim.train` on several
ranks.

The one file of `optim` that knows `model`, `corpus` and sqlconf's embedder; it puts the library's parts together.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console
from torch import nn

import model as model_room
import model.hf as hf
from corpus.errors import CorpusError
from model.errors import ModelError
from model.heap import keep_freed_memory
from model.tokenizer import BOS, EOS, PAD
from optim.checkpoint import Checkpoints, Snapshot, Stateful
from optim.config import RunConfig, read_config
from optim.dataset import Batcher, TokenDataset
from optim.ema import MovingAverage
from optim.errors import ConfigError, DataError, OptimError
from optim.evaluation import held_out, mean_losses
from optim.journal import Journal
from optim.loop import LoopSettings, Outcome, train_loop
from optim.muonclip import MuonClip
from optim.newton_schulz import agreed_dtype
from optim.parallel import barrier, rank, world_size
from optim.prepare import collect, digest, sample_texts, show_counts, tokenise
from optim.qkclip import ClippableAttention
from optim.schedule import wsd
from optim.split import parameter_table, split_parameters

HOURS = timedelta(hours=6)  # how long ranks wait for rank 0 to prepare data or save


def main(config_path: Path, resume: bool | None = None, settings: Sequence[str] = ()) -> int:
    """Run the training that a file describes and return the exit status; errors are messages, not tracebacks.

    `resume` True goes on from the last checkpoint, False starts afresh, None does either, but refuses to
    choose when there is a checkpoint. `settings` are `section.key=value` overrides.
    """
    errors = Console(stderr=True)
    command = shlex.join(
        ["python", "-m", "optim.train", "--config", str(config_path), *(f"--set={s}" for s in settings)]
    )
    try:
        config = read_config(config_path, settings)
        outcome = train(config, resume, command)
    except (OptimError, CorpusError, ModelError) as error:
        errors.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        if rank() == 0:
            text = _stopped_at_once(config, command)
            errors.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
        return 130
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    return 130 if outcome.interrupted else 0


def train(config: RunConfig, resume: bool | None = None, command: str = "the same, with") -> Outcome:
    """Prepare data if needed, train, export; see `main`. Raises OptimError, CorpusError or ModelError.

    `command` is what a person would type to start this run, for the message that says how to resume it.
    """
    device = _set_up(config)
    console = Console(quiet=rank() > 0, soft_wrap=True, markup=False, highlight=False)
    console.print(config.lines())
    settings = config.train
    shape = model_config(config)
    checkpoints = Checkpoints(config.output.run / "checkpoints")
    snapshot = _choose_start(config, checkpoints, resume)
    tokenizer, dataset = _prepare(config, shape, console, resuming=snapshot is not None)

    torch.manual_seed(settings.seed)
    model = _new_model(config, shape).to(device)
    attentions = [module for module in model.modules() if isinstance(module, ClippableAttention)]
    optimizer = _optimizer(config, model, attentions, console)
    scheduler = wsd(optimizer, settings.steps, settings.warmup, settings.decay_fraction)
    parts: dict[str, Stateful] = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    average = MovingAverage(model, settings.ema_decay) if settings.ema_decay else None
    if average:
        parts["average"] = average
    if snapshot:
        snapshot.restore(parts)
        console.print(f"resuming at step {snapshot.step} from {snapshot.path}")
    start = snapshot.step if snapshot else 0

    train_rows, held_rows = held_out(dataset, settings.eval_examples, settings.seed)
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if agreed_dtype(device) == torch.bfloat16 else "fp32"

    def after_step(model: nn.Module) -> None:
        model_room.update_router_bias(model, settings.router_bias_rate)
        if average:
            average.update()

    def evaluate(model: nn.Module) -> Mapping[str, float]:
        with average.in_place() if average else nullcontext():
            return mean_losses(model, dataset, held_rows, settings.batch_tokens, precision, attentions)

    def export(model: Any) -> None:
        if config.output.export:
            with average.in_place() if average else nullcontext():
                hf.export(model, tokenizer, config.output.export)
            console.print(f"exported to {config.output.export}")

    outcome = train_loop(
        model,
        optimizer,
        scheduler,
        Batcher(
            dataset,
            train_rows,
            settings.batch_tokens,
            settings.seed,
            settings.accumulate,
            rank(),
            world_size(),
        ),
        LoopSettings(
            settings.steps,
            settings.grad_clip,
            precision,
            settings.checkpoint_every,
            settings.eval_every,
        ),
        Journal(
            settings.steps,
            start,
            path=config.output.run / "log.jsonl",
            log_every=settings.log_every,
            console=console,
            silent=rank() > 0,
        ),
        start=start,
        checkpoints=checkpoints,
        parts=parts,
        config=config.as_dict(),
        after_step=after_step,
        evaluate=evaluate if len(held_rows) else None,
        after_save=export if config.output.export_checkpoints else None,
    )
    if outcome.interrupted:
        console.print(
            f"stopped after step {outcome.step} of {settings.steps}; resume with\n  {command} --resume"
        )
    elif rank() == 0:
        export(model)
    barrier()
    return outcome


def model_config(config: RunConfig) -> Any:
    """The preset with the file's overrides.

    `ConfigError` if there is no such preset, or `model.start` is of another shape; `ModelError` if there is
    no such field, or no checkpoint in `model.start`.
    """
    presets = model_room.PRESETS
    if config.model.preset not in presets:
        raise ConfigError(f"model.preset is {config.model.preset!r}; there are {', '.join(sorted(presets))}")
    fields = {**presets[config.model.preset].to_json(), **config.model.overrides}
    shape = model_room.ModelConfig.from_json(fields)
    if config.train.max_length > shape.max_position_embeddings:
        raise ConfigError(
            f"train.max_length is {config.train.max_length}, but the model sees "
            f"{shape.max_position_embeddings} positions; lower it or raise model.max_position_embeddings"
        )
    if config.model.start is not None:
        _refuse_other_shape(config.model.start, shape)
    return shape


def _refuse_other_shape(start: Path, shape: Any) -> None:
    there, asked = hf.read_config(start).to_json(), shape.to_json()
    differing = [
        f"  {key}: there {there.get(key)!r}, in [model] {asked.get(key)!r}"
        for key in sorted(there.keys() | asked.keys())
        if there.get(key) != asked.get(key)
    ]
    if differing:
        raise ConfigError(
            f"the checkpoint model.start = {start} has another shape than [model] says:\n"
            + "\n".join(differing)
            + "\ntake its preset and overrides, or another checkpoint"
        )


def _stopped_at_once(config: RunConfig, command: str) -> str:
    """What stands after a KeyboardInterrupt, and how to go on from it."""
    last = Checkpoints(config.output.run / "checkpoints").last_step()
    if last is None:
        return f"stopped at once, before the first checkpoint; start again with\n  {command}"
    if last >= config.train.steps:
        what = f"stopped at once; training is done, and the checkpoint of step {last} stands"
        return f"{what}; to export it:\n  {command} --resume"
    return f"stopped at once; the checkpoint of step {last} stands; resume with\n  {command} --resume"


def _set_up(config: RunConfig) -> torch.device:
    """Threads, device and, under torchrun, the process group."""
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    cuda = config.train.device == "cuda" or (config.train.device == "auto" and torch.cuda.is_available())
    if cuda and not torch.cuda.is_available():
        raise ConfigError("train.device is cuda, but PyTorch sees no GPU; set it to auto or cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    else:
        keep_freed_memory()
    if dist.is_torchelastic_launched() and not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo", timeout=HOURS)
    return device


def _choose_start(config: RunConfig, checkpoints: Checkpoints, resume: bool | None) -> Snapshot | None:
    """The checkpoint to go on from, checked against the configuration; None for a fresh start."""
    folder = checkpoints.folder
    if resume is False:
        if rank() == 0:
            checkpoints.clear()
        return None
    if not checkpoints.paths():
        if resume:
            raise ConfigError(
                f"there is no checkpoint in {folder} to resume from; leave --resume out to start"
            )
        return None
    if resume is None:
        raise ConfigError(
            f"{folder} holds {checkpoints.paths()[-1].name}: "
            "say --resume to go on from it, --fresh to discard it"
        )
    snapshot = checkpoints.load()
    if snapshot:
        free = config.free_on_resume(snapshot.config, snapshot.step)
        snapshot.refuse_other_config(config.as_dict(), free)
    return snapshot


def _optimizer(
    config: RunConfig, model: nn.Module, attentions: Sequence[ClippableAttention], console: Console
) -> MuonClip:
    groups = split_parameters(model, config.train.adam_lr)
    console.print(parameter_table(groups))
    return MuonClip(
        groups,
        config.train.lr,
        weight_decay=config.train.weight_decay,
        momentum=config.train.momentum,
        nesterov=config.train.nesterov,
        ns_steps=config.train.ns_steps,
        attentions=attentions,
        tau=config.train.tau,
    )


def _new_model(config: RunConfig, shape: Any) -> Any:
    """A model of this shape with new weights, or with those of the checkpoint that the run starts from."""
    if config.model.start is None:
        return model_room.Transformer(shape)
    model, _ = model_room.load(config.model.start)
    return model.train()


def _prepare(
    config: RunConfig, shape: Any, console: Console, resuming: bool = False
) -> tuple[Any, TokenDataset]:
    """The tokenizer and the tokenised data, made by rank 0 unless the run folder has them.

    The tokenizer is learned from the data, or that of `model.start`. What is in the folder was made from the
    same configuration, questions and code of `corpus`, and with the same tokenizer: its name says so.
    """
    from corpus.mixture import fingerprint

    made_of = {
        "data": config.as_dict()["data"],
        "corpus": fingerprint(dict(config.data)),
        "vocabulary": shape.vocab_size,
        "start": _tokenizer_digest(config.model.start),
        **config.train.model_dump(include={"seed", "max_length", "tokenizer_sample"}),
    }
    folder = config.output.run / f"data-{digest(made_of)}"
    if rank() == 0 and not folder.is_dir():
        if resuming:
            console.print(
                f"warning: {folder} is not there: it was removed, or the corpus or its files are no longer what "
                "the run began with. It is made now; if they changed, the run goes on with other data"
            )
        _make_data(config, shape, folder, console)
    barrier()
    if not folder.is_dir():
        raise DataError(f"rank 0 has not made {folder}; see its message")
    dataset = TokenDataset.read(folder)
    made = datetime.fromtimestamp(folder.stat().st_mtime).strftime("%Y-%m-%d %H:%M")
    console.print(
        f"{len(dataset):,} sequences, {len(dataset.tokens):,} tokens, made {made}, in {folder}; "
        "remove that folder to make them anew"
    )
    return model_room.Tokenizer.load(folder), dataset


def _tokenizer_digest(start: Path | None) -> str | None:
    if start is None:
        return None
    try:
        return hashlib.sha256((start / "tokenizer.json").read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(
            f"model.start = {start} has no tokenizer that can be read: {error}; "
            "give a folder that a training run exported"
        ) from error


def _make_data(config: RunConfig, shape: Any, folder: Path, console: Console) -> None:
    from corpus.mixture import CHAT_TEMPLATE, REFERENCES, SPECIAL_TOKENS, training_texts
    from corpus.nearness import Nearness
    from sqlconf.embedding import Embedder

    near = Nearness(Embedder().embed)
    pairs = collect(training_texts(dict(config.data), config.train.seed, near), console)
    if config.model.start:
        tokenizer = model_room.Tokenizer.load(config.model.start)
    else:
        console.print(f"training a tokenizer of {shape.vocab_size:,} tokens")
        sample = sample_texts(pairs, config.train.tokenizer_sample, config.train.seed)
        special = [token for token in SPECIAL_TOKENS if token not in (PAD, BOS, EOS)]  # the tokenizer's own
        tokenizer = model_room.Tokenizer.train(sample, shape.vocab_size, special, CHAT_TEMPLATE)
    builder = tokenise(
        pairs,
        tokenizer,
        vocabulary=shape.vocab_size,
        max_length=config.train.max_length,
        eos=shape.eos_token_id,
        console=console,
        learned_in_linked=frozenset(tokenizer.token_id(reference) for reference in REFERENCES),
    )
    show_counts(builder, config.train.max_length, console)
    builder.build().write(folder, with_files=tokenizer.save)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("optim.train", description="Train a model on the corpus.")
    parser.add_argument("--config", type=Path, required=True, help="TOML file of the run")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--resume", action="store_const", const=True, default=None, help="from the last checkpoint"
    )
    start.add_argument(
        "--fresh", dest="resume", action="store_const", const=False, help="discard checkpoints"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="section.key=value", help="override the file"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    options = _parse(None)
    sys.exit(main(options.config, options.resume, options.set))
