"""What follows from a rule: its host is provisioned, waits for a window, or is recommended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlmodel import col, select

from inventory import hosts, orders, rules, windows
from inventory.builds import current_build
from inventory.built import built_so_far
from inventory.claims import is_claimed
from inventory.database import CHANNEL_CALLBACKS, AsyncSession, notify
from inventory.errors import InventoryError, RuleFailed
from inventory.life import HostState
from inventory.machines import Machine, machine_of
from inventory.models import Build, Claim, DiscoveryRule, Host, HostGroup, ProvisionWhen

__all__ = ["Foreseen", "Outcome", "Verdict", "foresee", "give_back", "waiting_hosts", "weigh"]


class Outcome(StrEnum):
    """What came of weighing the rules for a host."""

    PROVISIONED = "provisioned"
    WAITS = "waits for its window"
    RECOMMENDED = "recommended"
    NO_ROOM = "no room"
    NO_RULE = "no rule"
    FAILED = "failed"
    ELSEWHERE = "not discovered any more"


@dataclass(frozen=True)
class Verdict:
    """What came of weighing the rules for one host."""

    host: str
    outcome: Outcome
    rule: str = ""
    words: str = ""
    """A sentence for whoever reads the run."""


async def weigh(
    session: AsyncSession, host_id: int, *, at: datetime, scheduled: bool = False
) -> Verdict:
    """Let the first rule that takes a discovered host and has room decide what becomes of it.

    Args:
        session: in a transaction of its own: a rule with a limit stays locked until its end.
        host_id: which host.
        at: the present.
        scheduled: for the flow ``auto-provision``, which acts in windows, and leaves hosts alone
            whose discovery is under way.

    Raises:
        RuleFailed: the rule cannot provision the host; roll the transaction back.
    """
    host = await hosts.lock_host(session, host_id)
    if host.state is not HostState.DISCOVERED:
        said = f"the host is {host.state}; rules are for discovered hosts"
        return Verdict(host.name, Outcome.ELSEWHERE, words=said)
    if scheduled:
        build = await current_build(session, host.id)
        if build is not None and await is_claimed(session, build.id):
            return Verdict(host.name, Outcome.ELSEWHERE, words="its discovery is under way")
    so_far = (await built_so_far(session, [host.id]))[host.id]
    if so_far.operated:
        # It started from the network once, or a rebuild was called off: its disk is as it was.
        said = "it has a system, which no rule installs anew: provision it if that is meant"
        return Verdict(host.name, Outcome.ELSEWHERE, words=said)
    came_as = host.name
    machine = await machine_of(session, host.id)
    rule = await rules.choose(session, host, machine)
    if rule is None:
        return _not_taken(
            came_as, rules.takers(await rules.enabled_rules(session), machine, came_as)
        )
    group = await session.get_one(HostGroup, rule.host_group_id)
    try:
        name = rules.host_short_name(rule, machine, host.id)
        taken = f"rule {rule.name} takes the host for {group.name} as {name}"
        outcome, more = _when(rule, at, scheduled=scheduled)
        if outcome is Outcome.PROVISIONED:
            asked_by = f"discovery rule {rule.name}"
            await orders.provision(session, host, group, name=name, asked_by=asked_by, at=at)
            await notify(session, CHANNEL_CALLBACKS)
    except InventoryError as error:
        raise RuleFailed(rule.name, error) from error
    return Verdict(came_as, outcome, rule.name, taken + more)


def _not_taken(host: str, would: Sequence[DiscoveryRule]) -> Verdict:
    if would:
        said = f"all places of rule {would[0].name} are taken; the host awaits orders"
        return Verdict(host, Outcome.NO_ROOM, would[0].name, said)
    said = "no discovery rule takes the host; it awaits orders"
    return Verdict(host, Outcome.NO_RULE, words=said)


def _when(rule: DiscoveryRule, at: datetime, *, scheduled: bool) -> tuple[Outcome, str]:
    """What a rule says is to become of a host now, and how a sentence of it goes on."""
    if rule.provision == ProvisionWhen.WHEN_ASKED:
        return Outcome.RECOMMENDED, ", when somebody asks for it"
    if rule.provision == ProvisionWhen.AT_ONCE:
        return Outcome.PROVISIONED, ""
    try:
        opens = windows.opens_next(rule.windows, rule.time_zone, at)
    except windows.BadWindow as error:
        return Outcome.WAITS, f", and cannot tell when: {error}"
    if opens is not None and opens <= at:
        if scheduled:
            return Outcome.PROVISIONED, ""
        return Outcome.WAITS, "; its window is open, and auto-provision takes it next"
    told = f"{opens:%Y-%m-%d %H:%M} UTC" if opens else "none opens in the next two weeks"
    return Outcome.WAITS, f"; its window opens: {told}"


async def give_back(session: AsyncSession, host_id: int) -> None:
    """Take a discovered host's place in its rule from it, so that it keeps no other from it."""
    await session.exec(
        sa.update(Host)
        .where(col(Host.id) == host_id, col(Host.state) == HostState.DISCOVERED)
        .values(discovery_rule_id=None)
    )


async def waiting_hosts(session: AsyncSession) -> list[Host]:
    """Discovered hosts whose discovery is not under way, the one that has waited longest first."""
    under_way = sa.exists().where(
        col(Claim.build_id) == col(Build.id),
        col(Build.host_id) == col(Host.id),
        col(Claim.ended_at).is_(None),
    )
    found = await session.exec(
        select(Host)
        .where(col(Host.state) == HostState.DISCOVERED, ~under_way)
        .order_by(col(Host.state_since), col(Host.id))
    )
    return list(found)


@dataclass(frozen=True)
class Foreseen:
    """What weighing would say of a host, without a lock; None: weigh it to know."""

    host: Host
    verdict: Verdict | None


def foresee(
    host: Host,
    machine: Machine,
    in_use: Sequence[DiscoveryRule],
    full: frozenset[int],
    at: datetime,
) -> Foreseen:
    """See whether a host need be weighed again: of most that wait nothing has changed.

    Args:
        host: discovered.
        machine: the host as rules see it.
        in_use: the rules in the order in which they are weighed.
        full: ids of rules whose places were all taken when somebody last looked.
        at: the present.
    """
    taking = rules.takers(in_use, machine, host.name)
    mine = host.discovery_rule_id
    open_to = [one for one in taking if one.id not in full or one.id == mine]
    if not open_to and mine is None:
        return Foreseen(host, _not_taken(host.name, taking))
    if open_to and open_to[0].id == mine:
        outcome, more = _when(open_to[0], at, scheduled=True)
        if outcome is not Outcome.PROVISIONED:
            said = f"rule {open_to[0].name} takes the host{more}"
            return Foreseen(host, Verdict(host.name, outcome, open_to[0].name, said))
    return Foreseen(host, None)
