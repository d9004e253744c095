"""What all handlers of the front share: whom it serves, and who speaks."""

from __future__ import annotations

import asyncio
import json
import math
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from starlette.requests import Request

from gateway.answers import Refusal
from gateway.context import Gateway
from integrations.candlepin import Candlepin
from serving.arrival import Kind, arrival_of

__all__ = ["PREFIX", "Front", "from_json", "require_identity", "require_own"]

PREFIX = "/rhsm"
_RED_HAT = "1.3.6.1.4.1.2312.9."
_OF_SYSTEMS = f"{_RED_HAT}5."
"""What identities may carry; all else below ``_RED_HAT`` is of content and entitlements."""


@dataclass(frozen=True)
class Front:
    """A gateway, and the Candlepin behind it."""

    gateway: Gateway
    candlepin: Candlepin
    registrations: asyncio.Semaphore
    """Room for those under way."""
    uploads: asyncio.Semaphore
    """Likewise for profiles."""
    open_answers: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Answers of Candlepin that are under way to each consumer."""

    @asynccontextmanager
    async def turn(self, room: asyncio.Semaphore) -> AsyncIterator[None]:
        """Wait for a place among those that are served: a storm of hosts queues here.

        In the database it would wait against the clock of a transaction, and fail.

        Raises:
            Refusal: 503, it has waited for too long.
        """
        seconds = self.gateway.settings.front_wait_seconds
        try:
            async with asyncio.timeout(seconds):
                await room.acquire()
        except TimeoutError:
            raise Refusal(
                503, f"many hosts come at once, for over {seconds:g} s; try again"
            ) from None
        try:
            yield
        finally:
            room.release()


def require_identity(request: Request) -> str:
    """The UUID in the identity certificate of whoever speaks.

    Raises:
        Refusal: 401, there is no certificate, or it is one that opens content only.
    """
    arrival = arrival_of(request)
    if arrival.kind is not Kind.HTTPS or not arrival.common_name or not arrival.certificate:
        raise Refusal(401, "no identity certificate: register first")
    certificate = x509.load_der_x509_certificate(arrival.certificate)
    kinds = [one.oid.dotted_string for one in certificate.extensions]
    if any(one.startswith(_RED_HAT) and not one.startswith(_OF_SYSTEMS) for one in kinds):
        raise Refusal(401, "Invalid Certificate Type: this one opens content, and names nobody")
    return arrival.common_name


def require_own(request: Request, uuid: str) -> str:
    """The same, where the path names a consumer: nobody speaks for another.

    Raises:
        Refusal: 403, it is somebody else's.
    """
    own = require_identity(request)
    if own != uuid:
        raise Refusal(403, f"the certificate is that of the consumer {own}, and not of {uuid}")
    return own


def from_json(body: bytes, *, passed_on: bool = False) -> Any:
    """A body, read.

    Args:
        body: as it was sent.
        passed_on: whether Candlepin is told what stands there: Python reads numbers that are none
            of JSON's, and nobody else does.

    Raises:
        Refusal: 400, it is no JSON.
    """
    number = _finite if passed_on else float
    try:
        return json.loads(body, parse_constant=number, parse_float=number)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the body is not JSON: {error}") from None


def _finite(number: str) -> float:
    read = float(number)
    if not math.isfinite(read):
        raise ValueError(f"{number[:20]} is no number of JSON")
    return read
