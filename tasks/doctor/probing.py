"""Probes: records that are made, seen and taken away again, whatever happens meanwhile.

Each has a name that follows from the installation and from the place, so that the next doctor finds
what a killed one has left, and two installations at one server do not meet.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel
from sqlmodel import select

from integrations.errors import Conflict, Refused, Unsupported, Unverified
from inventory.database import AsyncSession
from inventory.models import Site
from tasks.means import means
from tasks.road import Keeper

__all__ = ["Leftover", "Mark", "mark_of", "prove", "take_away", "to_the_end"]

Record = TypeVar("Record", bound=BaseModel)
Result = TypeVar("Result")

_PREFIX = "rackrise-doctor-"
_MAC_PREFIX = "02:72:64"
"""Locally administered: no vendor's interface has it."""
_WRITE_SECONDS = 30.0
_AWAY_SECONDS = 40.0
"""For taking a probe away, readings included."""


class Leftover(Exception):
    """A check has failed, and its probe could not be taken away or be seen gone.

    Args:
        first: why the check has failed.
        said: what is left, and why.
    """

    def __init__(self, first: Exception, said: str) -> None:
        self.first = first
        super().__init__(said)


@dataclass(frozen=True)
class Mark:
    """By what the probes of this installation are known."""

    word: str

    @property
    def label(self) -> str:
        """First label of probe names."""
        return f"{_PREFIX}{self.word}"

    def mac(self, what: str) -> str:
        """The interface of a probe; another one for each place."""
        digest = hashlib.sha256(f"{self.word} {what}".encode()).hexdigest()
        return f"{_MAC_PREFIX}:{digest[:2]}:{digest[2:4]}:{digest[4:6]}"


async def mark_of(session: AsyncSession) -> Mark:
    """The mark of this installation: it follows from its sites."""
    found = await session.exec(select(Site.name, Site.gateway_url))
    sites = sorted(f"{name} {url}" for name, url in found)
    return Mark(hashlib.sha256("\n".join(sites).encode()).hexdigest()[:8])


async def to_the_end(work: Coroutine[Any, Any, Result], seconds: float) -> Result:
    """Do something to its end or its deadline; a cancellation meanwhile comes afterwards."""

    async def limited() -> Result:
        async with asyncio.timeout(seconds):
            return await work

    task = asyncio.create_task(limited())
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # told nowhere else
        raise cancelled
    return task.result()


async def prove(
    keeper: Keeper[Record], record: Record, is_ours: Callable[[Record], bool] = lambda _: True
) -> str:
    """Make a record as provisioning does, see it at the system that owns it, and take it away.

    Args:
        keeper: of this kind of record, at its place.
        record: the probe.
        is_ours: whether what is there under its key is a probe of ours.

    Returns:
        What was done and seen.

    Raises:
        Conflict: something else is there.
        Leftover: it failed, and so did taking the probe away.
        OutsideError: whatever the system says.
    """
    before = ""
    there = await keeper.read(record)
    if there is not None:
        if not is_ours(there):
            raise Conflict(
                system=keeper.system,
                address=keeper.place,
                operation=f"make the probe {keeper.key(record)}",
                said="there is something already",
                owner=keeper.owner(there),
            )
        await to_the_end(take_away(keeper, record, is_ours), _AWAY_SECONDS)
        before = "; before that, what an earlier doctor had left was removed"
    written = False

    async def write() -> None:
        nonlocal written
        await keeper.write(record)
        written = True

    try:
        # Not to be cut off in the middle: it would arrive when nobody looks any more.
        await to_the_end(write(), _WRITE_SECONDS)
        await _seen(keeper, record)
    except BaseException as error:
        await _clean_up(keeper, record, is_ours, error, written=written)
        raise
    await to_the_end(take_away(keeper, record, is_ours), _AWAY_SECONDS)
    source, key = keeper.source, keeper.key(record)
    return f"{key} made, read from {source}, removed and seen gone{before}"


async def _clean_up(
    keeper: Keeper[Record],
    record: Record,
    is_ours: Callable[[Record], bool],
    error: BaseException,
    *,
    written: bool,
) -> None:
    # What was refused is not there; anything else may still arrive.
    may_come = not isinstance(error, Refused | Unsupported | Conflict)
    try:
        if written:
            # Perhaps elsewhere than where it is read: then nobody would ever see it there.
            await to_the_end(keeper.remove(record), _WRITE_SECONDS)
        await to_the_end(take_away(keeper, record, is_ours, late=may_come), _AWAY_SECONDS)
    except Exception as left:
        if not isinstance(error, Exception):
            return  # cancelled: that goes on, and the next doctor sees to what is left
        said = f"whether the probe {keeper.key(record)} is left there cannot be said: {left}"
        raise Leftover(error, said) from error


async def _seen(keeper: Keeper[Record], record: Record) -> None:
    deadlines = means().deadlines
    end = time.monotonic() + deadlines.verify
    while True:
        said = "nothing is there"
        try:
            there = await keeper.read(record)
            if there == record:
                return
            if there is not None:
                said = f"there is {keeper.owner(there)}"
        except Unverified as error:
            said = error.said
        if time.monotonic() > end:
            raise Unverified(
                system=keeper.system,
                address=keeper.place,
                operation=f"show the probe {keeper.key(record)}",
                said=f"the write was answered with yes, and at {keeper.source} {said}",
            )
        await asyncio.sleep(deadlines.every)


async def take_away(
    keeper: Keeper[Record],
    record: Record,
    is_ours: Callable[[Record], bool] = lambda _: True,
    *,
    late: bool = False,
) -> None:
    """Remove a probe, and see it gone.

    Args:
        keeper: as for ``prove``.
        record: the probe.
        is_ours: what is somebody else's is left.
        late: the write may still be under way: look until that can be no more.

    Raises:
        Unverified: it is still there.
        OutsideError: whatever the system says.
    """
    deadlines = means().deadlines
    removed, end = False, time.monotonic() + deadlines.verify
    while True:
        said = ""
        try:
            there = await keeper.read(record)
            if there is not None and not is_ours(there):
                return
            if there is not None:
                said = f"{keeper.owner(there)} is still there"
                await keeper.remove(there)
                if not removed:
                    # However long it took until here: it has its time to show.
                    removed, end = True, time.monotonic() + deadlines.verify
            elif not late:
                return
        except Unverified as error:
            said = error.said
        if time.monotonic() > end:
            if not said:
                return
            raise Unverified(
                system=keeper.system,
                address=keeper.place,
                operation=f"remove the probe {keeper.key(record)}",
                said=said,
            )
        await asyncio.sleep(deadlines.every)
