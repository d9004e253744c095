"""The kickstarts that hosts were given, without their secrets: plans are held against them."""

from __future__ import annotations

import re
from datetime import datetime
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from inventory.builds import certificate_token, registration_token
from inventory.database import AsyncSession
from inventory.models import Build, RenderedKickstart

__all__ = ["keep", "last_of_host", "without_secrets"]

_PASSWORDS = re.compile(r"""(pass(?:word|phrase|wd)?=)("[^"]*"|'[^']*'|[^\s'"]+)""", re.IGNORECASE)
"""Of partitions, boot loaders and kernel options, in whichever part of the site file they stand."""
_SHORTEST_HASH = 8
"""Shorter is no hash: ``!`` locks the account."""


def without_secrets(text: str, token: str, root_password_hash: str, key: str | None) -> str:
    """A kickstart with placeholders for whatever opens a door.

    Args:
        text: as it is given to the host.
        token: the build's, from which the others are made.
        root_password_hash: of the host group.
        key: name of the host group's activation key; who knows it may register.
    """
    secrets = {
        f"{key},{registration_token(token)}": "[activation key],[registration token]",
        certificate_token(token): "[certificate token]",
        registration_token(token): "[registration token]",
        token: "[token]",
    }
    if len(root_password_hash) > _SHORTEST_HASH:
        secrets[root_password_hash] = "[root password]"
    for secret, placeholder in secrets.items():
        text = text.replace(secret, placeholder)
    return _PASSWORDS.sub(r"\1[secret]", text)


async def keep(session: AsyncSession, build_id: UUID, text: str, at: datetime) -> None:
    """Keep what a build's host was given; given again, the newer one is kept."""
    kept = insert(RenderedKickstart).values(build_id=build_id, text=text, rendered_at=at)
    await session.exec(
        kept.on_conflict_do_update(
            index_elements=["build_id"],
            set_={"text": kept.excluded.text, "rendered_at": kept.excluded.rendered_at},
        )
    )


async def last_of_host(session: AsyncSession, host_id: int) -> str | None:
    """What a host was given last; None: nothing that was kept."""
    found = await session.exec(
        select(RenderedKickstart.text)
        .join(Build, col(Build.id) == col(RenderedKickstart.build_id))
        .where(col(Build.host_id) == host_id)
        .order_by(col(Build.generation).desc())
        .limit(1)
    )
    return found.first()
