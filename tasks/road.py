"""The one road for every change outside: desired, intend, act, verify, record.

Retry, resume, undo, plan and drift are this one mechanism. Killed anywhere between, the task runs
again from the start and ends in the same place: what is already right is left alone. Undo goes the
same road: it restores what was there before, where what is there now is still ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from uuid import UUID

from pydantic import BaseModel

from integrations.errors import Conflict, Unavailable, Unverified
from inventory import effects
from inventory.database import AsyncSession
from inventory.models import Effect
from tasks.company import LostBuild, holds_claim, require_claim
from tasks.means import Means, means

__all__ = ["Keeper", "Restored", "ensure", "is_ours", "restore", "withdraw"]

Record = TypeVar("Record", bound=BaseModel)


class Keeper(Protocol[Record]):
    """How one kind of record is read, written and taken away at the system that owns it."""

    @property
    def system(self) -> str:
        """``DHCP``, ``DNS``, ``TFTP``: as people call it."""
        ...

    @property
    def place(self) -> str:
        """Where exactly: the proxy that writes it, and there the subnet, zone or directory."""
        ...

    @property
    def source(self) -> str:
        """Where it is read, as the words of the evidence have it."""
        ...

    @property
    def replaces(self) -> bool:
        """Whether a write replaces what is there in one step, so that nothing is ever missing."""
        ...

    @property
    def sole(self) -> bool:
        """Whether the key itself is ours alone, so that whatever is there may go."""
        ...

    def key(self, record: Record) -> str:
        """What identifies the record at its place."""
        ...

    def owner(self, there: Record) -> str:
        """Whose record this is, as well as the system can tell."""
        ...

    async def read(self, record: Record) -> Record | None:
        """What is there now under this record's key, read from the system that owns it."""
        ...

    async def write(self, record: Record) -> None:
        """Make the record. The place is free, or holds a record of ours to be replaced."""
        ...

    async def remove(self, there: Record) -> None:
        """Take away a record of ours."""
        ...

    def at_rest(self, record: Record) -> dict[str, Any]:
        """The record as the inventory keeps it: without secrets, yet enough to know it again."""
        ...

    def recall(self, key: str, at_rest: dict[str, Any]) -> Record:
        """The record of a key, with what was kept of it: nothing, where the key is ours alone."""
        ...

    def former(self, at_rest: dict[str, Any]) -> Record | None:
        """What undo puts back of a record that was there before; None: it may not come back."""
        ...


@dataclass(frozen=True)
class Restored:
    """What became of a record when its effects were undone."""

    words: str
    left: bool = False
    """It is somebody else's by now, and was not touched."""


async def ensure(
    build: UUID, keeper: Keeper[Record], record: Record, *, claimed: bool = True
) -> str:
    """Make a record exist exactly so.

    Args:
        build: on whose account.
        keeper: of this kind of record, at its place.
        record: what must be there.
        claimed: False for a build that has ended, which nobody can have claimed.

    Returns:
        What was done and seen, in words.

    Raises:
        Conflict: somebody else's record is in the way; it is left untouched.
        Unverified: the system said yes, and reading back shows something else.
        LostBuild: another worker has the build now.
        OutsideError: whatever else the system says.
    """
    m = means()
    async with m.admission.gate(keeper.system, keeper.place):
        there = await keeper.read(record)
        if there is not None and there != record:
            await _must_be_ours(m, keeper, there)
        effect = await _intend(
            m, build, keeper, record, before=there, after=record, claimed=claimed
        )
        if there == record:
            await _settle(m, build, effect, claimed=claimed)
            return f"{keeper.key(record)} was there already, read from {keeper.source}"
        _require_lease(m, keeper, f"write {keeper.key(record)}")
        if there is not None and not keeper.replaces:
            await keeper.remove(there)
        await keeper.write(record)
        await _applied(m, build, effect, claimed=claimed)
        await _verify(m, keeper, record, wanted=record)
        await _settle(m, build, effect, claimed=claimed)
    return f"{keeper.key(record)}, read back from {keeper.source}"


async def withdraw(build: UUID, keeper: Keeper[Record], record: Record) -> str:
    """Make a record of ours be gone; the counterpart of ``ensure``, with the same errors.

    Args:
        build: on whose account.
        keeper: of this kind of record, at its place.
        record: names the record by its key; what it says does not matter.
    """
    m = means()
    async with m.admission.gate(keeper.system, keeper.place):
        there = await keeper.read(record)
        if there is not None:
            await _must_be_ours(m, keeper, there)
        effect = await _intend(m, build, keeper, record, before=there, after=None)
        if there is not None:
            _require_lease(m, keeper, f"remove {keeper.key(record)}")
            await keeper.remove(there)
            await _applied(m, build, effect)
            await _verify(m, keeper, record, wanted=None)
        await _settle(m, build, effect)
    return f"{keeper.key(record)} is gone, as {keeper.source} shows"


