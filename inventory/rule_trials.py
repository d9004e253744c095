"""What rules would do: a draft tried against hosts, and the rules of one host explained.

Nothing is written, and nothing locked.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlmodel import col, select

from inventory import rights, rules
from inventory.built import built_so_far
from inventory.database import AsyncSession
from inventory.errors import BadCondition
from inventory.expressions import UNITS, ExpressionError, looked_at
from inventory.life import HostState
from inventory.machines import Machine, machines_of, named_values
from inventory.models import DiscoveryRule, Domain, Host, HostGroup
from inventory.rule_book import row_of
from inventory.rule_draft import RuleDraft
from inventory.scope import Scope

__all__ = [
    "RuleVerdict",
    "Trial",
    "Tried",
    "Value",
    "Would",
    "explain",
    "explain_all",
    "size_words",
    "try_rule",
]

_TOGETHER = 100
"""Hosts whose facts are read at once."""
_SIZES = frozenset({"memory", "disk", "storage"})
_LONGEST_VALUE = 200
_ABSENT = "(not known)"
_NAMELESS = "its condition is true, but it can give no name"


@dataclass(frozen=True)
class Tried:
    """What a draft would do with one host."""

    host: str
    state: HostState
    takes: bool
    """Whether its condition is true."""
    name: str | None = None
    """Full name that the host would get; None: it is not taken, or no name can be made."""
    first: str | None = None
    """A rule before this one that takes the host."""
    error: str | None = None
    """Why the condition cannot be computed, or the host cannot get its name."""


@dataclass(frozen=True)
class Trial:
    """A draft tried against hosts: discovered ones first, then the newest."""

    hosts: list[Tried]
    more: int
    """Hosts beyond these, against which it was not tried."""


async def try_rule(
    session: AsyncSession,
    draft: RuleDraft,
    *,
    replaces: str | None = None,
    most: int = 1000,
    scope: Scope | None = None,
) -> Trial:
    """Try a draft against the hosts that are there.

    Args:
        session: only read.
        draft: a rule that is to be.
        replaces: name of the rule that it would be a change of.
        most: hosts against which it is tried.
        scope: of whoever looks; None: all hosts.

    Raises:
        BadRule: something of it is wrong.
    """
    row = await row_of(session, draft)
    group = (
        await session.exec(
            select(Domain.name)
            .join(HostGroup, col(HostGroup.domain_id) == col(Domain.id))
            .where(col(HostGroup.id) == row.host_group_id)
        )
    ).one()
    before = await _before(session, draft, replaces)
    discovered_first = sa.case((col(Host.state) == HostState.DISCOVERED, 0), else_=1)
    alive = sa.and_(col(Host.state) != HostState.RETIRED, rights.in_scope(scope or Scope()))
    found = await session.exec(
        select(Host)
        .where(alive)
        .order_by(discovered_first, col(Host.created_at).desc(), col(Host.id).desc())
        .limit(most)
    )
    hosts = list(found)
    count = (await session.exec(select(sa.func.count()).select_from(Host).where(alive))).one()
    tried: list[Tried] = []
    for first in range(0, len(hosts), _TOGETHER):
        some = hosts[first : first + _TOGETHER]
        machines = await machines_of(session, [one.id for one in some])
        for one in some:
            machine = machines.get(one.id, Machine())
            tried.append(_tried(row, group, one, machine, before))
            # Conditions cost milliseconds at worst: hosts that call meanwhile are answered.
            await asyncio.sleep(0)
    return Trial(await _without_clashes(session, tried), count - len(hosts))


async def _before(
    session: AsyncSession, draft: RuleDraft, replaces: str | None
) -> list[DiscoveryRule]:
    """The rules that are weighed before a draft; a new one comes last among its equals."""
    in_use = await rules.enabled_rules(session)
    found = await session.exec(select(DiscoveryRule.id).where(col(DiscoveryRule.name) == replaces))
    own = found.one_or_none()
    return [
        one
        for one in in_use
        if one.id != own
        and (one.priority, 0 if own is None else one.id) <= (draft.priority, own or 0)
    ]


def _tried(
    row: DiscoveryRule, domain: str, host: Host, machine: Machine, before: list[DiscoveryRule]
) -> Tried:
    try:
        takes = rules.matches(row, machine)
    except BadCondition as error:
        return Tried(host.name, host.state, False, error=error.said)
    if not takes:
        return Tried(host.name, host.state, False)
    first = next(iter(rules.takers(before, machine, host.name)), None)
    tried = Tried(host.name, host.state, True, first=first.name if first else None)
    try:
        name = f"{rules.host_short_name(row, machine, host.id)}.{domain}"
    except BadCondition as error:
        return replace(tried, error=error.said)
    return replace(tried, name=name)


async def _without_clashes(session: AsyncSession, tried: list[Tried]) -> list[Tried]:
    """The same, with an error where several hosts would get one name, or somebody has it."""
    wanted = Counter(one.name for one in tried if one.name is not None)
    found = await session.exec(
        select(Host.name).where(
            col(Host.name).in_(list(wanted)), col(Host.state) != HostState.RETIRED
        )
    )
    there = set(found)

    def judged(one: Tried) -> Tried:
        if one.name is None or one.name == one.host:
            return one
        if one.name in there:
            return replace(one, error=f"another host has the name {one.name}")
        if wanted[one.name] > 1:
            return replace(one, error=f"{wanted[one.name]} of these hosts would get this name")
        return one

    return [judged(one) for one in tried]


class Would(StrEnum):
    """What a rule would do with a host."""

    TAKES = "takes"
    DOES_NOT = "does not"
    NO_ROOM = "no room"
    LEAVES = "leaves"
    """It has a system, which no rule installs anew."""
    ERROR = "error"
    OFF = "not in use"


@dataclass(frozen=True)
class Value:
    """What a name in a condition is for a host."""

    name: str
    value: str
    """As people read it; ``(not known)`` where the host does not have it."""


@dataclass(frozen=True)
class RuleVerdict:
    """What one rule says of one host."""

    rule: str
    priority: int
    verdict: Would
    why: str
    chosen: bool
    """The first that takes it and has room, also where it can give it no name."""
    condition: str
    values: list[Value]
    """Of what the condition looks at, in its order."""
    name: str | None = None
    """Short name that the host would get."""


async def explain(session: AsyncSession, host: Host) -> list[RuleVerdict]:
    """What each rule says of a host, in the order in which they are weighed, and why.

    Args:
        session: only read.
        host: in any state; rules are weighed for those that are discovered.
    """
    return (await explain_all(session, [host]))[host.id]


async def explain_all(session: AsyncSession, hosts: Sequence[Host]) -> dict[int, list[RuleVerdict]]:
    """What each rule says of each of some hosts, by the host's id.

    Args:
        session: only read.
        hosts: each judged as if it were the next to be weighed.
    """
    found = await session.exec(
        select(DiscoveryRule).order_by(col(DiscoveryRule.priority), col(DiscoveryRule.id))
    )
    every = list(found)
    machines = await machines_of(session, [one.id for one in hosts])
    taken = await rules.places_taken(session)
    waiting = [one.id for one in hosts if one.state is HostState.DISCOVERED]
    built = {one for one, how in (await built_so_far(session, waiting)).items() if how.operated}
    explained = {}
    for host in hosts:
        machine = machines.get(host.id, Machine())
        explained[host.id] = _verdicts(every, host, machine, taken, has_system=host.id in built)
        await asyncio.sleep(0)
    return explained


def _verdicts(
    every: Sequence[DiscoveryRule],
    host: Host,
    machine: Machine,
    taken: Mapping[int, int],
    *,
    has_system: bool,
) -> list[RuleVerdict]:
    verdicts: list[RuleVerdict] = []
    chosen = False
    for rule in every:
        verdict, why, name = _judged(rule, host, machine, taken.get(rule.id, 0))
        if has_system and verdict is Would.TAKES:
            verdict, why = Would.LEAVES, "its condition is true, but the host has a system"
        nameless = verdict is Would.ERROR and why.startswith(_NAMELESS)
        first = not chosen and (verdict is Would.TAKES or nameless)
        chosen = chosen or first
        values = _values(rule.condition, machine)
        verdicts.append(
            RuleVerdict(
                *(rule.name, rule.priority, verdict, why, first, rule.condition, values, name)
            )
        )
    return verdicts


def _judged(
    rule: DiscoveryRule, host: Host, machine: Machine, taken: int
) -> tuple[Would, str, str | None]:
    try:
        takes = rules.matches(rule, machine)
    except BadCondition as error:
        return Would.ERROR, error.said, None
    if not rule.enabled:
        more = "true" if takes else "false"
        return Would.OFF, f"the rule is out of use; its condition is {more}", None
    if not takes:
        absent = [one.name for one in _values(rule.condition, machine) if one.value == _ABSENT]
        unknown = f"; not known: {', '.join(absent)}" if absent else ""
        return Would.DOES_NOT, f"its condition is false{unknown}", None
    if 0 < rule.host_limit <= taken and host.discovery_rule_id != rule.id:
        return Would.NO_ROOM, f"its condition is true, but all {taken} places are taken", None
    try:
        name = rules.host_short_name(rule, machine, host.id)
    except BadCondition as error:
        return Would.ERROR, f"{_NAMELESS}: {error.said}", None
    return Would.TAKES, "its condition is true", name


def _values(condition: str, machine: Machine) -> list[Value]:
    try:
        ways = looked_at(condition)
    except ExpressionError:
        return []
    known = named_values(machine) | {"facts": machine.facts}
    return [
        Value(".".join(way), _shown(way, known))
        for way in ways
        if len(way) > 1 or way[0] != "facts"
    ]


def _shown(way: tuple[str, ...], known: Mapping[str, Any]) -> str:
    value: object = known
    for part in way:
        if not isinstance(value, Mapping) or part not in value:
            return _ABSENT
        value = value[part]
    if way[0] in _SIZES and isinstance(value, int):
        return f"{value} ({size_words(value)})"
    text = f"{value!r}" if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def size_words(count: int) -> str:
    """Bytes as people read them."""
    unit = next((one for one in ("TiB", "GiB", "MiB") if count >= UNITS[one]), "KiB")
    return f"{count / UNITS[unit]:.1f} {unit}"
