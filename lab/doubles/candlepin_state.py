"""What Candlepin's double knows, and how it spells what it knows."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from starlette.datastructures import QueryParams
from starlette.responses import Response

from lab.doubles.candlepin_auth import Principal
from lab.doubles.candlepin_ca import CandlepinCa, Issued

__all__ = [
    "Call",
    "Faults",
    "Object",
    "Refusal",
    "Routes",
    "State",
    "certificate_document",
    "environment_of",
    "gone",
    "nested",
    "owner_of",
    "stamp",
    "stamps",
    "texts",
]

Object = dict[str, Any]


class Refusal(Exception):
    """An answer other than success, in Candlepin's words."""

    def __init__(self, status: int, words: str, **more: object) -> None:
        self.status, self.words, self.more = status, words, more


@dataclass
class Faults:
    """What goes wrong, each switchable at any time."""

    down: bool = False
    """Every call ends in 503."""
    suspended: bool = False
    """Its broker is away: only ``/status`` answers."""
    undeployed: bool = False
    """A server answers, and there is no Candlepin in it."""
    lost_answers: int = 0
    """So many registrations are done and not answered."""
    drops: bool = False
    """Creates and deletes are answered with yes, and not done."""
    failing_jobs: bool = False
    """Jobs end as FAILED."""


@dataclass
class State:
    """All of it, by Candlepin's own keys; documents as they are answered."""

    faults: Faults = field(default_factory=Faults)
    ca: CandlepinCa = field(default_factory=CandlepinCa)
    owners: dict[str, Object] = field(default_factory=dict)
    environments: dict[str, Object] = field(default_factory=dict)
    keys: dict[str, Object] = field(default_factory=dict)
    consumers: dict[str, Object] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    accesses: dict[str, Object] = field(default_factory=dict)
    """Content access certificates, by consumer."""
    jobs: dict[str, Object] = field(default_factory=dict)
    contents: dict[tuple[str, str], Object] = field(default_factory=dict)
    registered: list[str] = field(default_factory=list)
    """UUIDs of consumers in the order in which they were made."""


@dataclass(frozen=True)
class Call:
    """A request, read."""

    query: QueryParams
    body: Any
    who: Principal | None

    def object(self) -> Object:
        """The body, which must be an object."""
        if not isinstance(self.body, dict):
            raise Refusal(400, "an object is expected")
        return self.body


Routes = Mapping[tuple[str, str], Callable[..., Awaitable[Response]]]


def owner_of(state: State, key: str) -> Object:
    """An organization."""
    found = state.owners.get(key)
    if found is None:
        raise Refusal(404, f"Owner with ID(s) {key} could not be found.")
    return found


def environment_of(state: State, ident: str) -> Object:
    """An environment."""
    found = state.environments.get(ident)
    if found is None:
        raise Refusal(404, f"Environment with ID(s) {ident} could not be found.")
    return found


def gone(uuid: str) -> Refusal:
    """A consumer was deleted: its client wipes its identity when it reads this."""
    return Refusal(410, f"Unit {uuid} has been deleted", deletedId=uuid)


def certificate_document(issued: Issued) -> Object:
    """A CertificateDTO."""
    serial = {
        **stamps(),
        "id": issued.serial,
        "serial": issued.serial,
        "expiration": stamp(issued.expires),
        "revoked": False,
    }
    return {
        **stamps(),
        "id": uuid4().hex,
        "key": issued.key,
        "cert": issued.certificate,
        "serial": serial,
    }


def nested(owner: Object) -> Object:
    """An organization as it stands in other documents."""
    return {
        "id": owner["id"],
        "key": owner["key"],
        "displayName": owner["displayName"],
        "href": f"/owners/{owner['key']}",
        "contentAccessMode": owner["contentAccessMode"],
    }


def stamps() -> Object:
    """When something was made and changed: now."""
    now = stamp(datetime.now(UTC))
    return {"created": now, "updated": now}


def stamp(moment: datetime) -> str:
    """Without a colon in the offset: ISO 8601, and not RFC 3339 (contract)."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S+0000")


def texts(facts: Mapping[str, object]) -> dict[str, str]:
    """Facts as they are kept: numbers become text."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in facts.items()
        if value is not None
    }
