"""What operators do to discovery rules: by right, and on record."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from inventory import audit, rights, rule_book
from inventory.database import AsyncSession
from inventory.errors import Forbidden
from inventory.models import Role
from inventory.rights import Actor
from inventory.rule_book import RuleRow
from inventory.rule_draft import RuleDraft

__all__ = ["add", "change", "remove"]


def _values(draft: RuleDraft) -> dict[str, Any]:
    return draft.model_dump(mode="json", exclude={"name"})


def _require(actor: Actor, *drafts: RuleDraft) -> None:
    rights.require(actor, Role.OPERATOR)
    if actor.scope.sites:
        # A rule takes hosts of every site.
        raise Forbidden(actor.name, "rules concern all sites, and they are limited to some")
    for one in drafts:
        rights.require_group(actor, one.host_group)


async def add(session: AsyncSession, actor: Actor, draft: RuleDraft, *, at: datetime) -> RuleRow:
    """Keep a new rule for a host group of the actor's.

    Raises:
        InventoryError: they may not, something of it is wrong, or another one has the name.
    """
    _require(actor, draft)
    made = await rule_book.create(session, draft)
    await audit.record(session, actor, "add", f"rule {draft.name}", after=_values(draft), at=at)
    return made


async def change(
    session: AsyncSession, actor: Actor, name: str, draft: RuleDraft, *, at: datetime
) -> RuleRow:
    """Make a rule what a draft says.

    Raises:
        InventoryError: they may not, it is the site file's, or something of it is wrong.
    """
    before = (await rule_book.rule_named(session, name)).draft
    _require(actor, before, draft)
    made = await rule_book.change(session, name, draft)
    await audit.record(
        session,
        actor,
        "change",
        f"rule {name}",
        before=_values(before),
        after=_values(draft),
        at=at,
    )
    return made


async def remove(session: AsyncSession, actor: Actor, name: str, *, at: datetime) -> int:
    """Take a rule away; its hosts stay what they are. Says how many it had.

    Raises:
        InventoryError: they may not, or it is the site file's.
    """
    before = (await rule_book.rule_named(session, name)).draft
    _require(actor, before)
    had = await rule_book.delete(session, name)
    await audit.record(session, actor, "remove", f"rule {name}", before=_values(before), at=at)
    return had
