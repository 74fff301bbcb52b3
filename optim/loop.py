"""The training loop, over anything with a `loss` door.

One step: micro-batches forward and backward, gradients summed over micro-batches and ranks and divided by the
number of targets, clipped, one step of the optimizer, the hooks. A step whose loss or gradient is no finite number changes
no weight. Where the run stands is a step number and the parts a checkpoint keeps; batches are a function of the step
number, so that a resumed run goes on exactly as if it had not stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from optim.checkpoint import Checkpoints
from optim.errors import DivergedError, OptimError
from optim.interrupt import stop_on_signals
from optim.journal import Journal
from optim.parallel import sum_numbers, total_norm
from optim.qkclip import NOTHING_SEEN, forget
from optim.sharding import local
from optim.snapshot import Stateful

SKIPS_IN_A_ROW = 10  # so many steps without a finite gradient are no accident

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
    """How long to train and what to do on the way; intervals are in steps, 0 for never. `precision` is bf16 or fp32."""

    steps: int
    grad_clip: float = 1.0
    precision: str = "bf16"
    checkpoint_every: int = 0
    eval_every: int = 0


@dataclass(frozen=True)
class Outcome:
    """How a run ended: after `step` steps, by itself or because it was `interrupted`; `skipped` of them changed nothing."""

    step: int
    interrupted: bool
    last_loss: float
    skipped: int = 0


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
    after_step: Callable[[nn.Module], Mapping[str, float] | None] | None = None,
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    after_save: Callable[[nn.Module], None] | None = None,
    flops: Callable[[MicroBatch], float] | None = None,
) -> Outcome:
    """Train `model` (an `nn.Module` that is `Trainable`) from step `start` to `settings.steps`.

    `checkpoints` get `parts` and `config` every `checkpoint_every` steps, at the end, and when SIGINT or
    SIGTERM stops the run; then `after_save` is called. `after_step` runs after each optimizer step, and what it returns
    goes to the journal; `evaluate` every `eval_every` steps and at the end. Every rank calls all of them. `flops` says
    what a micro-batch costs, for the journal. A step whose loss or gradient is not finite is skipped and said; ten of
    them in a row raise `DivergedError`.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    device = parameters[0].device
    stream = iter(batches(start))
    last_loss = math.nan
    done, skipped, in_a_row = start, 0, 0

    def save() -> None:
        if checkpoints is not None:
            checkpoints.save(done, config or {}, parts or {})
            journal.saving(done)
            if after_save:
                after_save(model)

    saved_at = start
    with journal, stop_on_signals(journal.silent) as stop:
        model.train()
        for step in range(start, settings.steps):
            began = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            micro_batches = next(stream)
            found = _forward_backward(model, micro_batches, device, settings.precision)
            work = sum(map(flops, micro_batches)) if flops else 0.0
            loss_sum, targets, tokens, work, stops = sum_numbers([*found, work, float(stop.made)], device)
            if targets == 0:
                raise OptimError(
                    f"the batch of step {step} has no target; check the data, every example needs one"
                )
            last_loss = loss_sum / targets
            norm = _scale_and_clip(parameters, targets, settings.grad_clip)
            lr = optimizer.param_groups[0]["lr"]
            extra: Mapping[str, float] = {}
            done = step + 1
            if math.isfinite(last_loss) and math.isfinite(norm):
                in_a_row = 0
                optimizer.step()
                scheduler.step()
                extra = (after_step(model) if after_step else None) or {}
            else:
                skipped, in_a_row = skipped + 1, in_a_row + 1
                what = ("gradient norm", norm) if math.isfinite(last_loss) else ("loss", last_loss)
                forget(getattr(optimizer, "attentions", ()))
                journal.skip(done, *what, skipped)
                if in_a_row == SKIPS_IN_A_ROW:
                    raise _diverged(*what, step, optimizer, checkpoints)
                scheduler.step()
            clip = getattr(optimizer, "last_clip", NOTHING_SEEN)
            seconds = time.perf_counter() - began
            journal.step(
                done,
                {
                    "step": done,
                    "loss": last_loss,
                    "lr": lr,
                    "grad_norm": norm,
                    "skipped": skipped,
                    "max_logit": clip.max_logit,
                    "clipped_heads": clip.clipped_heads,
                    "tokens": int(tokens),
                    "targets": int(targets),
                    "seconds": round(seconds, 4),
                    "tokens_per_second": tokens / seconds,
                    "flops_per_second": work / seconds,
                    **extra,
                },
            )
            if evaluate and _due(done, settings.eval_every, settings.steps):
                scores = dict(evaluate(model))
                model.train()
                journal.evaluation(done, scores)
            if stops or _due(done, settings.checkpoint_every, settings.steps):
                save()
                saved_at = done
            if stops:
                break
        if saved_at != done:
            save()
        if checkpoints is not None:
            checkpoints.wait()
    return Outcome(done, done < settings.steps, last_loss, skipped)


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
    norm = total_norm(gradients) / targets
    shrink = min(1.0, limit / (norm + 1e-6)) if limit > 0 else 1.0
    torch._foreach_mul_([local(gradient) for gradient in gradients], shrink / targets)
    return norm


def _due(done: int, every: int, total: int) -> bool:
    return every > 0 and (done % every == 0 or done == total)


def _diverged(
    what: str, value: float, step: int, optimizer: torch.optim.Optimizer, checkpoints: Checkpoints | None
) -> DivergedError:
    if checkpoints:
        checkpoints.wait()
    paths = checkpoints.paths() if checkpoints else []
    stands = f"the last checkpoint, {paths[-1].name}, stands" if paths else "there is no checkpoint"
    return DivergedError(
        f"the {what} at step {step} is {value} (lr {optimizer.param_groups[0]['lr']:.3g}), after {SKIPS_IN_A_ROW - 1} "
        f"steps like it; no weight was changed by them and {stands}. Lower train.lr or raise train.warmup"
    )
