"""Ctrl-C and SIGTERM in training: the first asks for a stop after the step, the second stops at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STDERR = 2
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether someone asked for a stop, and how."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @property
    def made(self) -> bool:
        return self.signal is not None


@contextmanager
def stop_on_signals(silent: bool = False) -> Iterator[StopRequest]:
    """Within the block SIGINT and SIGTERM fill the request; a second one raises KeyboardInterrupt.

    Outside the main thread Python installs no handlers; there the request stays empty.
    """
    request = StopRequest()

    def handle(number: int, _frame: FrameType | None) -> None:
        if request.made:
            raise KeyboardInterrupt
        request.signal = signal.Signals(number)
        if not silent:
            # straight to stderr: the signal may have come amid a print, which cannot be entered twice
            text = f"\n{request.signal.name}: finishing this step and saving; once more stops at once\n"
            os.write(STDERR, text.encode())

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
