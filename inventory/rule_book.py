"""Discovery rules by hand: list, create, change and delete them, checked before they are kept.

Rules of the site file are only read here: the file would bring back what it says.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from inventory import rules
from inventory.database import AsyncSession
from inventory.errors import (
    BadCondition,
    BadRule,
    OfSiteFile,
    RuleExists,
    UnknownGroup,
    UnknownRule,
)
from inventory.models import DiscoveryRule, Host, HostGroup, ManagedBy
from inventory.orders import group_named
from inventory.rule_draft import RuleDraft

__all__ = [
    "RuleRow",
    "change",
    "create",
    "delete",
    "draft_of",
    "list_rules",
    "own_rule",
    "row_of",
    "rule_named",
]


@dataclass(frozen=True)
class RuleRow:
    """A rule, and how many hosts it has."""

    draft: RuleDraft
    managed_by: ManagedBy
    taken: int
    """Places that hosts have, also those that wait."""


async def list_rules(session: AsyncSession) -> list[RuleRow]:
    """All rules in the order in which they are weighed, also those out of use."""
    found = await session.exec(
        select(DiscoveryRule, HostGroup.name)
        .join(HostGroup, col(HostGroup.id) == col(DiscoveryRule.host_group_id))
        .order_by(col(DiscoveryRule.priority), col(DiscoveryRule.id))
    )
    taken = await rules.places_taken(session)
    return [
        RuleRow(draft_of(rule, group), ManagedBy(rule.managed_by), taken.get(rule.id, 0))
        for rule, group in found
    ]


def draft_of(rule: DiscoveryRule, group: str) -> RuleDraft:
    """What somebody would write to get a rule; not checked again, for it is there already."""
    values = rule.model_dump(exclude={"id", "host_group_id", "managed_by"})
    return RuleDraft.model_construct(
        **{**values, "host_group": group, "windows": tuple(rule.windows)}
    )


async def rule_named(session: AsyncSession, name: str) -> RuleRow:
    """The rule of a name.

    Raises:
        UnknownRule: there is none; the message names those that are.
    """
    every = await list_rules(session)
    for one in every:
        if one.draft.name == name:
            return one
    raise UnknownRule(name, [one.draft.name for one in every])


async def row_of(session: AsyncSession, draft: RuleDraft) -> DiscoveryRule:
    """A draft as the row that it would be, all of it checked; nothing is kept.

    Raises:
        BadRule: an expression cannot be compiled, or there is no such host group; all problems.
    """
    problems: list[tuple[str, str]] = []
    for what in ("condition", "host_name"):
        one = {"condition": "true", "host_name": "a", what: getattr(draft, what)}
        try:
            rules.check(name=draft.name, **one)
        except BadCondition as error:
            at = f"line {error.line}: " if error.line else ""
            problems.append((what, at + error.said))
    try:
        group = await group_named(session, draft.host_group)
    except UnknownGroup as error:
        raise BadRule(draft.name, [*problems, ("host_group", str(error))]) from error
    if problems:
        raise BadRule(draft.name, problems)
    values = draft.model_dump(exclude={"host_group", "windows"})
    return DiscoveryRule(
        **values,
        host_group_id=group.id,
        windows=list(draft.windows),
        managed_by=ManagedBy.OPERATOR,
    )


async def create(session: AsyncSession, draft: RuleDraft) -> RuleRow:
    """Keep a new rule; hosts that wait are weighed by it in the next ``auto-provision``.

    Raises:
        BadRule: something of it is wrong.
        RuleExists: another one has the name.
    """
    row = await row_of(session, draft)
    await _require_free(session, draft.name)
    session.add(row)
    await _flush(session, draft.name)
    return await rule_named(session, draft.name)


async def change(session: AsyncSession, name: str, draft: RuleDraft) -> RuleRow:
    """Make a rule what a draft says, its name too. Hosts keep their places in it until weighed.

    Raises:
        BadRule: something of it is wrong.
        OfSiteFile: the site file has it.
        RuleExists: another one has the new name.
        UnknownRule: there is no rule ``name``.
    """
    rule = await own_rule(session, name)
    wanted = await row_of(session, draft)
    if draft.name != name:
        await _require_free(session, draft.name)
    for key, value in wanted.model_dump(exclude={"id"}).items():
        setattr(rule, key, value)
    await _flush(session, draft.name)
    return await rule_named(session, draft.name)


async def delete(session: AsyncSession, name: str) -> int:
    """Take a rule away; its hosts stay what they are. Says how many it had.

    Raises:
        OfSiteFile: the site file has it.
        UnknownRule: there is none.
    """
    # Hosts before their rule, as those who weigh rules lock them.
    await session.exec(
        select(Host.id)
        .join(DiscoveryRule, col(DiscoveryRule.id) == col(Host.discovery_rule_id))
        .where(col(DiscoveryRule.name) == name)
        .order_by(col(Host.id))
        .with_for_update(of=Host)
    )
    rule = await own_rule(session, name)
    freed = await session.exec(
        sa.update(Host).where(col(Host.discovery_rule_id) == rule.id).values(discovery_rule_id=None)
    )
    await session.delete(rule)
    await session.flush()
    return int(freed.rowcount)


async def own_rule(session: AsyncSession, name: str) -> DiscoveryRule:
    """Lock a rule that was made by hand, so that no host is weighed by it meanwhile.

    Raises:
        OfSiteFile: the site file has it.
        UnknownRule: there is none.
    """
    found = await session.exec(
        select(DiscoveryRule)
        .where(col(DiscoveryRule.name) == name)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    rule = found.one_or_none()
    if rule is None:
        others = await session.exec(select(DiscoveryRule.name).order_by(DiscoveryRule.name))
        raise UnknownRule(name, list(others))
    if rule.managed_by == ManagedBy.SITE_FILE:
        raise OfSiteFile(name)
    return rule


async def _require_free(session: AsyncSession, name: str) -> None:
    found = await session.exec(select(DiscoveryRule.id).where(col(DiscoveryRule.name) == name))
    if found.one_or_none() is not None:
        raise RuleExists(name)


async def _flush(session: AsyncSession, name: str) -> None:
    try:
        await session.flush()
    except IntegrityError as error:
        # Somebody else has made one of this name at this moment.
        raise RuleExists(name) from error
