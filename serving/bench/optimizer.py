"""A step of MuonClip beside `torch.optim.Muon` and other packages, on the parameters of a mixture of experts, in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from model import PRESETS, Transformer
from model.attention import LatentAttention
from model.speed import fastest_dtype
from optim.fast_dtype import fast_dtype
from optim.muonclip import MuonClip
from optim.split import split_parameters

from ..settings import Settings
from .muon_peers import LR, PEERS, torch_muon
from .orthogonality import errors

LAYERS, EXPERTS, WIDE, NARROW = 8, 32, 256, 128
ATTENTION = ((256, 256), (160, 256), (384, 128), (256, 256))  # queries, key-value down and up, output
REPEATS = 5
TRACKED_BATCH, TRACKED_LENGTH, TRACKED_REPEATS = 32, 256, 3
Step = Callable[[], object]


def run(settings: Settings) -> dict[str, Any]:
    """Ratios of median step times, of MuonClip's to each other's: below 1 ours is faster. Steps alternate: the machine is shared.

    `step_time_ratio_to_torch_muon` is of our defaults to theirs. `same_settings` is of our quintics, Nesterov and bfloat16,
    which is the same arithmetic. torch and the peers take matrices alone and get each expert's apart, on the same gradients;
    MuonClip gets a layer's stacked. `floor` says how much of our step the machine's own rates explain.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    gradients = [torch.randn(shape) * 1e-3 for shape in _stacks()]
    steps: dict[str, Step] = {
        "muonclip": _ours(gradients),
        "torch_muon": _theirs(torch_muon, gradients),
        "muonclip_two_pass": _ours(gradients, ns_method="two_pass"),
        "muonclip_same_settings": _ours(
            gradients, nesterov=True, ns_method="quintic", ns_dtype=torch.bfloat16
        ),
    }
    missing: dict[str, str] = {}
    for name, build in PEERS.items():
        try:
            step = _theirs(build, gradients)
            step()
        except ImportError as error:
            missing[name] = f"not installed: {error}"
        except Exception as error:  # a peer's own failure on this machine is a result, not ours to handle
            missing[name] = f"does not run here: {type(error).__name__}: {str(error)[:200]}"
        else:
            steps[name] = step
    milliseconds, cpu_milliseconds = _alternating(steps, REPEATS)
    ours = milliseconds["muonclip"]
    return {
        "threads": torch.get_num_threads(),
        "parameters": sum(gradient.numel() for gradient in gradients),
        "matrices": len(_shapes()),
        "step_ms": {name: round(one, 1) for name, one in milliseconds.items()},
        "step_cpu_ms": {name: round(one, 1) for name, one in cpu_milliseconds.items()},
        "step_time_ratio_to_torch_muon": round(ours / milliseconds["torch_muon"], 3),
        "cpu_time_ratio_to_torch_muon": round(
            cpu_milliseconds["muonclip"] / cpu_milliseconds["torch_muon"], 3
        ),
        "two_pass_ratio_to_torch_muon": round(
            milliseconds["muonclip_two_pass"] / milliseconds["torch_muon"], 3
        ),
        "same_settings_ratio_to_torch_muon": round(
            milliseconds["muonclip_same_settings"] / milliseconds["torch_muon"], 3
        ),
        **{f"ratio_to_{name}": round(ours / milliseconds[name], 3) for name in PEERS if name in milliseconds},
        "peers_missing": missing,
        "floor": floor(min(ours, cpu_milliseconds["muonclip"])),
        "orthogonality": errors(settings.checkpoint),
        "max_logit_tracking_share_of_step": tracking_share(),
    }


def floor(step_ms: float) -> dict[str, float]:
    """What a step needs at least by this machine's own measured rates: three passes' products, and passes over memory.

    Memory: gradients are read twice (once to see that they are finite), momenta and weights read and written.
    """
    dtype = fast_dtype(torch.device("cpu"))
    flops = sum(three_pass_flops(*shape) for shape in _shapes())
    a_Bss = torch.randn(16, NARROW, NARROW).to(dtype)
    rate = 2 * a_Bss.numel() * NARROW / _best(lambda: torch.bmm(a_Bss, a_Bss))
    weights = sum(n * m for n, m in _shapes())
    source, target = torch.zeros(weights), torch.zeros(weights)
    bandwidth = 8 * weights / _best(lambda: target.copy_(source))
    products, memory = flops / rate * 1e3, 24 * weights / bandwidth * 1e3
    return {
        "products_gflop": round(flops / 1e9, 1),
        "quintic_products_gflop": round(sum(quintic_flops(*shape) for shape in _shapes()) / 1e9, 1),
        "matmul_gflops_per_s": round(rate / 1e9, 1),
        "products_ms": round(products, 1),
        "memory_mb": round(24 * weights / 1e6),
        "memory_gb_per_s": round(bandwidth / 1e9, 1),
        "memory_ms": round(memory, 1),
        "share_of_step": round((products + memory) / step_ms, 3),
    }


