"""What is attacked, as the rest of this room sees it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastapi import FastAPI

from tests.hostile.making import Break, Draft, Endpoint, Maker, Sender
from tests.hostile.sending import Outcome, Sent

__all__ = ["Body", "Knowledge", "Target", "document_of", "endpoints_of"]

Body = tuple[str | None, bytes]
"""Content type, content."""


@dataclass(frozen=True)
class Knowledge:
    """What an attacker knows of an endpoint who has read our source."""

    bodies: Sequence[Body] = ()
    """Valid ones."""
    form: Mapping[str, str] | None = None
    """A valid form, instead."""
    breaks: Sequence[Break] = ()
    """What makes an insider's request malformed; none: no insider can change anything there."""
    insiders: bool = True
    """False: whatever an insider sends is meant to be taken."""
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What its query may hold, beside credentials."""
    refusals_kept: bool = False
    """Whether a refusal is written down, for people to see."""
    anonymous: Sequence[Break] = ()
    """Of an endpoint that takes input from anybody: what makes a stranger's malformed."""


class Target(Protocol):
    """One application, and what lies behind it."""

    name: str
    openapi: dict[str, Any]
    endpoints: Sequence[Endpoint]
    values: Mapping[str, Sequence[str]]
    at_once: int
    """Requests under way at a time."""
    by_contract: frozenset[int]
    """Statuses from 500 on that the API's contract prescribes."""

    def knowledge(self, endpoint: Endpoint) -> Knowledge:
        """What is known of an endpoint."""
        ...

    def credentials(self, endpoint: Endpoint, sender: Sender, draft: Draft, maker: Maker) -> None:
        """Put into a draft who speaks, as far as that is in the request."""
        ...

    async def send(self, sender: Sender, sent: Sent, maker: Maker) -> Outcome:
        """What the application does."""
        ...

    async def digest(self, sender: Sender) -> dict[str, str]:
        """All that could have changed, by its name."""
        ...

    async def renew(self) -> None:
        """Make the site anew that those who are admitted have had."""
        ...


def document_of(app: FastAPI) -> dict[str, Any]:
    """Its OpenAPI; that one handler serves two methods is nothing to be told of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return app.openapi()


def endpoints_of(
    openapi: Mapping[str, Any], name: str, only: Callable[[str], bool] = lambda _: True
) -> list[Endpoint]:
    """All methods of all paths of an application, as its OpenAPI has them."""
    return [
        Endpoint(name, method.upper(), path)
        for path, operations in openapi["paths"].items()
        if only(path)
        for method in operations
    ]
