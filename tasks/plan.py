"""What provisioning a host would create, change and leave, and what is in its way; only looks."""

from __future__ import annotations

import asyncio
import difflib
import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from prefect import task
from pydantic import BaseModel, ConfigDict, ValidationError

from integrations.errors import OutsideError
from integrations.records import BootConfig, Reservation
from inventory import acts, certificates, hosts, kickstarts, orders, plans
from inventory.allowed import MAY_BE_PROVISIONED
from inventory.context import BuildContext, prospect
from inventory.database import CHANNEL_CALLBACKS, notify
from inventory.life import HostState
from inventory.models import Door, Host, Role
from inventory.rights import Actor
from tasks import desired
from tasks.boot import boot_config_keeper
from tasks.candlepin import group_records, stale_consumers
from tasks.certificates import Certificate, CertificateKeeper
from tasks.company import Problem
from tasks.dhcp import reservation_keeper
from tasks.means import means
from tasks.road import Keeper, is_ours
from tasks.survey import names_and_address, told
from tasks.trees import Ahead, look_ahead
from templates.for_build import kickstart_input
from templates.render import UnknownTemplate, render_kickstart

__all__ = ["Change", "Line", "Plan", "keep_plan", "order_planned", "plan_hosts"]

_APPROVED = Actor("an approved plan", Door.PREFECT, Role.ADMIN)

_TOKEN = hashlib.sha256(b"a token that no build has").hexdigest()[:40]
"""In place of the build's, which is made when the build is."""


class Change(StrEnum):
    """What would become of a record."""

    IN_THE_WAY = "in the way"
    """Somebody else's, and never overwritten: the host would be held."""
    UNKNOWN = "not readable"
    CREATE = "create"
    CHANGE = "change"
    REMOVE = "remove"
    LEAVE = "leave"


class Line(BaseModel):
    """One record."""

    model_config = ConfigDict(frozen=True)

    change: Change
    system: str
    place: str
    key: str
    words: str
    """What it will be, what is there, or whose it is."""


class Plan(BaseModel):
    """All that provisioning one host would do."""

    model_config = ConfigDict(frozen=True)

    host_id: int
    host: str
    group: str
    lines: tuple[Line, ...]
    kickstart: str
    """Difference to the last build's, as a unified diff; without a last one, the whole."""

    @property
    def can_be_done(self) -> bool:
        """Whether nothing is in the way, and everything could be read."""
        bad = (Change.IN_THE_WAY, Change.UNKNOWN)
        return not any(one.change in bad for one in self.lines)

    def __str__(self) -> str:
        width = max(len(one.change.value) for one in self.lines)
        rows = [
            f"{one.change:{width}}  {one.system} {one.key} at {one.place}: {one.words}"
            for one in self.lines
        ]
        return "\n".join([f"{self.host} as {self.group}", *rows, "", self.kickstart]).rstrip()


@dataclass(frozen=True)
class _Look:
    """One record that is looked at."""

    keeper: Keeper[Any]
    record: Any
    """As it will be; None where it will be gone."""
    key: Any
    """Names it, where it will be gone."""
    words: str


@task(name="Look at what is there", persist_result=False)
async def plan_hosts(names: list[str], group: str, name: str) -> list[Plan]:
    """The plans of hosts.

    Args:
        names: of the hosts; empty: all of the group.
        group: host group that they would become; empty: their own.
        name: that a single host would get; empty: its own.

    Raises:
        InventoryError: a host or group is unknown, or a host has no group.
    """
    m = means()
    async with m.sessions() as session:
        if names:
            chosen = [await hosts.named(session, one) for one in names]
        else:
            wanted = await orders.group_named(session, group)
            chosen = await hosts.of_group(session, wanted.id)
        contexts = []
        for host in chosen:
            found = await prospect(session, host, group or None, name or None)
            contexts.append(found)
    return list(await asyncio.gather(*(_plan(one) for one in contexts)))


@task(name="Order what was approved", persist_result=False)
async def order_planned(planned: list[Plan], group: str, name: str) -> None:
    """Have the hosts of plans provisioned, as they were shown.

    Args:
        planned: of the hosts.
        group: as for ``plan_hosts``.
        name: likewise.

    Raises:
        InventoryError: a host cannot be provisioned any more.
    """
    m = means()
    async with m.sessions.begin() as session:
        for one in planned:
            host = await session.get_one(Host, one.host_id)
            built = host.state is HostState.IN_OPERATION
            act = acts.rebuild if built else acts.provision
            becomes = group or one.group
            await act(session, _APPROVED, host.name, becomes, as_name=name, at=m.clock())
        await notify(session, CHANNEL_CALLBACKS)


async def keep_plan(request: int, *, text: str | None, error: str | None) -> None:
    """Keep a plan, or why there is none, for whoever asked for it in the console."""
    m = means()
    async with m.sessions.begin() as session:
        await plans.end(session, request, text=text, error=error, at=m.clock())


async def _plan(context: BuildContext) -> Plan:
    lines = [await _name(context)]
    ahead: Ahead | None = None
    try:
        ahead = await look_ahead(context)
        lines.append(_line(Change.LEAVE, ahead.system, ahead.place, context.tree.name, ahead.words))
    except (OutsideError, Problem) as error:
        lines.append(_line(Change.UNKNOWN, "tree", context.tree.name, "install tree", str(error)))
    looks = [*_records(context, ahead), *await _puppet(context)]
    lines += await asyncio.gather(*(_weigh(one) for one in looks))
    lines += await _candlepin(context)
    order = list(Change)
    return Plan(
        host_id=context.host.id,
        host=context.host.name,
        group=context.group.name,
        lines=tuple(sorted(lines, key=lambda one: order.index(one.change))),
        kickstart=await _kickstart(context, ahead),
    )


