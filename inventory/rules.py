"""Discovery rules: which hosts are provisioned without being asked for one by one.

A condition is a Jinja2 expression over a machine: ``memory >= 60 GiB and vendor == "Dell Inc."``.
It has the names of ``inventory.machines``, and ``facts`` as they were received; most of those are
texts, so numbers among them are compared through a filter: ``facts.memorysize_mb | float >= 2048``.
A name or fact that a machine does not have makes the condition false.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import jinja2
import sqlalchemy as sa
from sqlmodel import col, select

from inventory import expressions
from inventory.database import AsyncSession
from inventory.errors import BadCondition
from inventory.host_names import LABEL
from inventory.life import HostState
from inventory.machines import NAMES, Machine, named_values
from inventory.models import DiscoveryRule, Host

__all__ = [
    "check",
    "choose",
    "enabled_rules",
    "host_short_name",
    "matches",
    "places_taken",
    "takers",
]

_log = logging.getLogger(__name__)


def check(*, name: str, condition: str, host_name: str) -> None:
    """Compile both expressions of a rule, and look whether there is what they ask for.

    Raises:
        BadCondition: one of them is not Jinja2, with its line; or asks for a name that is none.
    """
    _compiled(name, condition)
    _require_known(name, "condition", expressions.names_in(condition), {"facts"})
    _template(name, host_name)
    asked = expressions.names_in(host_name, is_template=True)
    _require_known(name, "host_name", asked, {"facts", "number"})


def _require_known(rule: str, what: str, asked: set[str], more: set[str]) -> None:
    known = {*NAMES, *more}
    for name in sorted(asked - known):
        said = f"there is no name {name!r}; there are {', '.join(sorted(known))}"
        raise BadCondition(rule=rule, what=what, said=said)


def _compiled(name: str, condition: str) -> Any:
    try:
        return expressions.condition(condition)
    except expressions.ExpressionError as error:
        raise BadCondition(rule=name, what="condition", line=error.line, said=str(error)) from error


def _template(name: str, host_name: str) -> jinja2.Template:
    try:
        return expressions.template(host_name)
    except expressions.ExpressionError as error:
        raise BadCondition(rule=name, what="host_name", line=error.line, said=str(error)) from error


def matches(rule: DiscoveryRule, machine: Machine) -> bool:
    """Whether a rule's condition is true for a machine.

    Raises:
        BadCondition: it cannot be computed, such as a text compared with a number.
    """
    expression = _compiled(rule.name, rule.condition)
    # Nothing can be said of what is not known, not even that it is another one.
    absent = {name: jinja2.StrictUndefined(name=name) for name in NAMES}
    try:
        return bool(expression(absent | named_values(machine) | {"facts": machine.facts}))
    except jinja2.UndefinedError:
        return False
    except Exception as error:
        # An operator's expression over a machine's facts may fail in any way that Python has.
        raise BadCondition(
            rule=rule.name, what="condition", said=f"{error} in {rule.condition!r}"
        ) from error


def host_short_name(rule: DiscoveryRule, machine: Machine, number: int) -> str:
    """The short name that a rule gives a host.

    Args:
        rule: whose ``host_name`` is rendered.
        machine: whose name it is.
        number: unique among the hosts; its id serves.

    Raises:
        BadCondition: it cannot be rendered, or is no host name (RFC 1123).
    """
    given = named_values(machine) | {"facts": machine.facts, "number": number}
    try:
        name = _template(rule.name, rule.host_name).render(given)
    except BadCondition:
        raise
    except Exception as error:
        raise BadCondition(rule=rule.name, what="host_name", said=str(error)) from error
    name = name.strip().lower()
    if not LABEL.fullmatch(name):
        shown = name if len(name) < 100 else f"{name[:100]}…"
        raise BadCondition(
            rule=rule.name,
            what="host_name",
            said=f"{shown!r} is no host name: letters, digits and dashes, 63 at most",
        )
    return name


async def enabled_rules(session: AsyncSession) -> list[DiscoveryRule]:
    """The rules in use, in the order in which they are weighed."""
    rules = await session.exec(
        select(DiscoveryRule)
        .where(col(DiscoveryRule.enabled))
        .order_by(col(DiscoveryRule.priority), col(DiscoveryRule.id))
    )
    return list(rules)


def takers(rules: Iterable[DiscoveryRule], machine: Machine, host: str) -> list[DiscoveryRule]:
    """Those of the rules that take a machine; one that cannot be computed does not, with a warning.

    Args:
        rules: in the order in which they are weighed.
        machine: which.
        host: its name, for the warning.
    """
    taking = []
    for rule in rules:
        try:
            if matches(rule, machine):
                taking.append(rule)
        except BadCondition as error:
            _log.warning("%s is passed over for %s: %s", rule.name, host, error)
    return taking


async def choose(session: AsyncSession, host: Host, machine: Machine) -> DiscoveryRule | None:
    """Choose the first rule that takes a host and has room, and write it to the host.

    A rule with a limit is locked until the transaction ends, so that hosts that come at the same
    moment cannot pass it. A rule that cannot be computed is passed over with a warning. Retired
    hosts leave room; asking again for the same host takes no second place. Where a limit was made
    smaller, the hosts that have waited longest keep their places.

    Args:
        session: in the caller's transaction.
        host: in discovery, and locked.
        machine: the host as rules see it.

    Returns:
        The rule; None when no rule takes the host, and then it has none.
    """
    chosen = None
    for rule in takers(await enabled_rules(session), machine, host.name):
        if not await _is_still_so(session, rule, machine, host):
            continue
        if await _has_room(session, rule, host):
            chosen = rule
            break
    await session.exec(
        sa.update(Host)
        .where(col(Host.id) == host.id)
        .values(discovery_rule_id=chosen.id if chosen else None)
    )
    return chosen


async def _is_still_so(
    session: AsyncSession, rule: DiscoveryRule, machine: Machine, host: Host
) -> bool:
    """Lock a rule, so that it is neither filled nor deleted beside us, and look at it again."""
    shared = rule.host_limit == 0
    found = await session.exec(
        select(DiscoveryRule)
        .where(col(DiscoveryRule.id) == rule.id)
        # Where nothing is counted, hosts need not wait for each other.
        .with_for_update(key_share=shared, read=shared)
        .execution_options(populate_existing=True)
    )
    if found.one_or_none() is None or not rule.enabled:
        return False
    if shared and rule.host_limit > 0:
        # It has got a limit at this moment.
        return await _is_still_so(session, rule, machine, host)
    return bool(takers([rule], machine, host.name))


async def _has_room(session: AsyncSession, rule: DiscoveryRule, host: Host) -> bool:
    if rule.host_limit == 0:
        return True
    others = _places_of(rule.id).where(col(Host.id) != host.id)
    if host.discovery_rule_id == rule.id:
        younger = sa.and_(
            col(Host.state) == HostState.DISCOVERED,
            sa.tuple_(col(Host.state_since), col(Host.id)) > (host.state_since, host.id),
        )
        others = others.where(sa.not_(younger))
    taken: int = (await session.exec(others)).one()
    return taken < rule.host_limit


def _places_of(rule_id: int) -> Any:
    """Selects how many places of a rule are taken."""
    return (
        select(sa.func.count())
        .select_from(Host)
        .where(col(Host.discovery_rule_id) == rule_id, col(Host.state) != HostState.RETIRED)
    )


async def places_taken(session: AsyncSession) -> dict[int, int]:
    """How many places of each rule are taken, by the rule's id; those without are absent."""
    found = await session.exec(
        select(Host.discovery_rule_id, sa.func.count())
        .where(col(Host.discovery_rule_id).is_not(None), col(Host.state) != HostState.RETIRED)
        .group_by(col(Host.discovery_rule_id))
    )
    return {rule: count for rule, count in found if rule is not None}
