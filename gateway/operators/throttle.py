"""Slows down whoever guesses passwords, without letting them lock others out."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gateway.answers import Refusal

__all__ = ["Throttle"]

_KEPT = 10_000


@dataclass
class Throttle:
    """Counts failures by name and address, of one gateway.

    A name alone is not counted: somebody who knows a name could keep its owner out.
    """

    free: int = 5
    """Failures that cost nothing: people mistype."""
    longest: timedelta = timedelta(minutes=15)
    _failed: OrderedDict[tuple[str, str], tuple[int, datetime]] = field(default_factory=OrderedDict)

    def require_patience(self, name: str, address: str, at: datetime) -> None:
        """Refuse a try that comes too soon after those that failed.

        Raises:
            Refusal: 429, with how long to wait.
        """
        for key in ((name, address), ("", address)):
            count, last = self._failed.get(key, (0, at))
            # From one address many names may be tried: it is given more, and then waits too.
            over = count - self.free * (1 if key[0] else 10)
            if over < 0:
                continue
            wait = min(timedelta(seconds=2 ** min(over, 20)), self.longest) - (at - last)
            if wait > timedelta():
                seconds = int(wait.total_seconds()) + 1
                raise Refusal(429, f"too many tries that failed; try again in {seconds} s")

    def failed(self, name: str, address: str, at: datetime) -> None:
        """Count a failure."""
        for key in ((name, address), ("", address)):
            count, last = self._failed.pop(key, (0, at))
            if at - last > self.longest:
                count = 0
            self._failed[key] = (count + 1, at)
        while len(self._failed) > _KEPT:
            self._failed.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of whoever has signed in."""
        self._failed.pop((name, address), None)
