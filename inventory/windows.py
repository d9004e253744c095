"""Windows of time in which hosts may be provisioned: ``mon-fri 22:00-05:00``.

A window goes by the clock on the wall of its time zone. One that passes midnight belongs to the day
on which it begins. On the night when clocks are put forward it is an hour shorter, or does not come
if it lies in the hour that is left out; when they are put back, the hour that comes twice is in it
twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

__all__ = ["BadWindow", "Window", "is_open", "opens_next", "parse", "zone"]

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WHOLE_DAY = 24 * 60
_FORM = "mon-fri 22:00-05:00, sat,sun 00:00-24:00 or daily 01:30-04:00"
_TIMES = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")
_LOOK_AHEAD = timedelta(days=15)
_GRID = timedelta(minutes=15)
"""Clocks are changed at full quarters of an hour."""


class BadWindow(ValueError):
    """A text is no window or no time zone; says what one may write."""


@dataclass(frozen=True)
class Window:
    """Some hours on some days of each week."""

    days: frozenset[int]
    """Days on which it begins; 0 is Monday."""
    begins: int
    """Minutes after midnight."""
    ends: int
    """Minutes after midnight, 1440 at most; not later than ``begins``: on the day after."""

    def holds(self, wall: datetime) -> bool:
        """Whether the clock on the wall, which shows this, is inside."""
        minute, day = wall.hour * 60 + wall.minute, wall.weekday()
        if self.begins < self.ends:
            return day in self.days and self.begins <= minute < self.ends
        late = day in self.days and minute >= self.begins
        return late or ((day - 1) % 7 in self.days and minute < self.ends)


@lru_cache(maxsize=512)
def parse(text: str) -> Window:
    """Read a window.

    Raises:
        BadWindow: it is none.
    """
    words = text.lower().split()
    times = _TIMES.fullmatch(words[-1]) if len(words) == 2 else None
    if times is None:
        raise BadWindow(f"{text!r} is no window; write days and times such as {_FORM}")
    hour, minute, end_hour, end_minute = (int(one) for one in times.groups())
    begins, ends = hour * 60 + minute, end_hour * 60 + end_minute
    if minute > 59 or end_minute > 59 or begins >= _WHOLE_DAY or ends > _WHOLE_DAY:
        said = "times go from 00:00 to 23:59, and an end may be 24:00"
        raise BadWindow(f"{text!r} is no window: {said}")
    if begins == ends:
        said = "it ends when it begins; a whole day is 00:00-24:00"
        raise BadWindow(f"{text!r} is no window: {said}")
    return Window(_days(words[0], text), begins, ends)


def _days(word: str, text: str) -> frozenset[int]:
    if word == "daily":
        return frozenset(range(7))
    days: set[int] = set()
    for part in word.split(","):
        first, dash, last = part.partition("-")
        for name in (first, last) if dash else (first,):
            if name not in _DAYS:
                known = f"days are {', '.join(_DAYS)} and daily"
                raise BadWindow(f"{text!r} is no window: {name!r} is no day; {known}")
        start = _DAYS.index(first)
        length = (_DAYS.index(last) - start) % 7 if dash else 0
        days |= {(start + n) % 7 for n in range(length + 1)}
    return frozenset(days)


def zone(name: str) -> tzinfo:
    """The time zone of a name.

    Raises:
        BadWindow: there is none.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        said = "write one such as UTC or Europe/Berlin"
        raise BadWindow(f"there is no time zone {name!r}; {said}") from None


def is_open(windows: Iterable[str], time_zone: str, at: datetime) -> bool:
    """Whether a moment lies in any of the windows.

    Raises:
        BadWindow: a window or the time zone is none.
    """
    wall = at.astimezone(zone(time_zone))
    return any(parse(one).holds(wall) for one in windows)


def opens_next(windows: Sequence[str], time_zone: str, at: datetime) -> datetime | None:
    """When the first of the windows opens, in UTC; ``at`` if one is open; None: not in two weeks.

    Raises:
        BadWindow: a window or the time zone is none.
    """
    return at if is_open(windows, time_zone, at) else _next(tuple(windows), time_zone, at)


# Many hosts wait for one window.
@lru_cache(maxsize=64)
def _next(windows: tuple[str, ...], time_zone: str, at: datetime) -> datetime | None:
    where, parsed = zone(time_zone), [parse(one) for one in windows]
    today = at.astimezone(where).date()
    # A window opens when its time comes, or when clocks are put forward into it.
    moments: set[datetime] = set()
    for one in parsed:
        begins = time(*divmod(one.begins, 60), tzinfo=where)
        for day in range(_LOOK_AHEAD.days):
            local = datetime.combine(today + timedelta(days=day), begins)
            moments |= {local.replace(fold=fold).astimezone(UTC) for fold in (0, 1)}
    grid = datetime.fromtimestamp(
        at.timestamp() // _GRID.total_seconds() * _GRID.total_seconds(), UTC
    )
    moments |= {grid + n * _GRID for n in range(_LOOK_AHEAD // _GRID)}
    after = sorted(one for one in moments if one > at)
    return next((one for one in after if any(w.holds(one.astimezone(where)) for w in parsed)), None)