def _line(change: Change, system: str, place: str, key: str, words: str) -> Line:
    return Line(change=change, system=system, place=place, key=key, words=words)


async def _name(context: BuildContext) -> Line:
    """The inventory's own part: name and address are unique in it."""
    async with means().sessions() as session:
        other = await hosts.host_by_name(session, context.host.name)
    name, place = context.host.name, "the inventory"
    if other is not None and other.id != context.host.id and other.state is not HostState.RETIRED:
        return _line(Change.IN_THE_WAY, "name", place, name, f"host {other.id} has this name")
    if context.host.state not in MAY_BE_PROVISIONED:
        words = f"the host is {context.host.state}: it is on its way already"
        return _line(Change.IN_THE_WAY, "name", place, name, words)
    return _line(Change.LEAVE, "name", place, name, "nobody else has it")


def _records(context: BuildContext, ahead: Ahead | None) -> list[_Look]:
    looks = []
    if ahead is not None:
        files = desired.boot_files(context.tree, ahead.url, ahead.info)
        config = desired.boot_config(context, files, _TOKEN)
        keeper = boot_config_keeper(context.tftp_proxy, context.subnet)
        looks.append(_Look(keeper, config, config, "starts the installer"))
    if context.interface.ip is None:
        looks.append(_without_address(context))
    looks += [
        _Look(one.keeper, one.record, one.record, told(one.keeper, one.record))
        for one in names_and_address(context)
    ]
    return looks


def _without_address(context: BuildContext) -> _Look:
    """What may be in the way of the interface's reservation, whichever address it will have."""
    net = desired.network_of(context)
    record = Reservation(
        mac=context.interface.mac, ip=net.network_address, name=context.host.name, network=net
    )
    words = f"a free address from {context.subnet.range_from} to {context.subnet.range_to}"
    return _Look(reservation_keeper(context), record, record, f"{words}, and with it A and PTR")


async def _puppet(context: BuildContext) -> list[_Look]:
    if context.puppet is None:
        return []
    ca = await means().puppets.of(context.puppet)
    keeper = CertificateKeeper(ca, certificates.place(context.puppet))
    name = Certificate(name=context.host.name)
    return [_Look(keeper, None, name, "a certificate of a former life is cleaned")]


async def _candlepin(context: BuildContext) -> list[Line]:
    if context.candlepin is None:
        return []
    place, lines = f"Candlepin {context.candlepin.name}", []
    try:
        client = await means().candlepins.of(context.candlepin)
        for one in group_records(client, context):
            there = await one.keeper.read(one.record)
            if there is None:
                change, words = Change.CREATE, "the host group needs it"
            elif there == one.record:
                change, words = Change.LEAVE, "is there"
            else:
                change, words = Change.IN_THE_WAY, f"there is {one.keeper.owner(there)}"
            lines.append(_line(change, "Candlepin", place, one.keeper.key(one.record), words))
        for row, consumer in await stale_consumers(context):
            words = f"of a former life of {consumer.name}"
            key = f"consumer {consumer.uuid}"
            lines.append(_line(Change.REMOVE, "Candlepin", f"Candlepin {row.name}", key, words))
    except (OutsideError, Problem) as error:
        lines.append(_line(Change.UNKNOWN, "Candlepin", place, context.group.name, str(error)))
    return lines


async def _weigh(look: _Look) -> Line:
    keeper, m = look.keeper, means()
    key = keeper.key(look.key)

    def line(change: Change, words: str) -> Line:
        return _line(change, keeper.system, keeper.place, key, words)

    try:
        async with m.admission.gate(keeper.system, keeper.place):
            there = await keeper.read(look.key)
    except OutsideError as error:
        return line(Change.UNKNOWN, str(error))
    if look.record is None:
        return line(Change.REMOVE, look.words) if there else line(Change.LEAVE, "nothing is there")
    if there is None:
        return line(Change.CREATE, look.words)
    if _same(keeper, there, look.record):
        return line(Change.LEAVE, "is there already")
    if await is_ours(m, keeper, there):
        return line(Change.CHANGE, f"from {told(keeper, there)} to: {look.words}")
    return line(Change.IN_THE_WAY, f"there is {told(keeper, there)}, which is not ours")


def _same(keeper: Keeper[Any], there: Any, record: Any) -> bool:
    if isinstance(there, BootConfig):
        # Each build has a token of its own.
        return bool(keeper.at_rest(there)["text"] == keeper.at_rest(record)["text"])
    return bool(there == record)


async def _kickstart(context: BuildContext, ahead: Ahead | None) -> str:
    if ahead is None:
        return "the kickstart cannot be rendered without the install tree"
    build = context.build.model_copy(update={"tree_url": ahead.url})
    try:
        values = kickstart_input(replace(context, build=build), _TOKEN)
        text = render_kickstart(values, context.group.kickstart_template)
    except (ValidationError, UnknownTemplate) as error:
        return f"the kickstart cannot be rendered: {error}"
    group = context.group
    new = kickstarts.without_secrets(text, _TOKEN, group.root_password_hash, group.activation_key)
    async with means().sessions() as session:
        last = await kickstarts.last_of_host(session, context.host.id)
    if last is None:
        return new
    lines = difflib.unified_diff(
        last.splitlines(), new.splitlines(), "the last build's", "this one's", lineterm=""
    )
    return "\n".join(lines) or "the kickstart is that of the last build"
