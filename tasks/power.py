"""Arrows 1, 16 and 17: switch the machine, by BMC, SSH or the discovery image's own API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from enum import Enum, auto
from ipaddress import IPv4Address

from prefect import task

from integrations.errors import OutsideError, Unavailable, Unsupported, Unverified
from integrations.power import BootDevice, Power, PowerState
from integrations.power.factory import power_for
from integrations.records import normal_mac
from integrations.smart_proxy import SmartProxy
from inventory import builds, effects, hosts
from inventory.arrows import Evidence
from inventory.context import Arrival, BuildContext
from inventory.database import AsyncSession
from inventory.life import Event, HostState
from inventory.models import Effect, EffectState, Interface
from tasks.company import Company, Seen, each, each_arrival, require_claim, step
from tasks.credentials import power_settings
from tasks.means import means

__all__ = ["order_reboot", "see_power"]

_SYSTEM = "power"
"""Of the effect that an order to restart is: nothing can undo it, but it is given once."""

_NO_ANSWER_SECONDS = 3.0
"""A machine that is gone refuses nothing: it says nothing at all."""


async def _power_of(interface: Interface) -> Power | None:
    async with means().sessions() as session:
        bmc = await hosts.bmc_of(session, interface.mac)
    return power_for(await power_settings(bmc)) if bmc is not None else None


@task(**step("See that the host has power", 1))
async def see_power(company: Company) -> Company:
    """Read the power state where a BMC is known; else the host's own facts must do."""
    return await each_arrival(company, (1,), _see_power, recheck=True)


async def _see_power(arrival: Arrival) -> Seen:
    power = await _power_of(arrival.interface)
    if power is None:
        return Seen("it sent facts, so it has power; no BMC is known for it", Evidence.IMPLIED)
    try:
        state = await power.state()
    finally:
        await power.close()
    if state is PowerState.ON:
        return Seen("its BMC says that it is on")
    return Seen(f"it sent facts, so it has power; its BMC says {state}", Evidence.IMPLIED)


@task(**step("Order the reboot", 16, 17))
async def order_reboot(company: Company) -> Company:
    """Restart the host into its installer; everything before must have been verified."""
    return await each(company, (16, 17), _reboot)


async def _reboot(context: BuildContext) -> Seen:
    m = means()
    async with m.sessions.begin() as session:
        # Before the order: the host may ask for its kickstart before we are told of success.
        host = await hosts.lock_host(session, context.build.host_id)
        await require_claim(session, context.build.id)
        build = await builds.lock_build(session, context.build.id)
        if host.state is HostState.PREPARING:
            await hosts.move(session, host, Event.REBOOT, m.clock())
        elif host.state is not HostState.REBOOTING:
            return Seen(f"the host is {host.state} already", Evidence.IMPLIED)
        build.deadline = m.clock() + timedelta(minutes=context.group.install_minutes)
        earlier = await _earlier_order(session, context)
        order = await effects.intend(
            session,
            context.build.id,
            _SYSTEM,
            context.tftp_proxy.url,
            context.interface.mac,
            None,
            {"order": "restart"},
            m.clock(),
        )
    power = await _power_of(context.interface)
    if power is None:
        seen = await _restart_discovered(context, order, earlier)
    else:
        seen = await _restart(power, order, earlier)
    async with m.sessions.begin() as session:
        await require_claim(session, order.build_id)
        await effects.verified(session, order.id, m.clock())
    return seen


async def _earlier_order(session: AsyncSession, context: BuildContext) -> EffectState | None:
    """How far an order is that was given, or was about to be, when a worker died."""
    found = await effects.of_build(session, context.build.id)
    return next((one.state for one in found if one.system == _SYSTEM), None)


@asynccontextmanager
async def _ordering(order: Effect) -> AsyncIterator[None]:
    """Say how an order ended; killed meanwhile, it stays intended, which is "perhaps given"."""
    m = means()
    if not m.lease_holds():
        raise Unavailable(
            system="power",
            address=order.key,
            operation="restart the host",
            said="this worker was stopped, or had no database, for longer than its lease lasts",
        )
    try:
        yield
    except Unavailable:
        raise  # it may have been given, and only the answer been lost
    except OutsideError:
        await _not_given(order)
        raise
    async with m.sessions.begin() as session:
        await require_claim(session, order.build_id)
        await effects.applied(session, order.id, m.clock())


