"""Effects: the changes that we made outside, written before they are made, to be undone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from inventory.database import AsyncSession
from inventory.models import Build, BuildOutcome, Effect, EffectState, Host

__all__ = [
    "DHCP",
    "DNS",
    "TFTP",
    "applied",
    "came_late",
    "confirm",
    "hand_over",
    "intend",
    "late",
    "leave",
    "of_build",
    "of_host",
    "relied_on_by",
    "standing",
    "undo",
    "undone",
    "unneeded",
    "verified",
    "written_by_us",
]

DHCP, DNS, TFTP = "DHCP", "DNS", "TFTP"
"""What effects of these systems are called."""
_OVER = (EffectState.UNDONE, EffectState.LEFT)


async def intend(
    session: AsyncSession,
    build_id: UUID,
    system: str,
    place: str,
    key: str,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    at: datetime,
) -> Effect:
    """Write down a change before it is made.

    Intending it again keeps the *original* ``before``: what is found there the second time may be
    what we wrote the first time. An ``after`` that is replaced is kept in ``earlier``, because
    until the new one is written the old one stands outside and is ours. An effect that was undone
    begins anew.

    Args:
        session: commit it before the change is made.
        build_id: for which build.
        system: ``DHCP``, ``DNS``, ``TFTP``, ``boot file``.
        place: where exactly: the proxy, and there the subnet, zone or directory.
        key: the record: MAC address, name and type, path.
        before: what is there now; None: nothing.
        after: what shall be there; None: nothing.
        at: the present.
    """
    new = insert(Effect).values(
        build_id=build_id,
        system=system,
        place=place,
        key=key,
        before=before,
        after=after,
        intended_at=at,
    )
    replaced = sa.func.jsonb_build_array(col(Effect.after))
    kept = await session.exec(
        new.on_conflict_do_update(
            index_elements=["build_id", "system", "place", "key"],
            set_={
                "before": sa.case(
                    (col(Effect.state).in_(_OVER), new.excluded.before),
                    else_=col(Effect.before),
                ),
                "after": new.excluded.after,
                "earlier": sa.case(
                    (
                        col(Effect.after).is_distinct_from(new.excluded.after),
                        col(Effect.earlier).op("||", return_type=JSONB())(replaced),
                    ),
                    else_=col(Effect.earlier),
                ),
                "state": EffectState.INTENDED,
                "intended_at": at,
                "applied_at": None,
                "verified_at": None,
                "undone_at": None,
                "seen": "",
            },
        )
        .returning(Effect)
        .execution_options(populate_existing=True)
    )
    effect: Effect = kept.scalar_one()
    return effect


async def applied(session: AsyncSession, effect_id: int, at: datetime) -> None:
    """Say that the outside system took the change."""
    await _set(session, effect_id, state=EffectState.APPLIED, applied_at=at)


async def verified(session: AsyncSession, effect_id: int, at: datetime) -> None:
    """Say that the change was read back from the system that owns it."""
    await _set(session, effect_id, state=EffectState.VERIFIED, verified_at=at)


async def undone(session: AsyncSession, effect_id: int, at: datetime) -> None:
    """Say that what was there before is there again."""
    await _set(session, effect_id, state=EffectState.UNDONE, undone_at=at)


async def undo(session: AsyncSession, made: Iterable[Effect], at: datetime, seen: str) -> None:
    """Say that what was there before several effects on one record is there again, and what is."""
    values = {"state": EffectState.UNDONE, "undone_at": at, "seen": seen}
    await session.exec(sa.update(Effect).where(_any_of(made)).values(**values))


async def leave(session: AsyncSession, made: Iterable[Effect], seen: str) -> None:
    """Say that effects are not undone, and why."""
    values = {"state": EffectState.LEFT, "seen": seen}
    await session.exec(sa.update(Effect).where(_any_of(made)).values(**values))


def _any_of(made: Iterable[Effect]) -> sa.ColumnElement[bool]:
    return col(Effect.id).in_([one.id for one in made])


async def came_late(session: AsyncSession, effect_id: int, at: datetime) -> None:
    """A write reached its system after its effect was undone: it stands again, and is undone anew.

    That is a worker which slept between its last look at the claim and the write.
    """
    await session.exec(
        sa.update(Effect)
        .where(col(Effect.id) == effect_id, col(Effect.state) == EffectState.UNDONE)
        .values(state=EffectState.APPLIED, applied_at=at, undone_at=None, seen="written late")
    )


async def late(session: AsyncSession, systems: Iterable[str], limit: int) -> list[Effect]:
    """Effects that came late to builds which were given up, in the order of their intention."""
    found = await session.exec(
        select(Effect)
        .join(Build, col(Build.id) == col(Effect.build_id))
        .where(
            col(Build.outcome).in_((BuildOutcome.CANCELLED, BuildOutcome.RETIRED)),
            col(Effect.state) == EffectState.APPLIED,
            col(Effect.system).in_(list(systems)),
        )
        .order_by(col(Effect.id))
        .limit(limit)
    )
    return list(found)


async def confirm(
    session: AsyncSession, build_id: UUID, system: str, place: str, key: str, at: datetime
) -> None:
    """Say that the record of an effect was seen where it should be, whoever has made it."""
    await session.exec(
        sa.update(Effect)
        .where(
            col(Effect.build_id) == build_id,
            col(Effect.system) == system,
            col(Effect.place) == place,
            col(Effect.key) == key,
        )
        .values(state=EffectState.VERIFIED, verified_at=at)
    )


async def _set(session: AsyncSession, effect_id: int, **values: EffectState | datetime) -> None:
    await session.exec(sa.update(Effect).where(col(Effect.id) == effect_id).values(**values))


async def of_build(session: AsyncSession, build_id: UUID) -> list[Effect]:
    """The effects of a build in the order of their first intention; undo goes backwards."""
    found = await session.exec(
        select(Effect)
        .where(col(Effect.build_id) == build_id)
        .order_by(col(Effect.id))
        .execution_options(populate_existing=True)
    )
    return list(found)


async def of_host(session: AsyncSession, host_id: int) -> list[Effect]:
    """The effects of all builds of a host, in the order of their first intention."""
    found = await session.exec(_of_host(host_id).execution_options(populate_existing=True))
    return list(found)


async def standing(session: AsyncSession, host_id: int) -> list[Effect]:
    """Effects of all builds of a host that are neither undone nor left."""
    found = await session.exec(
        _of_host(host_id)
        .where(col(Effect.state).not_in(_OVER))
        .execution_options(populate_existing=True)
    )
    return list(found)


def _of_host(host_id: int) -> SelectOfScalar[Effect]:
    return (
        select(Effect)
        .join(Build, col(Build.id) == col(Effect.build_id))
        .where(col(Build.host_id) == host_id)
        .order_by(col(Effect.id))
    )


async def unneeded(
    session: AsyncSession, system: str, place: str, key: str | None = None
) -> list[Effect]:
    """Effects at a place whose record no open build relies on.

    For records that many builds share, such as boot files: each has an effect for every build.

    Args:
        session: in the caller's transaction.
        system: as for ``intend``.
        place: as for ``intend``.
        key: of one record; None: of all.
    """
    other = aliased(Effect)
    needed = sa.exists().where(
        col(other.build_id) == col(Build.id),
        col(Build.closed_at).is_(None),
        col(other.system) == system,
        col(other.place) == place,
        col(other.key) == col(Effect.key),
    )
    found = await session.exec(
        select(Effect)
        .where(
            col(Effect.system) == system,
            col(Effect.place) == place,
            col(Effect.state) != EffectState.UNDONE,
            sa.true() if key is None else col(Effect.key) == key,
            ~needed,
        )
        .order_by(col(Effect.id))
    )
    return list(found)


async def relied_on_by(session: AsyncSession, made: Effect, *, sole: bool) -> str | None:
    """Name of another host that has the record of an effect by now; None: nobody else has.

    Names and addresses change hands; whoever has them now needs the record, though we wrote it for
    another one first.

    Args:
        session: in the caller's transaction.
        made: the effect.
        sole: whether the key is one host's alone: then what is there has come since it was last
            cleaned, and belongs to the host for which that was done.
    """
    other, living = aliased(Effect), aliased(Build)
    found = await session.exec(
        select(Host.name)
        .join(living, col(living.host_id) == col(Host.id))
        .join(other, col(other.build_id) == col(living.id))
        .where(
            col(Host.id) != _host_of(made),
            sa.or_(
                col(living.closed_at).is_(None), col(living.outcome) == BuildOutcome.IN_OPERATION
            ),
            col(other.system) == made.system,
            col(other.place) == made.place,
            col(other.key) == made.key,
            sa.true() if sole else col(other.after).is_not(None),
            col(other.state).not_in(_OVER),
        )
        .limit(1)
    )
    return found.first()


async def hand_over(session: AsyncSession, made: Sequence[Effect]) -> None:
    """Let other hosts' effects on a record begin with what was there before these.

    Else their undo would bring back what these wrote, which nobody would take away any more.

    Args:
        session: in the caller's transaction.
        made: all effects of one host on the record, oldest first.
    """
    first, other = made[0], aliased(Effect)
    found = await session.exec(
        select(other)
        .join(Build, col(Build.id) == col(other.build_id))
        .where(
            col(Build.host_id) != _host_of(first),
            col(other.system) == first.system,
            col(other.place) == first.place,
            col(other.key) == first.key,
            col(other.before).is_not(None),
            col(other.state).not_in(_OVER),
        )
    )
    written = [value for one in made for value in (*one.earlier, one.after)]
    for one in found:
        if one.before in written:
            one.before = first.before


def _host_of(made: Effect) -> sa.ScalarSelect[int]:
    return select(Build.host_id).where(col(Build.id) == made.build_id).scalar_subquery()


async def written_by_us(
    session: AsyncSession, system: str, place: str, key: str
) -> list[dict[str, Any] | None]:
    """Every value that any build of ours wrote, or was about to write, at a place, newest first.

    A value found there that is not in this list is somebody else's.
    """
    found = await session.exec(
        select(Effect)
        .where(col(Effect.system) == system, col(Effect.place) == place, col(Effect.key) == key)
        .order_by(col(Effect.intended_at).desc(), col(Effect.id).desc())
        .execution_options(populate_existing=True)
    )
    return [value for one in found for value in (one.after, *reversed(one.earlier))]
