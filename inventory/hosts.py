"""Hosts: how one becomes known, gets its name and addresses, and moves through its life."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import INET, insert
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from inventory import events
from inventory.builds import latest_build, open_build
from inventory.database import AsyncSession
from inventory.errors import (
    AddressTaken,
    MacClaimed,
    NameTaken,
    UnknownBmc,
    UnknownHost,
    UnknownSite,
)
from inventory.life import Event, HostState, next_state
from inventory.models import Bmc, Build, Facts, Host, Interface, Site, Subnet
from inventory.storable import storable_text, storable_values

__all__ = [
    "Discovered",
    "SeenInterface",
    "bmc_named",
    "bmc_of",
    "discover",
    "discovered_name",
    "host_by_mac",
    "host_by_name",
    "keep_facts",
    "lock_host",
    "move",
    "named",
    "of_group",
    "release_address",
    "take_address",
    "take_name",
]

_LEAVES_BY_FACTS = frozenset({HostState.DISCOVERED, HostState.CANCELLED, HostState.RETIRED})
"""Where a host that posts facts begins anew; anywhere else they are kept and move nothing."""


@dataclass(frozen=True)
class SeenInterface:
    """One interface as its host reported it."""

    name: str
    mac: str
    """Six lower-case pairs with colons; the table takes no other spelling."""
    ip: str | None = None


@dataclass(frozen=True)
class Discovered:
    """A host as its discovery image reported it, built from raw facts by the gateway."""

    mac: str
    """Of the interface that it booted from, spelt as in ``SeenInterface``."""
    interfaces: tuple[SeenInterface, ...]
    values: Mapping[str, Any] = field(default_factory=dict)
    """The facts, as received."""

    @property
    def ip(self) -> str | None:
        """The temporary address of the interface that it booted from."""
        return next((one.ip for one in self.interfaces if one.mac == self.mac), None)


def discovered_name(mac: str) -> str:
    """The name of a host that has none yet: ``mac525400aabb01``."""
    return "mac" + mac.replace(":", "")


async def discover(
    session: AsyncSession, seen: Discovered, *, site_id: int | None, at: datetime
) -> tuple[Host, Build, bool]:
    """Keep what a host in discovery reported; the same host may report at the same moment twice.

    A new host gets its first build. One that was cancelled or retired is discovered again, with a
    build of a new generation. A host that is being built or in operation keeps its state.

    Args:
        session: in the caller's transaction; the host stays locked until its end.
        seen: what was reported.
        site_id: where; None: the site of the subnet that its address lies in, else the only one.
        at: when it was received.

    Returns:
        The host, its open build or else its latest, and whether it is new.

    Raises:
        MacClaimed: an interface belongs to another host; roll the transaction back.
        UnknownSite: nothing says where the host is.
    """
    subnet = await _subnet_of(session, seen.ip)
    host_id = await _host_id_by_mac(session, seen.mac)
    new_id = None
    if host_id is None:
        site = site_id or (subnet and subnet.site_id) or await _only_site(session)
        if site is None:
            raise UnknownSite(seen.mac, seen.ip)
        new_id = await _insert_host(session, seen.mac, site, at)
        # Nothing inserted: somebody else did at this moment, and has committed by now.
        host_id = new_id or await _host_id_by_mac(session, seen.mac)
        if host_id is None:
            raise NameTaken(discovered_name(seen.mac), "a host without this MAC address")
    host = await lock_host(session, host_id)
    await _keep_interfaces(session, host, seen, subnet)
    await keep_facts(session, host_id, "discovery", seen.values, at)
    build = await latest_build(session, host_id)
    if build is None or (build.closed_at is not None and host.state in _LEAVES_BY_FACTS):
        build = await open_build(session, host, group=None, asked_by=None, at=at)
    if new_id is not None:
        await events.record(session, host, Event.FACTS, was=None, at=at)
    elif host.state in _LEAVES_BY_FACTS:
        await move(session, host, Event.FACTS, at)
    return host, build, new_id is not None


async def _insert_host(session: AsyncSession, mac: str, site_id: int, at: datetime) -> int | None:
    statement = (
        insert(Host)
        .values(site_id=site_id, name=discovered_name(mac), state_since=at, created_at=at)
        .on_conflict_do_nothing()
        .returning(col(Host.id))
    )
    found: int | None = (await session.exec(statement)).scalar_one_or_none()
    return found


async def _keep_interfaces(
    session: AsyncSession, host: Host, seen: Discovered, subnet: Subnet | None
) -> None:
    reported = {one.mac: one for one in seen.interfaces}
    reported.setdefault(seen.mac, SeenInterface(name="", mac=seen.mac))
    rows = [
        {
            "host_id": host.id,
            "mac": one.mac,
            "name": storable_text(one.name),
            "discovered_ip": one.ip,
        }
        # In one order for everybody, so that two hosts with common addresses cannot deadlock.
        for one in sorted(reported.values(), key=lambda one: one.mac)
    ]
    statement = insert(Interface).values(rows)
    kept = await session.exec(
        statement.on_conflict_do_update(
            index_elements=["mac"],
            set_={
                "name": statement.excluded.name,
                "discovered_ip": statement.excluded.discovered_ip,
            },
            where=col(Interface.host_id) == host.id,
        ).returning(col(Interface.mac))
    )
    foreign = set(reported) - set(kept.scalars())
    if foreign:
        await _refuse_mac(session, min(foreign))
    await _mark_provisioning(session, host, seen.mac, subnet)


async def _refuse_mac(session: AsyncSession, mac: str) -> NoReturn:
    owner = await host_by_mac(session, mac)
    raise MacClaimed(mac, owner.name if owner else "(unknown)")


async def _mark_provisioning(
    session: AsyncSession, host: Host, mac: str, subnet: Subnet | None
) -> None:
    # What a build has reserved belongs to the interface that it was begun with.
    marked = await session.exec(
        select(Interface.mac).where(col(Interface.host_id) == host.id, col(Interface.provisioning))
    )
    present = marked.one_or_none()
    if present is not None and (present == mac or host.state not in _LEAVES_BY_FACTS):
        return
    # Two statements: the unique index is checked row by row.
    await session.exec(
        sa.update(Interface).where(col(Interface.host_id) == host.id).values(provisioning=False)
    )
    await session.exec(
        sa.update(Interface)
        .where(col(Interface.mac) == mac)
        .values(provisioning=True, subnet_id=subnet.id if subnet else None)
    )


async def keep_facts(
    session: AsyncSession, host_id: int, source: str, values: Mapping[str, Any], at: datetime
) -> None:
    """Keep the latest facts of a host from a source: ``discovery``, ``first_boot``, ``puppet``."""
    statement = insert(Facts).values(
        host_id=host_id, source=source, received_at=at, values=storable_values(values)
    )
    await session.exec(
        statement.on_conflict_do_update(
            index_elements=["host_id", "source"],
            set_={
                "received_at": statement.excluded.received_at,
                "values": statement.excluded["values"],
            },
        )
    )


async def _subnet_of(session: AsyncSession, ip: str | None) -> Subnet | None:
    if ip is None:
        return None
    found = await session.exec(
        select(Subnet)
        .where(col(Subnet.network).op(">>=")(sa.cast(ip, INET)))
        .order_by(sa.func.masklen(col(Subnet.network)).desc())
        .limit(1)
    )
    return found.one_or_none()


async def _only_site(session: AsyncSession) -> int | None:
    found = (await session.exec(select(Site.id).limit(2))).all()
    return found[0] if len(found) == 1 else None


async def _host_id_by_mac(session: AsyncSession, mac: str) -> int | None:
    found = await session.exec(select(Interface.host_id).where(col(Interface.mac) == mac))
    return found.one_or_none()


async def host_by_mac(session: AsyncSession, mac: str) -> Host | None:
    """The host that has an interface with a MAC address."""
    found = await session.exec(select(Host).join(Interface).where(col(Interface.mac) == mac))
    return found.one_or_none()


async def host_by_name(session: AsyncSession, name: str) -> Host | None:
    """The host with a name."""
    return (await session.exec(select(Host).where(col(Host.name) == name))).one_or_none()


async def bmc_of(session: AsyncSession, mac: str) -> Bmc | None:
    """How the machine with this boot interface is switched; None: nothing is known."""
    return (await session.exec(select(Bmc).where(col(Bmc.mac) == mac))).one_or_none()


async def bmc_named(session: AsyncSession, name: str) -> Bmc:
    """The BMC of a name in the site file.

    Raises:
        UnknownBmc: there is none; the message names those that are.
    """
    found = (await session.exec(select(Bmc).where(col(Bmc.name) == name))).one_or_none()
    if found is None:
        others = await session.exec(select(Bmc.name).order_by(Bmc.name))
        raise UnknownBmc(name, list(others))
    return found


async def named(session: AsyncSession, name: str) -> Host:
    """The host of a name, in any case.

    Raises:
        UnknownHost: there is none.
    """
    host = await host_by_name(session, name.strip().lower())
    if host is None:
        raise UnknownHost(name)
    return host


async def of_group(session: AsyncSession, group_id: int) -> list[Host]:
    """The hosts of a host group by name, without those that are retired."""
    found = await session.exec(
        select(Host)
        .where(col(Host.host_group_id) == group_id, col(Host.state) != HostState.RETIRED)
        .order_by(col(Host.name))
    )
    return list(found)


async def lock_host(session: AsyncSession, host_id: int) -> Host:
    """Lock a host until the end of the transaction, and read it as it is now."""
    found = await session.exec(
        select(Host)
        .where(col(Host.id) == host_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return found.one()


async def move(session: AsyncSession, host: Host, event: Event, at: datetime) -> None:
    """Move a host as its table of life says, under its lock.

    ``state_since`` changes only with the state. ``HOLD`` and ``RETRY`` belong to
    ``builds.hold`` and ``builds.resume``, which keep why and where from.

    Raises:
        ForbiddenTransition: the host is in a state that cannot follow the event.
    """
    host = await lock_host(session, host.id)
    was, target = host.state, next_state(host.state, event)
    if target is not was:
        host.state, host.state_since = target, at
    await session.flush()
    if target is not was:
        await events.record(session, host, event, was=was, at=at)


def _title(host: Host | None) -> str:
    return f"host {host.id} ({host.state})" if host else "a host that is gone meanwhile"


async def take_name(session: AsyncSession, host: Host, fqdn: str) -> None:
    """Give a host its full name; one that is retired gives it up for that.

    Raises:
        NameTaken: another host has it; the transaction goes on.
    """
    await _free_name(session, fqdn)
    try:
        async with session.begin_nested():
            await session.exec(sa.update(Host).where(col(Host.id) == host.id).values(name=fqdn))
    except IntegrityError:
        owner = await host_by_name(session, fqdn)
        raise NameTaken(fqdn, _title(owner)) from None


async def _free_name(session: AsyncSession, fqdn: str) -> None:
    mac = (
        select(Interface.mac)
        .where(col(Interface.host_id) == col(Host.id), col(Interface.provisioning))
        .scalar_subquery()
    )
    await session.exec(
        sa.update(Host)
        .where(col(Host.name) == fqdn, col(Host.state) == HostState.RETIRED)
        .values(name=sa.func.coalesce("mac" + sa.func.replace(mac, ":", ""), f"(retired) {fqdn}"))
        .execution_options(synchronize_session=False)
    )


async def release_address(session: AsyncSession, host_id: int) -> None:
    """Give back the addresses that a host was to have for good."""
    await session.exec(
        sa.update(Interface).where(col(Interface.host_id) == host_id).values(ip=None)
    )


async def take_address(session: AsyncSession, interface: Interface, ip: str) -> None:
    """Reserve an address for an interface; it may have it already.

    Raises:
        AddressTaken: another interface has it; the transaction goes on.
    """
    try:
        async with session.begin_nested():
            await session.exec(
                sa.update(Interface).where(col(Interface.id) == interface.id).values(ip=ip)
            )
    except IntegrityError:
        owner = (
            await session.exec(
                select(Host.name).join(Interface).where(col(Interface.ip) == sa.cast(ip, INET))
            )
        ).one_or_none()
        raise AddressTaken(ip, owner or "(released meanwhile)") from None
