"""Reads a request as hosts, installers and Smart Proxies really send it."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from gateway.answers import Refusal, faults_of
from gateway.settings import Networks
from integrations.records import normal_mac

__all__ = [
    "client_address",
    "is_within",
    "macs_of",
    "read_body",
    "read_message",
    "read_start",
    "require_json",
    "token_of",
]

Message = TypeVar("Message", bound=BaseModel)

_MAC_HEADER = re.compile(r"x-rhn-provisioning-mac-(\d{1,4})")


async def read_body(request: Request, most: int) -> bytes:
    """The whole body.

    Raises:
        Refusal: 413, it has more than ``most`` bytes.
    """
    return await _read(request, keep=most, most=most)


async def read_start(request: Request, keep: int, most: int) -> bytes:
    """The first ``keep`` + 1 bytes of the body, so that the caller sees whether there were more.

    Raises:
        Refusal: 413, it has more than ``most`` bytes.
    """
    return await _read(request, keep=keep + 1, most=most)


async def _read(request: Request, *, keep: int, most: int) -> bytes:
    body = bytearray()
    length = 0
    async for part in request.stream():
        length += len(part)
        if length > most:
            raise Refusal(413, f"the body has more than {most} bytes")
        body += part[: keep - len(body)]
    return bytes(body)


def require_json(request: Request) -> None:
    """Refuse (415) a body that does not call itself JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, f"the body must be application/json, not {kind or 'without a type'!r}")


def read_message(kind: type[Message], body: str | bytes) -> Message:
    """A message of a known shape.

    Raises:
        Refusal: 422, it is no JSON or says something else.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise Refusal(422, f"not understood: {faults_of(error)}") from None


def is_within(address: str, networks: Networks) -> bool:
    """Whether an address lies in any of the networks."""
    parsed = _address(address)
    return parsed is not None and any(parsed in network for network in networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    # A socket for both families shows IPv4 peers as ::ffff:192.0.2.1.
    return getattr(parsed, "ipv4_mapped", None) or parsed


def client_address(request: Request, trusted: Networks) -> str:
    """Who speaks: the last address that no trusted proxy vouches for.

    A peer on a Unix socket has no address, and is trusted as the file's permissions are.
    """
    peer = request.client.host if request.client else ""
    speaker = str(_address(peer) or peer)
    if peer and not is_within(peer, trusted):
        return speaker
    forwarded = ",".join(request.headers.getlist("x-forwarded-for"))
    for hop in reversed(forwarded.split(",")):
        parsed = _address(hop.strip())
        if parsed is None:
            break
        speaker = str(parsed)
        if not is_within(speaker, trusted):
            break
    return speaker or "unix socket"


def token_of(request: Request) -> str | None:
    """The build token of the query; None where there is none.

    Raises:
        Refusal: 400, there are several.
    """
    tokens = set(request.query_params.getlist("token"))
    if len(tokens) > 1:
        raise Refusal(400, "the request has several tokens; a build has one")
    return tokens.pop() if tokens else None


def macs_of(request: Request) -> tuple[str, ...]:
    """The machine's interfaces: ``?mac=`` and what ``inst.ks.sendmac`` makes Anaconda send.

    Headers are ``X-RHN-Provisioning-MAC-n: eth0 52:54:00:aa:bb:01``; a Smart Proxy's relay spells
    them with underscores. They count only where number 0 is among them. What is no Ethernet
    address there (InfiniBand) identifies nobody and is passed over.

    Raises:
        Refusal: 400, ``?mac=`` is no MAC address.
    """
    try:
        asked = [normal_mac(text) for text in request.query_params.getlist("mac")]
    except ValueError as error:
        raise Refusal(400, f"mac: {error}") from None
    sent: dict[int, str] = {}
    for name, value in request.headers.items():
        found = _MAC_HEADER.fullmatch(name.lower().replace("_", "-"))
        if found:
            sent[int(found[1])] = (value.split() or [""])[-1]
    usable = [mac for mac in map(_mac_or_none, sent.values()) if mac] if 0 in sent else []
    return tuple(dict.fromkeys(asked + usable))


def _mac_or_none(text: str) -> str | None:
    try:
        return normal_mac(text)
    except ValueError:
        return None
