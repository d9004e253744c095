"""Windows: by the clock on the wall, over midnight and over the nights when it is changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from inventory.windows import BadWindow, is_open, opens_next, parse, zone

BERLIN = "Europe/Berlin"


def at(text: str, time_zone: str = "UTC", fold: int = 0) -> datetime:
    """A moment by the clock on the wall; 2026-03-02 is a Monday."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(time_zone), fold=fold)


@pytest.mark.parametrize(
    ("window", "moment", "expected"),
    [
        ("mon-fri 22:00-05:00", "2026-03-02 21:59", False),
        ("mon-fri 22:00-05:00", "2026-03-02 22:00", True),
        ("mon-fri 22:00-05:00", "2026-03-03 04:59", True),
        ("mon-fri 22:00-05:00", "2026-03-03 05:00", False),
        # The night to Monday belongs to Sunday, the night to Saturday to Friday.
        ("mon-fri 22:00-05:00", "2026-03-02 04:00", False),
        ("mon-fri 22:00-05:00", "2026-03-07 04:00", True),
        ("mon-fri 22:00-05:00", "2026-03-07 22:30", False),
        ("sun 22:00-05:00", "2026-03-02 04:00", True),
        ("sat,sun 00:00-24:00", "2026-03-06 23:59", False),
        ("sat,sun 00:00-24:00", "2026-03-07 00:00", True),
        ("sat,sun 00:00-24:00", "2026-03-08 23:59", True),
        ("sat,sun 00:00-24:00", "2026-03-09 00:00", False),
        ("fri-mon 10:00-11:00", "2026-03-08 10:30", True),
        ("fri-mon 10:00-11:00", "2026-03-03 10:30", False),
        ("mon,wed-thu 10:00-11:00", "2026-03-05 10:30", True),
        ("mon,wed-thu 10:00-11:00", "2026-03-03 10:30", False),
        ("daily 01:30-04:00", "2026-03-04 01:30", True),
        ("mon 22:00-00:00", "2026-03-02 23:59", True),
        ("mon 22:00-00:00", "2026-03-03 00:00", False),
        ("mon 22:00-24:00", "2026-03-02 23:59", True),
        ("MON-FRI  22:00-23:00", "2026-03-02 22:30", True),
    ],
)
def test_a_window_is_open_from_its_begin_to_before_its_end(
    window: str, moment: str, expected: bool
) -> None:
    assert is_open([window], "UTC", at(moment)) is expected


def test_any_of_several_windows_opens_and_none_never_does() -> None:
    assert is_open(["mon 01:00-02:00", "tue 01:00-02:00"], "UTC", at("2026-03-03 01:30"))
    assert not is_open([], "UTC", at("2026-03-03 01:30"))


def test_windows_go_by_the_clock_of_their_zone() -> None:
    assert is_open(["mon 22:00-23:00"], BERLIN, at("2026-03-02 21:30"))
    assert not is_open(["mon 22:00-23:00"], BERLIN, at("2026-03-02 22:30"))
    # Summer: two hours from UTC.
    assert is_open(["mon 22:00-23:00"], BERLIN, at("2026-06-01 20:30"))
    # Monday there, Sunday here.
    assert is_open(["mon 08:00-09:00"], "Pacific/Auckland", at("2026-03-01 19:30"))


def minutes_open(window: str, begin: datetime, hours: int) -> int:
    return sum(is_open([window], BERLIN, begin + timedelta(minutes=n)) for n in range(60 * hours))


SPRING = datetime(2026, 3, 28, 12, tzinfo=UTC)  # at 01:00 UTC of the 29th, 02:00 becomes 03:00
AUTUMN = datetime(2026, 10, 24, 12, tzinfo=UTC)  # at 01:00 UTC of the 25th, 03:00 becomes 02:00


@pytest.mark.parametrize(
    ("window", "in_spring", "in_autumn"),
    [
        ("sat 22:00-05:00", 6, 8),
        ("sun 02:00-03:00", 0, 2),
        ("sun 01:00-04:00", 2, 4),
        ("sun 03:00-04:00", 1, 1),
        ("sun 00:00-24:00", 23, 25),
    ],
)
def test_the_night_when_clocks_are_changed_is_shorter_or_longer(
    window: str, in_spring: int, in_autumn: int
) -> None:
    assert minutes_open(window, SPRING, 36 + 1) == in_spring * 60
    assert minutes_open(window, AUTUMN, 36 + 2) == in_autumn * 60


@pytest.mark.parametrize(
    ("window", "now", "opens"),
    [
        ("mon-fri 22:00-05:00", at("2026-03-02 12:00", BERLIN), at("2026-03-02 22:00", BERLIN)),
        ("mon-fri 22:00-05:00", at("2026-03-07 12:00", BERLIN), at("2026-03-09 22:00", BERLIN)),
        ("mon 10:10-10:20", at("2026-03-02 10:20", BERLIN), at("2026-03-09 10:10", BERLIN)),
        # Clocks are put forward into it: it opens at 03:00.
        ("sun 02:30-03:30", at("2026-03-28 12:00", BERLIN), at("2026-03-29 03:00", BERLIN)),
        # It lies in the hour that is left out: the next is a week later.
        ("sun 02:00-03:00", at("2026-03-28 12:00", BERLIN), at("2026-04-05 02:00", BERLIN)),
        # The hour that comes twice: open at once, closed between, and open again.
        ("sun 02:00-02:30", at("2026-10-25 02:40", BERLIN), at("2026-10-25 02:00", BERLIN, 1)),
    ],
)
def test_when_a_window_opens_next_is_told(window: str, now: datetime, opens: datetime) -> None:
    assert opens_next([window], BERLIN, now) == opens.astimezone(UTC)


def test_an_open_window_opens_now_and_no_window_never() -> None:
    now = at("2026-03-02 22:30")
    assert opens_next(["mon 22:00-23:00"], "UTC", now) == now
    assert opens_next([], "UTC", now) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "write days and times such as mon-fri 22:00-05:00"),
        ("22:00-05:00", "write days and times such as"),
        ("mon-fri", "write days and times such as"),
        ("mon 9:00-17:00", "write days and times such as"),
        ("mon 09:00 - 17:00", "write days and times such as"),
        ("monday 09:00-17:00", "'monday' is no day; days are mon, tue"),
        ("mon-tue-wed 09:00-17:00", "'tue-wed' is no day"),
        ("mon, 09:00-17:00", "'' is no day"),
        ("mon 24:00-25:00", "times go from 00:00 to 23:59"),
        ("mon 09:00-24:01", "times go from 00:00 to 23:59, and an end may be 24:00"),
        ("mon 09:60-10:00", "times go from"),
        ("mon 09:00-09:00", "it ends when it begins; a whole day is 00:00-24:00"),
    ],
)
def test_a_bad_window_says_what_one_may_write(text: str, said: str) -> None:
    with pytest.raises(BadWindow, match=said):
        parse(text)


@pytest.mark.parametrize("name", ["Berlin", "", "../etc/passwd", "Europe", "/etc/localtime"])
def test_a_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(BadWindow, match="write one such as UTC or Europe/Berlin"):
        zone(name)
