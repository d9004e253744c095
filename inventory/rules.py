"""Discovery rules: which hosts are provisioned without being asked for one by one.

A condition is a Jinja2 expression over the facts as they were received; most are texts, so numbers
are compared through a filter: ``facts.memorysize_mb | float >= 2048 and facts.is_virtual``. A fact
that a host does not have makes the condition false.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import jinja2
import sqlalchemy as sa
from jinja2.sandbox import ImmutableSandboxedEnvironment
from sqlmodel import col, select

from inventory.database import AsyncSession
from inventory.errors import BadCondition
from inventory.life import HostState
from inventory.models import DiscoveryRule, Host

__all__ = ["check", "choose", "host_short_name", "matches"]

_log = logging.getLogger(__name__)
_expressions = ImmutableSandboxedEnvironment(autoescape=False)
_names = ImmutableSandboxedEnvironment(autoescape=False, undefined=jinja2.StrictUndefined)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def check(*, name: str, condition: str, host_name: str) -> None:
    """Compile both expressions of a rule.

    Raises:
        BadCondition: one of them is not Jinja2; with its line.
    """
    _compiled(name, condition)
    try:
        _names.from_string(host_name)
    except jinja2.TemplateSyntaxError as error:
        raise BadCondition(
            rule=name, what="host_name", line=error.lineno, said=str(error.message)
        ) from error


def _compiled(name: str, condition: str) -> Any:
    try:
        return _expressions.compile_expression(condition, undefined_to_none=False)
    except jinja2.TemplateSyntaxError as error:
        raise BadCondition(
            rule=name, what="condition", line=error.lineno, said=str(error.message)
        ) from error


def matches(rule: DiscoveryRule, facts: Mapping[str, Any]) -> bool:
    """Whether a rule's condition is true for a host's facts.

    Raises:
        BadCondition: it cannot be computed, such as a text compared with a number.
    """
    expression = _compiled(rule.name, rule.condition)
    try:
        return bool(expression(facts=facts))
    except jinja2.UndefinedError:
        return False
    except Exception as error:
        # An operator's expression over a machine's facts may fail in any way that Python has.
        raise BadCondition(
            rule=rule.name, what="condition", said=f"{error} in {rule.condition!r}"
        ) from error


def host_short_name(rule: DiscoveryRule, facts: Mapping[str, Any], mac: str, number: int) -> str:
    """The short name that a rule gives a host.

    Args:
        rule: whose ``host_name`` is rendered.
        facts: as received.
        mac: of the boot interface, with colons.
        number: unique among the hosts; its id serves.

    Raises:
        BadCondition: it cannot be rendered, or is no host name (RFC 1123).
    """
    try:
        name = _names.from_string(rule.host_name).render(facts=facts, mac=mac, number=number)
    except Exception as error:
        raise BadCondition(rule=rule.name, what="host_name", said=str(error)) from error
    name = name.strip().lower()
    if not _LABEL.fullmatch(name):
        raise BadCondition(
            rule=rule.name,
            what="host_name",
            said=f"{name!r} is no host name: letters, digits and dashes, 63 at most",
        )
    return name


async def choose(
    session: AsyncSession, host: Host, facts: Mapping[str, Any]
) -> DiscoveryRule | None:
    """Choose the first rule that takes a host and has room, and write it to the host.

    A rule with a limit is locked until the transaction ends, so that hosts that come at the same
    moment cannot pass it. A rule that cannot be computed is passed over with a warning. Retired
    hosts leave room; asking again for the same host takes no second place.

    Args:
        session: in the caller's transaction.
        host: in discovery.
        facts: as received.

    Returns:
        The rule; None when no rule takes the host, and then it has none.
    """
    rules = await session.exec(
        select(DiscoveryRule)
        .where(col(DiscoveryRule.enabled))
        .order_by(col(DiscoveryRule.priority), col(DiscoveryRule.id))
    )
    chosen = None
    for rule in rules.all():
        try:
            takes = matches(rule, facts)
        except BadCondition as error:
            _log.warning("%s is passed over for %s: %s", rule.name, host.name, error)
            continue
        if takes and await _has_room(session, rule, host):
            chosen = rule
            break
    await session.exec(
        sa.update(Host)
        .where(col(Host.id) == host.id)
        .values(discovery_rule_id=chosen.id if chosen else None)
    )
    return chosen


async def _has_room(session: AsyncSession, rule: DiscoveryRule, host: Host) -> bool:
    if rule.host_limit == 0:
        return True
    await session.exec(
        select(DiscoveryRule.id).where(col(DiscoveryRule.id) == rule.id).with_for_update()
    )
    taken = await session.exec(
        select(sa.func.count())
        .select_from(Host)
        .where(
            col(Host.discovery_rule_id) == rule.id,
            col(Host.id) != host.id,
            col(Host.state) != HostState.RETIRED,
        )
    )
    return taken.one() < rule.host_limit
