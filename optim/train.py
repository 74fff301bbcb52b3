"""Train a model on the corpus: `python -m optim.train --config FILE`, or `torchrun -m optim.train` on several
ranks.

Beside `optim.assembly` and `optim.run_data`, the file of `optim` that knows `model` and `corpus`; it puts the library's
parts together.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console
from torch import Tensor, nn

import model as model_room
import model.hf as hf
from corpus.errors import CorpusError
from model.errors import ModelError
from model.heap import keep_freed_memory
from model.moe import Router
from model.speed import training_flops
from optim.assembly import Precision, attentions_of, make_model, make_optimizer, model_config, whole_model
from optim.batches import Batcher
from optim.checkpoint import Checkpoints
from optim.config import RunConfig, parse_config, read_config
from optim.ema import MovingAverage
from optim.errors import ConfigError, OptimError
from optim.evaluation import held_out, mean_losses
from optim.expert_load import expert_load
from optim.journal import Journal
from optim.launch import lost_ranks_are_said, set_up
from optim.layout import Layout
from optim.loop import LoopSettings, Outcome, train_loop
from optim.parallel import barrier, rank, world_size
from optim.run_data import prepare
from optim.schedule import wsd
from optim.snapshot import Snapshot, Stateful
from optim.throughput import matmul_rate


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
        with lost_ranks_are_said():
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
    settings = config.train
    device = set_up(settings.device, settings.threads)
    if device.type == "cpu":
        keep_freed_memory()
    console = Console(quiet=rank() > 0, soft_wrap=True, markup=False, highlight=False)
    console.print(config.lines())
    shape = model_config(config)
    Layout(config.parallel.shard, config.parallel.experts).on(world_size())
    checkpoints = Checkpoints(config.output.run / "checkpoints")
    snapshot = _choose_start(config, checkpoints, resume)
    tokenizer, dataset = prepare(config, shape, console, resuming=snapshot is not None)

    torch.manual_seed(settings.seed)
    model = make_model(config, shape, device)
    optimizer = make_optimizer(config, model, console)
    scheduler = wsd(optimizer, settings.steps, settings.warmup, settings.decay_fraction)
    train_rows, held_rows = held_out(dataset, settings.eval_examples, settings.seed)
    place = rank(), world_size()
    batcher = Batcher(dataset, train_rows, settings.batch_tokens, settings.seed, settings.accumulate, *place)
    precision = Precision(settings.precision, device)
    parts: dict[str, Stateful] = {
        "model": model,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "data": batcher,
        "precision": precision,
    }
    average = MovingAverage(model, settings.ema_decay) if settings.ema_decay else None
    if average:
        parts["average"] = average
    if snapshot:
        snapshot.restore(parts)
        console.print(f"resuming at step {snapshot.step} from {snapshot.path}{_of_other_world(snapshot)}")
        if batcher.warning:
            console.print(f"warning: the data are not those that the run began with: {batcher.warning}")
    start = snapshot.step if snapshot else 0

    def after_step(model: nn.Module) -> Mapping[str, float]:
        load = expert_load([module.load_E for module in model.modules() if isinstance(module, Router)])
        model_room.update_router_bias(model, settings.router_bias_rate)
        if average:
            average.update()
        return load

    def evaluate(model: nn.Module) -> Mapping[str, float]:
        with average.in_place() if average else nullcontext():
            return mean_losses(
                model, dataset, held_rows, settings.batch_tokens, precision.name, attentions_of(model)
            )

    def export(model: Any) -> None:
        if config.output.export:
            with average.in_place() if average else nullcontext():
                whole = whole_model(model, shape)
            if whole is not None:
                hf.export(whole, tokenizer, config.output.export)
            console.print(f"exported to {config.output.export}")

    def flops(micro_batch: tuple[Tensor, ...]) -> float:
        tokens_BT, targets_BT = micro_batch[:2]
        real = (
            tokens_BT.numel() if shape.pad_token_id is None else int((tokens_BT != shape.pad_token_id).sum())
        )
        return training_flops(shape, real, tokens_BT.shape[1], int((targets_BT != -100).sum()))

    journal = Journal(
        settings.steps,
        start,
        path=config.output.run / "log.jsonl",
        log_every=settings.log_every,
        console=console,
        silent=rank() > 0,
        peak_flops=matmul_rate(device, precision.name) * world_size(),
        tensorboard=config.output.run / "tensorboard" if config.output.tensorboard else None,
    )
    outcome = train_loop(
        model,
        optimizer,
        scheduler,
        batcher,
        LoopSettings(
            settings.steps,
            settings.grad_clip,
            precision.name,
            settings.checkpoint_every,
            settings.eval_every,
        ),
        journal,
        start=start,
        checkpoints=checkpoints,
        parts=parts,
        config=config.as_dict(),
        after_step=after_step,
        evaluate=evaluate if len(held_rows) else None,
        after_save=export if config.output.export_checkpoints else None,
        flops=flops,
    )
    if outcome.interrupted:
        console.print(
            f"stopped after step {outcome.step} of {settings.steps}; resume with\n  {command} --resume"
        )
    else:
        export(model)
    barrier()
    return outcome


def _of_other_world(snapshot: Snapshot) -> str:
    if snapshot.world == world_size():
        return ""
    return f" (written by {snapshot.world} process{'es' if snapshot.world > 1 else ''}, now {world_size()})"


def _stopped_at_once(config: RunConfig, command: str) -> str:
    """What stands after a KeyboardInterrupt, and how to go on from it."""
    last = Checkpoints(config.output.run / "checkpoints").last_step()
    if last is None:
        return f"stopped at once, before the first checkpoint; start again with\n  {command}"
    if last >= config.train.steps:
        what = f"stopped at once; training is done, and the checkpoint of step {last} stands"
        return f"{what}; to export it:\n  {command} --resume"
    return f"stopped at once; the checkpoint of step {last} stands; resume with\n  {command} --resume"


def _choose_start(config: RunConfig, checkpoints: Checkpoints, resume: bool | None) -> Snapshot | None:
    """The checkpoint to go on from, checked against the configuration; None for a fresh start."""
    folder = checkpoints.folder
    if resume is False:
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
        made_with = parse_config(
            snapshot.config, f"of {snapshot.path}"
        ).as_dict()  # with defaults of keys new since
        snapshot = replace(snapshot, config=made_with)
        snapshot.refuse_other_config(config.as_dict(), config.free_on_resume(made_with, snapshot.step))
    return snapshot


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
