"""Where a run happens: threads, device, and under torchrun the group of processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from optim.errors import ConfigError, OptimError

HOURS = timedelta(hours=6)  # how long ranks wait for rank 0 to prepare data or save
LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Socket Timeout",
    "Application timeout",
)


def set_up(device: str = "auto", threads: int = 0) -> torch.device:
    """Settle threads and device ("auto", "cpu" or "cuda"), and join the other processes, if there are any."""
    if threads:
        torch.set_num_threads(threads)
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if cuda and not torch.cuda.is_available():
        raise ConfigError("train.device is cuda, but PyTorch sees no GPU; set it to auto or cpu")
    chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(chosen)
    if dist.is_torchelastic_launched() and not dist.is_initialized():
        # the gloo group is for what is on the CPU: agreements, checkpoints
        backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        dist.init_process_group(backend, timeout=HOURS, device_id=chosen if cuda else None)
    return chosen


@contextmanager
def lost_ranks_are_said() -> Iterator[None]:
    """Within the block the error of a process whose peers are gone says so."""
    try:
        yield
    except (RuntimeError, dist.DistBackendError) as error:
        if dist.is_initialized() and any(text in str(error) for text in LOST):
            raise OptimError(
                f"another process of this run is gone ({str(error).splitlines()[0][:200]}); see its message, and go on from "
                "the last checkpoint with --resume"
            ) from error
        raise
