"""What Puppet is told of a host: classes, parameters and environment, and how that has changed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict
from sqlmodel import col, select

from inventory.builds import latest_build
from inventory.database import AsyncSession
from inventory.hosts import lock_host
from inventory.models import Classification, Domain, Host, HostGroup, HostOverride

__all__ = ["Answer", "answer_for", "changes", "keep"]

_SAME_IN_RUBY = re.compile(r"[A-Za-z_][A-Za-z0-9_./:-]*")
"""What Python and Ruby both read as a string without quotes, but for these words in any case."""
_NO_STRING = frozenset({"yes", "no", "true", "false", "on", "off", "null"})


class _Dumper(yaml.SafeDumper):
    """Writes for Puppet, whose Ruby reads ``:80`` as a symbol and ``1,234`` as a number."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    plain = _SAME_IN_RUBY.fullmatch(text) and text.lower() not in _NO_STRING
    style = None if plain else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


class Answer(BaseModel):
    """The answer of an external node classifier (contract: ``puppet.md``, section 5)."""

    model_config = ConfigDict(frozen=True)

    classes: Mapping[str, Mapping[str, Any]]
    parameters: Mapping[str, Any]
    """Become variables at the top of every manifest."""
    environment: str

    def yaml(self) -> str:
        """As Puppet reads it; the same answer is always the same text."""
        values = self.model_dump(mode="json")
        return yaml.dump(values, Dumper=_Dumper, sort_keys=True, allow_unicode=True)


async def answer_for(session: AsyncSession, host: Host) -> Answer | None:
    """What a host is to Puppet now; None: its group, if it has one, has no Puppet.

    The host's own override goes before its group, key by key. Besides, manifests are told what only
    we know: ``rackrise_host_group``, ``rackrise_domain`` and ``rackrise_generation``.
    """
    group = await session.get(HostGroup, host.host_group_id) if host.host_group_id else None
    if group is None or group.puppet_id is None:
        return None
    domain = await session.get_one(Domain, group.domain_id)
    build = await latest_build(session, host.id)
    found = await session.exec(select(HostOverride).where(HostOverride.name == host.name))
    own = found.one_or_none() or HostOverride(name=host.name)
    classes = {
        name: {**group.classes.get(name, {}), **own.classes.get(name, {})}
        for name in {**group.classes, **own.classes}
    }
    ours = {
        "rackrise_host_group": group.name,
        "rackrise_domain": domain.name,
        "rackrise_generation": build.generation if build else 0,
    }
    return Answer(
        classes=classes,
        parameters={**group.parameters, **own.parameters, **ours},
        environment=own.environment or group.environment,
    )


async def keep(session: AsyncSession, host: Host, answer: Answer, at: datetime) -> str:
    """Keep an answer if it is another one than the last.

    Returns:
        The lines that went and came; empty if it is the same.
    """
    # Puppet asks twice a run: the second waits for the first and finds its answer.
    await lock_host(session, host.id)
    newest = await session.exec(
        select(Classification.answer)
        .where(col(Classification.host_id) == host.id)
        .order_by(col(Classification.id).desc())
        .limit(1)
    )
    text, before = answer.yaml(), newest.one_or_none() or ""
    if text == before:
        return ""
    lines = difflib.ndiff(before.splitlines(), text.splitlines())
    difference = "\n".join(line for line in lines if line[0] in "+-")
    session.add(Classification(host_id=host.id, answered_at=at, answer=text, difference=difference))
    await session.flush()
    return difference


async def changes(session: AsyncSession, host_id: int, limit: int = 20) -> list[Classification]:
    """How a host's answers have changed, the newest first."""
    found = await session.exec(
        select(Classification)
        .where(col(Classification.host_id) == host_id)
        .order_by(col(Classification.id).desc())
        .limit(limit)
    )
    return list(found)
