"""The end of a process that runs over: killed by the operating system, whatever it is in the middle of."""

from __future__ import annotations

import os
import signal
import sys
import threading

GRACE_S = 0.25
"""Past the limit, which databases keep by themselves in most statements."""

_timer: threading.Timer | None = None


def arm(seconds: float) -> None:
    """Kill this process after `seconds` and a little, unless armed again or disarmed before."""
    disarm()
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_S)  # what SIGALRM does by default is to kill
        return
    global _timer
    _timer = threading.Timer(seconds + GRACE_S, os._exit, [1])
    _timer.daemon = True
    _timer.start()


def disarm() -> None:
    global _timer
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_REAL, 0)
    elif _timer is not None:
        _timer.cancel()
        _timer = None
