"""The one road for every change outside: desired, intend, act, verify, record.

Retry, resume, undo, plan and drift are this one mechanism. Killed anywhere between, the task runs
again from the start and ends in the same place: what is already right is left alone.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, TypeVar
from uuid import UUID

from pydantic import BaseModel

from integrations.errors import Conflict, Unverified
from inventory import effects
from inventory.models import Effect
from tasks.company import require_claim
from tasks.means import Means, means

__all__ = ["Keeper", "ensure", "withdraw"]

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


async def ensure(build: UUID, keeper: Keeper[Record], record: Record) -> str:
    """Make a record exist exactly so.

    Args:
        build: on whose account.
        keeper: of this kind of record, at its place.
        record: what must be there.

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
        effect = await _intend(m, build, keeper, record, before=there, after=record)
        if there == record:
            await _settle(m, build, effect)
            return f"{keeper.key(record)} was there already, read from {keeper.source}"
        if there is not None and not keeper.replaces:
            await keeper.remove(there)
        await keeper.write(record)
        await _applied(m, build, effect)
        await _verify(m, keeper, record, wanted=record)
        await _settle(m, build, effect)
    return f"{keeper.key(record)}, read back from {keeper.source}"


async def withdraw(
    build: UUID, keeper: Keeper[Record], record: Record, *, anybodys: bool = False
) -> str:
    """Make a record of ours be gone; the counterpart of ``ensure``, with the same errors.

    Args:
        build: on whose account.
        keeper: of this kind of record, at its place.
        record: names the record by its key; what it says does not matter.
        anybodys: the key itself is ours alone, so that whatever is there goes.
    """
    m = means()
    async with m.admission.gate(keeper.system, keeper.place):
        there = await keeper.read(record)
        if there is not None and not anybodys:
            await _must_be_ours(m, keeper, there)
        effect = await _intend(m, build, keeper, record, before=there, after=None)
        if there is not None:
            await keeper.remove(there)
            await _applied(m, build, effect)
            await _verify(m, keeper, record, wanted=None)
        await _settle(m, build, effect)
    return f"{keeper.key(record)} is gone, as {keeper.source} shows"


async def _must_be_ours(m: Means, keeper: Keeper[Record], there: Record) -> None:
    async with m.sessions() as session:
        ours = await effects.written_by_us(session, keeper.system, keeper.place, keeper.key(there))
    if keeper.at_rest(there) not in ours:
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
) -> Effect:
    async with m.sessions.begin() as session:
        await require_claim(session, build)
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


async def _applied(m: Means, build: UUID, effect: Effect) -> None:
    async with m.sessions.begin() as session:
        # Whoever took the build over has read the record back by now; that must not go back.
        await require_claim(session, build)
        await effects.applied(session, _id(effect), m.clock())


async def _settle(m: Means, build: UUID, effect: Effect) -> None:
    async with m.sessions.begin() as session:
        await require_claim(session, build)
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
