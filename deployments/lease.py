"""Whether this worker still counts as alive, asked of a clock that runs while the process sleeps.

Claims are looked at before each write; a process that is stopped between that look and the write
wakes up and writes what is not its to write any more. It is not asked for long: this clock is.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Lease"]


def _boot_seconds() -> float:
    """Seconds since the machine's start, suspended ones included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """A worker's lease as the worker itself sees it.

    Args:
        seconds: how long it lasts after each renewal.
        clock: seconds that nothing sets back and no sleep stops.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = _boot_seconds) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until = clock() + seconds

    def now(self) -> float:
        """The moment before a renewal is asked for: from then on it lasts."""
        return self._clock()

    def renewed(self, asked_at: float) -> None:
        """The inventory has taken a renewal."""
        self._until = asked_at + self._seconds

    def holds(self) -> bool:
        """Whether nobody can have taken us for dead."""
        return self._clock() < self._until
