"""What operators do to discovery rules, through whichever door: by right, and on record.

A rule takes hosts of all sites, so nobody who is limited to some may touch one; whoever is limited
to host groups may touch the rules that make hosts into these.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from inventory import audit, rights, rule_book, rule_trials
from inventory.database import CHANNEL_CHANGES, AsyncSession, notify
from inventory.errors import Forbidden
from inventory.models import Role
from inventory.rights import Actor
from inventory.rule_book import RuleRow
from inventory.rule_draft import RuleDraft
from inventory.rule_trials import Trial

__all__ = ["add", "change", "may_touch", "remove", "try_draft"]


def may_touch(actor: Actor, group: str) -> bool:
    """Whether somebody may make, change and remove rules for a host group."""
    try:
        _require(actor, group)
    except Forbidden:
        return False
    return True


def _require(actor: Actor, group: str) -> None:
    rights.require(actor, Role.OPERATOR)
    if actor.scope.sites:
        sites = ", ".join(sorted(actor.scope.sites))
        raise Forbidden(actor.name, f"a rule takes hosts of all sites, and they see {sites} only")
    rights.require_group(actor, group)


def _values(row: RuleRow) -> dict[str, Any]:
    return row.draft.model_dump(mode="json")


async def add(session: AsyncSession, actor: Actor, draft: RuleDraft, *, at: datetime) -> RuleRow:
    """Keep a new rule.

    Raises:
        InventoryError: it is not theirs to make, something of it is wrong, or its name is taken.
    """
    _require(actor, draft.host_group)
    made = await rule_book.create(session, draft)
    await audit.record(session, actor, "add", f"rule {made.draft.name}", after=_values(made), at=at)
    await _tell(session)
    return made


async def change(
    session: AsyncSession, actor: Actor, name: str, draft: RuleDraft, *, at: datetime
) -> RuleRow:
    """Make a rule what a draft says, its name too.

    Raises:
        InventoryError: there is none, the site file has it, it is not theirs as it is or as it
            would be, something of it is wrong, or its new name is taken.
    """
    await rule_book.own_rule(session, name)
    was = await rule_book.rule_named(session, name)
    before = _values(was)
    _require(actor, was.draft.host_group)
    _require(actor, draft.host_group)
    changed = await rule_book.change(session, name, draft)
    about = f"rule {changed.draft.name}"
    await audit.record(
        session, actor, "change", about, before=before, after=_values(changed), at=at
    )
    await _tell(session)
    return changed


async def remove(session: AsyncSession, actor: Actor, name: str, *, at: datetime) -> int:
    """Take a rule away; its hosts stay what they are. Says how many it had.

    Raises:
        InventoryError: there is none, the site file has it, or it is not theirs.
    """
    was = await rule_book.rule_named(session, name)
    _require(actor, was.draft.host_group)
    freed = await rule_book.delete(session, name)
    await audit.record(session, actor, "remove", f"rule {name}", before=_values(was), at=at)
    await _tell(session)
    return freed


async def _tell(session: AsyncSession) -> None:
    # No host has changed, and open pages say which rule takes one.
    await notify(session, CHANNEL_CHANGES, "*")


async def try_draft(
    session: AsyncSession,
    actor: Actor,
    draft: RuleDraft,
    *,
    replaces: str | None = None,
    most: int = 1000,
) -> Trial:
    """Try a draft against the hosts that somebody sees; nothing is touched.

    Args:
        session: only read.
        actor: who asks; at least an operator, for it costs some time.
        draft: a rule that is to be.
        replaces: name of the rule that it would be a change of.
        most: hosts against which it is tried.

    Raises:
        InventoryError: they only look, or something of the draft is wrong.
    """
    rights.require(actor, Role.OPERATOR)
    return await rule_trials.try_rule(
        session, draft, replaces=replaces, most=most, scope=actor.scope
    )