async def restore(build: UUID | None, keeper: Keeper[Record], made: Sequence[Effect]) -> Restored:
    """Undo effects on one record: what was there before the first of them is there again.

    Only where what is there now is something that we wrote, and no other host of ours has it by
    now; somebody else's record is left.

    Args:
        build: on whose account; None: of builds that have ended, which nobody else can have.
        keeper: of the record, at its place.
        made: all effects to be undone on the record, oldest first.

    Raises:
        Unverified: the system said yes, and reading back shows something else.
        LostBuild: another worker has the build now.
        OutsideError: whatever else the system says.
    """
    m = means()
    values = [one for effect in made for one in (effect.before, *effect.earlier, effect.after)]
    known = [one for one in values if one is not None]
    if not known and not keeper.sole:
        return await _restored(m, build, made, Restored(f"{made[0].key}: nothing was there"))
    record = keeper.recall(made[-1].key, known[-1] if known else {})
    wanted = keeper.former(made[0].before) if made[0].before is not None else None
    async with m.admission.gate(keeper.system, keeper.place):
        there = await keeper.read(record)
        if there is None and any(one.verified_at and one.after is not None for one in made):
            # It was seen there once: that it is gone is believed at the second look.
            await asyncio.sleep(m.deadlines.every)
            there = await keeper.read(record)
        if there is not None and there != wanted and not await is_ours(m, keeper, there):
            words = f"{keeper.key(record)} is left: {keeper.owner(there)} is there now"
            return await _restored(m, build, made, Restored(words, left=True))
        if there != wanted:
            async with m.sessions.begin() as session:
                await _require(session, build)
                other = await effects.relied_on_by(session, made[-1], sole=keeper.sole)
                if other is not None:
                    await effects.hand_over(session, made)
            if other is not None:
                words = f"{keeper.key(record)} is left: {other} has it now"
                return await _restored(m, build, made, Restored(words, left=True))
            _require_lease(m, keeper, f"restore {keeper.key(record)}")
            if there is not None and (wanted is None or not keeper.replaces):
                await keeper.remove(there)
            if wanted is not None:
                await keeper.write(wanted)
            await _verify(m, keeper, record, wanted=wanted)
        state = "gone" if wanted is None else "as before"
        words = f"{keeper.key(record)} is {state}, as {keeper.source} shows"
        return await _restored(m, build, made, Restored(words))


async def _restored(
    m: Means, build: UUID | None, made: Sequence[Effect], restored: Restored
) -> Restored:
    async with m.sessions.begin() as session:
        await _require(session, build)
        if restored.left:
            await effects.leave(session, made, restored.words)
        else:
            await effects.undo(session, made, m.clock(), restored.words)
    return restored


async def _require(session: AsyncSession, build: UUID | None) -> None:
    if build is not None:
        await require_claim(session, build)


def _require_lease(m: Means, keeper: Keeper[Record], operation: str) -> None:
    """Write nothing after a sleep so long that the build may be another worker's by now.

    Raises:
        Unavailable: tried again, it goes on only if the claim is still there.
    """
    if not m.lease_holds():
        raise Unavailable(
            system=keeper.system,
            address=keeper.place,
            operation=operation,
            said="this worker was stopped, or had no database, for longer than its lease lasts",
        )


async def is_ours(m: Means, keeper: Keeper[Record], there: Record) -> bool:
    """Whether what is there is something that we wrote, or stands under a key that is ours."""
    if keeper.sole:
        return True
    async with m.sessions() as session:
        ours = await effects.written_by_us(session, keeper.system, keeper.place, keeper.key(there))
    return keeper.at_rest(there) in ours


async def _must_be_ours(m: Means, keeper: Keeper[Record], there: Record) -> None:
    if not await is_ours(m, keeper, there):
        owner = keeper.owner(there)
        raise Conflict(
            system=keeper.system,
            address=keeper.place,
            operation=f"write {keeper.key(there)}",
            said=f"a record that is not ours is in the way: {owner}",
            owner=owner,
        )


async def _intend(
    m: Means,
    build: UUID,
    keeper: Keeper[Record],
    record: Record,
    *,
    before: Record | None,
    after: Record | None,
    claimed: bool = True,
) -> Effect:
    async with m.sessions.begin() as session:
        await _require(session, build if claimed else None)
        return await effects.intend(
            session,
            build,
            keeper.system,
            keeper.place,
            keeper.key(record),
            keeper.at_rest(before) if before is not None else None,
            keeper.at_rest(after) if after is not None else None,
            m.clock(),
        )


async def _applied(m: Means, build: UUID, effect: Effect, *, claimed: bool = True) -> None:
    async with m.sessions.begin() as session:
        if not claimed or await holds_claim(session, build):
            await effects.applied(session, _id(effect), m.clock())
            return
        # Whoever took the build over has read the record back by now, and that must not go back;
        # but if he has undone it already, what we have just written would stay for ever.
        await effects.came_late(session, _id(effect), m.clock())
    raise LostBuild(f"build {build} is another run's now")


async def _settle(m: Means, build: UUID, effect: Effect, *, claimed: bool = True) -> None:
    async with m.sessions.begin() as session:
        await _require(session, build if claimed else None)
        await effects.verified(session, _id(effect), m.clock())


async def _verify(
    m: Means, keeper: Keeper[Record], record: Record, *, wanted: Record | None
) -> None:
    """Read back until it is so; a success answer is a claim, not evidence."""
    clock = asyncio.get_running_loop().time
    end = clock() + m.deadlines.verify
    while (there := await keeper.read(record)) != wanted:
        if clock() > end:
            raise Unverified(
                system=keeper.system,
                address=keeper.place,
                operation=f"{'write' if wanted else 'remove'} {keeper.key(record)}",
                said=f"it answered yes, but {m.deadlines.verify:g} s later "
                + ("nothing is there" if there is None else f"there is {keeper.owner(there)}"),
            )
        await asyncio.sleep(m.deadlines.every)


def _id(effect: Effect) -> int:
    if effect.id is None:
        raise RuntimeError("an effect must be stored before it is made")
    return effect.id