async def _not_given(order: Effect) -> None:
    m = means()
    async with m.sessions.begin() as session:
        await require_claim(session, order.build_id)
        await effects.undone(session, order.id, m.clock())


async def _restart(power: Power, order: Effect, earlier: EffectState | None) -> Seen:
    try:
        words = "restarted through its BMC before the worker died"
        if earlier not in (EffectState.APPLIED, EffectState.VERIFIED):
            async with _ordering(order):
                words = f"{await _network_next(power)}restarted through its BMC"
                await power.reboot()
        state = await power.state()
    finally:
        await power.close()
    evidence = Evidence.OBSERVED if state is PowerState.ON else Evidence.REPORTED
    return Seen(f"{words}, which says {state}", evidence)


async def _network_next(power: Power) -> str:
    try:
        await power.boot_once(BootDevice.PXE)
    except Unsupported:
        return ""
    return "its next boot is set to the network and read back; "


async def _restart_discovered(
    context: BuildContext, order: Effect, earlier: EffectState | None
) -> Seen:
    m = means()
    proxy = m.proxies.of(context.tftp_proxy)
    if context.interface.discovered_ip is None:
        return _by_hand("no discovery image of it was ever heard of")
    ip = IPv4Address(context.interface.discovered_ip)
    image, said = await _image_at(proxy, ip, context.interface.mac)
    perhaps_given = earlier not in (None, EffectState.UNDONE)
    # To order again a host that has gone would fail, and hold it on its way into the installer.
    if perhaps_given and image is not _Image.ITS_OWN:
        return Seen(
            f"the discovery image at {ip} is silent after an order that the worker did not outlive",
            Evidence.IMPLIED,
        )
    if image is _Image.ANOTHERS:
        return _by_hand(f"{ip} is another machine's by now")
    if image is _Image.SILENT and context.build.generation > 1:
        return _by_hand(f"no discovery image answers at {ip}")
    if image is _Image.SILENT:
        await _not_given(order)
        raise Unavailable(
            system="discovery image",
            address=str(ip),
            operation="restart",
            said=f"{said} (is the machine off?)",
        )
    async with _ordering(order):
        await proxy.discovery_reboot(ip)
    # The image's "true" is only a promise: its silence is the first sign that it kept it.
    clock = asyncio.get_running_loop().time
    end = clock() + m.deadlines.silence
    while clock() < end:
        image, _ = await _image_at(proxy, ip, context.interface.mac)
        if image is not _Image.ITS_OWN:
            return Seen(f"the discovery image at {ip} took the order and fell silent")
        await asyncio.sleep(m.deadlines.every)
    raise Unverified(
        system="discovery image",
        address=str(ip),
        operation="restart",
        said=f"it promised to, but still answers {m.deadlines.silence:g} s later",
    )


def _by_hand(why: str) -> Seen:
    """A host that is built anew runs its own system, and is waited for until a person has come."""
    return Seen(
        f"restart it by hand, so that it boots the network: no BMC is known, and {why}",
        Evidence.IMPLIED,
    )


class _Image(Enum):
    """What answers where a host was discovered."""

    ITS_OWN = auto()
    ANOTHERS = auto()
    SILENT = auto()


async def _image_at(proxy: SmartProxy, ip: IPv4Address, mac: str) -> tuple[_Image, str]:
    """Whose image answers, or, in the proxy's words, why none does."""
    try:
        async with asyncio.timeout(_NO_ANSWER_SECONDS):
            facts = await proxy.discovery_facts(ip)
    except Unavailable as error:
        return _Image.SILENT, error.said
    except TimeoutError:
        return _Image.SILENT, f"no answer within {_NO_ANSWER_SECONDS:g} s"
    # The address was given for a while only.
    try:
        booted = normal_mac(str(facts.get("discovery_bootif")))
    except ValueError:
        return _Image.ITS_OWN, ""
    return (_Image.ITS_OWN if booted == mac else _Image.ANOTHERS), booted
