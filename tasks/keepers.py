"""Finds the keeper of an effect: undo goes where the record was made, and nowhere else."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlmodel import col, select

from inventory import certificates, consumers, effects
from inventory.database import AsyncSession
from inventory.models import Build, Candlepin, Domain, Effect, Interface, Proxy, Puppet, Subnet
from tasks.boot import boot_config_keeper
from tasks.candlepin import ConsumerKeeper
from tasks.certificates import CertificateKeeper
from tasks.company import Problem
from tasks.dhcp import ReservationKeeper
from tasks.dns import dns_keeper
from tasks.means import means
from tasks.places import proxy_named_in
from tasks.road import Keeper

__all__ = ["UNDOABLE", "keeper_of"]

UNDOABLE = (consumers.SYSTEM, certificates.SYSTEM, effects.DNS, effects.DHCP, effects.TFTP)
"""The systems in which a host has records of its own, in the order in which they are undone."""

Named = TypeVar("Named", Candlepin, Domain, Proxy, Puppet)


async def keeper_of(effect: Effect) -> Keeper[Any] | None:
    """The keeper of the record that an effect made.

    Returns:
        None: it is not one host's to take away, or was no record.

    Raises:
        Problem: the site file does not name its place any more, or credentials are missing.
    """
    async with means().sessions() as session:
        match effect.system:
            case effects.DHCP | effects.DNS | effects.TFTP:
                return await _of_proxy(session, effect)
            case certificates.SYSTEM:
                puppet = await _row(session, Puppet, effect, certificates.PLACE)
                return CertificateKeeper(await means().puppets.of(puppet), effect.place)
            case consumers.SYSTEM if effect.key.startswith(consumers.effect_key("")):
                candlepin = await _row(session, Candlepin, effect, consumers.PLACE)
                return ConsumerKeeper(await means().candlepins.of(candlepin), effect.place)
    return None


async def _of_proxy(session: AsyncSession, effect: Effect) -> Keeper[Any]:
    name, where = proxy_named_in(effect.place)
    proxy = await _named(session, Proxy, name, effect)
    match effect.system:
        case effects.DHCP:
            return ReservationKeeper(means().proxies.of(proxy), effect.place)
        case effects.DNS:
            return dns_keeper(proxy, await _named(session, Domain, where, effect))
    return boot_config_keeper(proxy, await _boots_from(session, proxy, effect))


async def _row(session: AsyncSession, table: type[Named], effect: Effect, before: str) -> Named:
    return await _named(session, table, effect.place.removeprefix(before), effect)


async def _named(session: AsyncSession, table: type[Named], name: str, effect: Effect) -> Named:
    found = (await session.exec(select(table).where(table.name == name))).one_or_none()
    if found is None:
        raise _unknown(effect)
    return found


async def _boots_from(session: AsyncSession, proxy: Proxy, effect: Effect) -> Subnet:
    """A subnet whose boot server the proxy writes for, and the host's own before any other."""
    own = (
        select(Interface.subnet_id)
        .join(Build, col(Build.host_id) == col(Interface.host_id))
        .where(col(Build.id) == effect.build_id, col(Interface.provisioning))
        .scalar_subquery()
    )
    found = await session.exec(
        select(Subnet)
        .where(Subnet.tftp_proxy_id == proxy.id)
        .order_by((col(Subnet.id) == own).desc().nulls_last(), col(Subnet.id))
        .limit(1)
    )
    subnet = found.one_or_none()
    if subnet is None:
        raise _unknown(effect)
    return subnet


def _unknown(effect: Effect) -> Problem:
    return Problem(
        f"{effect.system} {effect.key} was made at {effect.place}, which the site file does not"
        " name any more",
        "Name it again until the host is through; then retry.",
    )