def three_pass_flops(n: int, m: int) -> int:
    """Operations of the three passes on an n x m matrix: each a Gram matrix, two squarings and a product."""
    short, long = min(n, m), max(n, m)
    return 2 * 3 * (2 * short * short * long + 2 * short**3)


def quintic_flops(n: int, m: int) -> int:
    """Operations of five quintics: each X X^T, its square, their sum times X."""
    short, long = min(n, m), max(n, m)
    return 2 * 5 * (2 * short * short * long + short**3)


def tracking_share() -> float:
    """What recording the largest logits adds to a training step, as a share of its work: the nano preset, medians in turn."""
    torch.manual_seed(0)
    config, dtype = PRESETS["nano"], fastest_dtype()
    model = Transformer(config)
    attentions = [module for module in model.modules() if isinstance(module, LatentAttention)]
    optimizer = MuonClip(split_parameters(model), lr=1e-4, attentions=attentions)
    tokens_BT = torch.randint(3, config.vocab_size, (TRACKED_BATCH, TRACKED_LENGTH + 1))

    def step(track: bool) -> None:
        for attention in attentions:
            attention.track_max_logits = track
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss, _ = model.loss(tokens_BT[:, :-1], tokens_BT[:, 1:])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    _, work = _alternating({"on": lambda: step(True), "off": lambda: step(False)}, TRACKED_REPEATS)
    return round(work["on"] / work["off"] - 1, 4)


def _alternating(steps: dict[str, Step], repeats: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median milliseconds of each, by the clock and of all threads' work, taking turns; the first turn warms up.

    Where other processes want the cores, the second is what a step costs by itself.
    """
    clock: dict[str, list[float]] = {name: [] for name in steps}
    work: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            started, worked = time.perf_counter(), time.process_time()
            step()
            if repeat:
                clock[name].append(time.perf_counter() - started)
                work[name].append(time.process_time() - worked)
    return tuple({name: statistics.median(some) * 1e3 for name, some in one.items()} for one in (clock, work))  # type: ignore[return-value]


def _best(work: Step, repeats: int = 20) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _stacks() -> list[tuple[int, ...]]:
    """Every parameter, experts stacked."""
    layer = [(EXPERTS, NARROW, WIDE), (EXPERTS, NARROW, WIDE), (EXPERTS, WIDE, NARROW), *ATTENTION]
    return layer * LAYERS


def _shapes() -> list[tuple[int, int]]:
    """Every matrix, experts one by one."""
    shapes: list[tuple[int, int]] = []
    for shape in _stacks():
        shapes += [(shape[-2], shape[-1])] * (shape[0] if len(shape) == 3 else 1)
    return shapes


def _ours(gradients: Sequence[torch.Tensor], **options: Any) -> Step:
    parameters = []
    for gradient in gradients:
        parameters.append(torch.nn.Parameter(torch.randn_like(gradient) * 0.02))
        parameters[-1].grad = gradient
    return MuonClip([{"params": parameters, "use_muon": True}], lr=LR, **options).step


def _theirs(build: Callable[[Sequence[torch.nn.Parameter]], Any], gradients: Sequence[torch.Tensor]) -> Step:
    parameters, apart = [], [one for some in gradients for one in some.reshape(-1, *some.shape[-2:])]
    for one in apart:
        parameters.append(torch.nn.Parameter(torch.randn_like(one) * 0.02))
    optimizer = build(parameters)

    def step() -> None:
        for parameter, gradient in zip(parameters, apart, strict=True):
            parameter.grad = gradient  # anew each time: heavyball drops gradients that it has used
        optimizer.step()

    return step
