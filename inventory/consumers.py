"""What hosts are to Candlepin: who may register, under which UUID, and whose a UUID is.

A UUID is chosen and written down before Candlepin is asked to make the consumer. So a registration
that is repeated, because an answer was lost or Candlepin was away, ends with one consumer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlmodel import col, select

from inventory import builds, effects, steps
from inventory.arrows import PROFILED, Evidence
from inventory.database import AsyncSession
from inventory.errors import NotAdmitted
from inventory.hosts import lock_host
from inventory.life import AT_WORK
from inventory.models import Build, Candlepin, Consumer, Host, HostGroup

__all__ = [
    "PLACE",
    "SYSTEM",
    "Known",
    "Registration",
    "admit",
    "begin_anew",
    "by_uuid",
    "check_in",
    "effect_key",
    "forget",
    "of_host",
    "place",
    "registered",
    "renew",
]

SYSTEM = "Candlepin"
PLACE = "Candlepin "
"""Before its name, in the places of effects."""
_SUBSCRIBED = 23
_MOST_KEYS = 20


@dataclass(frozen=True)
class Registration:
    """A host that may register: as what, and where."""

    host_id: int
    build_id: UUID
    name: str
    uuid: str
    owner: str
    key: str
    """The activation key that Candlepin knows."""
    environments: tuple[str, ...]
    effect_id: int
    fresh: bool
    """The UUID was chosen just now, so that nobody can have it."""


@dataclass(frozen=True)
class Known:
    """Whose a UUID is."""

    consumer: Consumer
    host: Host
    build: Build
    """In which it registered; it may have ended long since."""


def place(candlepin: Candlepin) -> str:
    """How effects name it."""
    return f"{PLACE}{candlepin.name}"


def effect_key(uuid: str) -> str:
    """How effects name a consumer."""
    return f"consumer {uuid}"


async def admit(
    session: AsyncSession,
    *,
    candlepin_url: str,
    name: str,
    owner: str,
    keys: Sequence[str],
    at: datetime,
) -> Registration:
    """Say whether a host may register, and write down as what, before Candlepin is asked.

    One of the keys must be the registration token of its build: the others are known to all hosts
    of the group.

    Args:
        session: in the caller's transaction; commit it before Candlepin is asked.
        candlepin_url: of the Candlepin behind the front that was asked.
        name: that the host gives itself.
        owner: key of the organization that it names.
        keys: the activation keys that it names.
        at: the present.

    Raises:
        NotAdmitted: it may not, with the reason.
    """
    build = await _build_of(session, keys[:_MOST_KEYS])
    if build is None:
        raise NotAdmitted(
            f"none of the activation keys of {name} is the token of an open build: hosts register"
            " while they are being built, with the keys that their kickstart has"
        )
    host = await lock_host(session, build.host_id)
    build = await builds.lock_build(session, build.id)
    if host.name != name.lower():
        raise NotAdmitted(f"the keys are those of {host.name}, and not of {name}")
    if build.closed_at is not None or builds.stage(host, build) not in AT_WORK:
        raise NotAdmitted(f"{name} is {host.state} and not being built")
    group, candlepin = await _place_of(session, build)
    if candlepin.url != candlepin_url:
        raise NotAdmitted(
            f"the host group of {name} names the Candlepin {candlepin.name} at {candlepin.url}, and"
            f" this front is that of {candlepin_url}"
        )
    wanted = (group.owner or "", group.activation_key or "")
    if owner != wanted[0] or wanted[1] not in keys:
        raise NotAdmitted(
            f"{name} registers in {wanted[0]} with the activation key {wanted[1]}, as its host"
            f" group {group.name} says, and not in {owner} with {_without_tokens(keys)}"
        )
    uuid, fresh = await _uuid_for(session, host, build, candlepin, owner, at)
    return await _intended(session, host, build, group, candlepin, uuid, fresh=fresh, at=at)


def _without_tokens(keys: Sequence[str]) -> str:
    shown = [one for one in keys if len(one) < len(builds.registration_token(""))]
    return ", ".join(shown) or "no key"


async def _build_of(session: AsyncSession, keys: Sequence[str]) -> Build | None:
    hashes = [builds.token_hash(one) for one in keys]
    found = await session.exec(select(Build).where(col(Build.registration_hash).in_(hashes)))
    return found.first()


async def _place_of(session: AsyncSession, build: Build) -> tuple[HostGroup, Candlepin]:
    found = await session.exec(
        select(HostGroup, Candlepin)
        .join(Candlepin, col(Candlepin.id) == col(HostGroup.candlepin_id))
        .where(HostGroup.id == build.host_group_id)
    )
    row = found.one_or_none()
    if row is None:
        raise NotAdmitted("the host group of this build names no Candlepin")
    return row


async def _uuid_for(
    session: AsyncSession,
    host: Host,
    build: Build,
    candlepin: Candlepin,
    owner: str,
    at: datetime,
) -> tuple[str, bool]:
    known = await session.get(Consumer, host.id)
    fresh = known is None
    if known is None:
        known = Consumer(
            host_id=host.id,
            candlepin_id=candlepin.id,
            owner=owner,
            uuid=str(uuid4()),
            build_id=build.id,
            chosen_at=at,
        )
        session.add(known)
    elif (known.candlepin_id, known.owner) != (candlepin.id, owner):
        raise NotAdmitted(
            f"{host.name} is a consumer of the organization {known.owner} still: provision it anew,"
            " which removes that first"
        )
    known.build_id = build.id
    await session.flush()
    return known.uuid, fresh


async def _intended(
    session: AsyncSession,
    host: Host,
    build: Build,
    group: HostGroup,
    candlepin: Candlepin,
    uuid: str,
    *,
    fresh: bool,
    at: datetime,
) -> Registration:
    owner = group.owner or ""
    after = {"uuid": uuid, "name": host.name, "owner": owner}
    effect = await effects.intend(
        session, build.id, SYSTEM, place(candlepin), effect_key(uuid), None, after, at
    )
    await steps.begin(session, [build.id], _SUBSCRIBED, None, at)
    await steps.note(session, build.id, _SUBSCRIBED, f"asks to be registered as {uuid}")
    return Registration(
        host_id=host.id,
        build_id=build.id,
        name=host.name,
        uuid=uuid,
        owner=owner,
        key=group.activation_key or "",
        environments=tuple(group.content_environments),
        effect_id=effect.id,
        fresh=fresh,
    )


async def renew(session: AsyncSession, registration: Registration, at: datetime) -> Registration:
    """Another UUID, because Candlepin says that the consumer of the former one was deleted.

    Two requests of one host find the same: the second keeps what the first has chosen.
    """
    await lock_host(session, registration.host_id)
    known = await session.get_one(Consumer, registration.host_id, populate_existing=True)
    fresh = known.uuid == registration.uuid
    if fresh:
        # What was seen of the former one is over with it.
        await steps.reopen(session, registration.build_id, _SUBSCRIBED)
        known.uuid, known.registered_at, known.checked_in_at = str(uuid4()), None, None
        known.chosen_at = at
        await session.flush()
    build = await session.get_one(Build, registration.build_id)
    host = await session.get_one(Host, registration.host_id)
    group, candlepin = await _place_of(session, build)
    return await _intended(session, host, build, group, candlepin, known.uuid, fresh=fresh, at=at)


async def registered(session: AsyncSession, registration: Registration, at: datetime) -> None:
    """Candlepin has the consumer (arrow 23): reported by the answer, read back by the next flow."""
    # The host first, as everywhere: two locks in two orders would be a deadlock.
    await lock_host(session, registration.host_id)
    await session.exec(
        sa.update(Consumer)
        .where(
            col(Consumer.host_id) == registration.host_id,
            col(Consumer.uuid) == registration.uuid,
        )
        .values(registered_at=sa.func.coalesce(col(Consumer.registered_at), at))
    )
    await effects.applied(session, registration.effect_id, at)
    await steps.finish(
        session,
        registration.build_id,
        _SUBSCRIBED,
        evidence=Evidence.REPORTED,
        seen=f"registered as {registration.uuid} in {registration.owner}",
        at=at,
    )


async def by_uuid(session: AsyncSession, uuid: str) -> Known | None:
    """Whose a UUID is; None: no host's of ours."""
    found = await session.exec(
        select(Consumer, Host, Build)
        .join(Host, col(Host.id) == col(Consumer.host_id))
        .join(Build, col(Build.id) == col(Consumer.build_id))
        .where(Consumer.uuid == uuid)
    )
    row = found.one_or_none()
    return Known(*row) if row else None


async def of_host(session: AsyncSession, host_id: int) -> Consumer | None:
    """What a host is to Candlepin, as far as we have written down."""
    return await session.get(Consumer, host_id, populate_existing=True)


async def check_in(session: AsyncSession, uuid: str, at: datetime) -> None:
    """A host has come with its identity certificate."""
    await session.exec(
        sa.update(Consumer).where(col(Consumer.uuid) == uuid).values(checked_in_at=at)
    )


async def forget(session: AsyncSession, uuid: str) -> None:
    """Candlepin has no such consumer any more; while its host is being built, it must be again."""
    known = await by_uuid(session, uuid)
    if known is not None and known.build.closed_at is None:
        await steps.reopen(session, known.build.id, _SUBSCRIBED)
    await session.exec(sa.delete(Consumer).where(col(Consumer.uuid) == uuid))


async def begin_anew(session: AsyncSession, build: Build) -> None:
    """A host begins its installation once more: it registers, and reports, once more."""
    await steps.reopen(session, build.id, (_SUBSCRIBED, *PROFILED))
