"""The training loop, over anything with a `loss` door.

One step: micro-batches forward and backward, gradients summed over micro-batches and ranks and divided by the
number of targets, clipped, one step of the optimizer, the hooks. Where the run stands is a step number and
the parts a checkpoint keeps; batches are a function of the step number, so that a resumed run goes on exactly
as if it had not stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from optim.checkpoint import Checkpoints, Stateful
from optim.errors import DivergedError, OptimError
from optim.interrupt import stop_on_signals
from optim.journal import Journal
from optim.parallel import barrier, rank, sum_gradients, sum_numbers
from optim.qkclip import NOTHING_SEEN

MicroBatch = tuple[Tensor, ...]
"""What `loss` takes: tokens_BT and targets_BT, both int64, a target of -100 bearing no loss; then perhaps branch_BT."""

Batches = Callable[[int], Iterable[Sequence[MicroBatch]]]
"""From a step number to the batches from that step on; each is this rank's micro-batches, possibly none."""


class Trainable(Protocol):
    """The door that a model is trained through."""

    def loss(self, tokens_BT: Tensor, targets_BT: Tensor, *branch_BT: Tensor) -> tuple[Tensor, int | Tensor]:
        """The mean loss over the targets, and how many targets there were."""


@dataclass(frozen=True)
class LoopSettings:
    """How long to train and what to do on the way; intervals are in steps, 0 for never."""

    steps: int
    grad_clip: float = 1.0
    precision: Literal["bf16", "fp32"] = "bf16"
    checkpoint_every: int = 0
    eval_every: int = 0


@dataclass(frozen=True)
class Outcome:
    """How a run ended: after `step` steps, by itself or because it was `interrupted`."""

    step: int
    interrupted: bool
    last_loss: float


def train_loop(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: LRScheduler,
    batches: Batches,
    settings: LoopSettings,
    journal: Journal,
    *,
    start: int = 0,
    checkpoints: Checkpoints | None = None,
    parts: Mapping[str, Stateful] | None = None,
    config: Mapping[str, Any] | None = None,
    after_step: Callable[[nn.Module], None] | None = None,
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    after_save: Callable[[nn.Module], None] | None = None,
) -> Outcome:
    """Train `model` (an `nn.Module` that is `Trainable`) from step `start` to `settings.steps`.

    `checkpoints` get `parts` and `config` every `checkpoint_every` steps, at the end, and when SIGINT or
    SIGTERM stops the run; only rank 0 writes, then calls `after_save`. `after_step` runs after each optimizer
    step, on every rank; `evaluate` on rank 0 every `eval_every` steps and at the end. Raises `DivergedError`
    when loss or gradient is not finite, before it touches a weight.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    device = parameters[0].device
    stream = iter(batches(start))
    last_loss = math.nan
    done = start

    def save() -> None:
        if checkpoints is not None and rank() == 0:
            checkpoints.save(done, config or {}, parts or {})
            if after_save:
                after_save(model)
        barrier()

    saved_at = start
    with journal, stop_on_signals(journal.silent) as stop:
        model.train()
        for step in range(start, settings.steps):
            began = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            loss_sum, targets, tokens = _forward_backward(model, next(stream), device, settings.precision)
            loss_sum, targets, tokens, stops = sum_numbers(
                [loss_sum, targets, tokens, float(stop.made)], device
            )
            if targets == 0:
                raise OptimError(
                    f"the batch of step {step} has no target; check the data, every example needs one"
                )
            last_loss = loss_sum / targets
            if not math.isfinite(last_loss):
                raise _diverged("loss", last_loss, step, optimizer, checkpoints)
            sum_gradients(parameters)
            norm = _scale_and_clip(parameters, targets, settings.grad_clip)
            if not math.isfinite(norm):
                raise _diverged("gradient norm", norm, step, optimizer, checkpoints)
            lr = optimizer.param_groups[0]["lr"]
            optimizer.step()
            scheduler.step()
            if after_step:
                after_step(model)
            done = step + 1
            clip = getattr(optimizer, "last_clip", NOTHING_SEEN)
            seconds = time.perf_counter() - began
            journal.step(
                done,
                {
                    "step": done,
                    "loss": last_loss,
                    "lr": lr,
                    "grad_norm": norm,
                    "max_logit": clip.max_logit,
                    "clipped_heads": clip.clipped_heads,
                    "tokens": int(tokens),
                    "targets": int(targets),
                    "seconds": round(seconds, 4),
                    "tokens_per_second": tokens / seconds,
                },
            )
            if evaluate and rank() == 0 and _due(done, settings.eval_every, settings.steps):
                scores = dict(evaluate(model))
                model.train()
                journal.record({"step": done, **scores})
                journal.say(
                    f"step {done}: " + "  ".join(f"{key} {value:.4f}" for key, value in scores.items())
                )
            if stops or _due(done, settings.checkpoint_every, settings.steps):
                save()
                saved_at = done
            if stops:
                return Outcome(done, done < settings.steps, last_loss)
        if saved_at != done:
            save()
    return Outcome(done, False, last_loss)


def _forward_backward(
    model: nn.Module, micro_batches: Sequence[MicroBatch], device: torch.device, precision: str
) -> tuple[float, float, float]:
    """Leave the gradient of the *sum* of losses; return that sum and the numbers of targets and tokens."""
    loss_sum, targets, tokens = 0.0, 0, 0
    for micro_batch in micro_batches:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss, count = model.loss(*(part.to(device) for part in micro_batch))  # type: ignore[operator]
        (loss * count).backward()
        loss_sum += float(loss.detach()) * int(count)
        targets += int(count)
        tokens += micro_batch[0].numel()
    return loss_sum, targets, tokens


@torch.no_grad()
def _scale_and_clip(parameters: Sequence[Tensor], targets: float, limit: float) -> float:
    """Make summed gradients mean ones, of norm `limit` at most (0: any); return the norm before that."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = float(torch.nn.utils.get_total_norm(gradients)) / targets
    shrink = min(1.0, limit / (norm + 1e-6)) if limit > 0 else 1.0
    torch._foreach_mul_(gradients, shrink / targets)
    return norm


def _due(done: int, every: int, total: int) -> bool:
    return every > 0 and (done % every == 0 or done == total)


def _diverged(
    what: str, value: float, step: int, optimizer: torch.optim.Optimizer, checkpoints: Checkpoints | None
) -> DivergedError:
    paths = checkpoints.paths() if checkpoints else []
    stands = f"the last checkpoint, {paths[-1].name}, stands" if paths else "there is no checkpoint"
    return DivergedError(
        f"the {what} at step {step} is {value} (lr {optimizer.param_groups[0]['lr']:.3g}); no weight was "
        f"changed by it and {stands}. Lower train.lr or raise train.warmup"
    )
