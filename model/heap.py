"""Let a training process keep the memory that it frees, in huge pages, so that no step waits for the kernel to clear it.

By itself glibc gives large blocks back when they are freed and takes them anew, zeroed page by page, in the next
layer: up to a third of a step's time on the CPU.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
from pathlib import Path

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # mallopt's parameters, from malloc.h
_HUGE = 1 << 21


def keep_freed_memory(room: int = 1 << 30) -> bool:
    """Make malloc keep and reuse what is freed from now on; whether that could be done (glibc on Linux alone).

    room: bytes by which the heap grows at a time. They are reserved, not used. The process gives nothing back any more,
    which is right for a training run and a benchmark and not for a server.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    if not (
        libc.mallopt(_MMAP_MAX, 0) and libc.mallopt(_TRIM_THRESHOLD, -1) and libc.mallopt(_TOP_PAD, room)
    ):
        return False
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.free(libc.malloc(room))  # makes the heap grow now, so that there is a range to advise about
    return _advise_huge_pages(libc)


def _advise_huge_pages(libc: ctypes.CDLL) -> bool:
    heap = re.search(r"^(\w+)-(\w+) .*\[heap\]$", Path("/proc/self/maps").read_text(), re.MULTILINE)
    if heap is None:
        return False
    start, stop = (int(end, 16) for end in heap.groups())
    start = -(-start // _HUGE) * _HUGE
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc.madvise(start, stop - start, mmap.MADV_HUGEPAGE) == 0
