"""Which signals are measured: `fast` takes what generating the SQL leaves behind and rules, `thorough` takes all.

What belongs to `default` was chosen on calibration questions (`suresql bench confidence` prints what each is worth and costs).
"""

from collections.abc import Sequence
from typing import Literal

from sqlconf.signal import Cost, Signal

Profile = Literal["fast", "default", "thorough"]
PROFILES: tuple[Profile, ...] = ("fast", "default", "thorough")
_MOST: dict[Profile, Cost] = {"fast": Cost.RULES, "default": Cost.SCORING, "thorough": Cost.WRITING}


def chosen(profile: Profile, signals: Sequence[Signal]) -> list[str]:
    """The names of the profile's signals, in their order."""
    return [signal.name for signal in signals if signal.cost <= _MOST[profile]]
