"""Tells receivers of webhooks, signed as Standard Webhooks says, at addresses that they may have.

A receiver's URL is somebody's input, and we stand where it does not: its address is looked up here
and connected to as it was judged, redirects are not followed, and little of an answer is read.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
import ssl
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpx

__all__ = ["DENIED", "Answer", "Call", "NotSent", "Post", "Rules", "posts", "signature"]

Network = IPv4Network | IPv6Network

SEND_SECONDS = 15.0
"""From looking the address up to the end of the answer."""
_MOST_READ = 1000
_MOST_WAIT = timedelta(hours=1)

DENIED: tuple[Network, ...] = tuple(
    ip_network(one)
    for one in (
        # Link-local, where clouds keep their metadata; the last three are metadata elsewhere.
        *("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32"),
        "192.0.0.192/32",
        # Nobody's, everybody's, and what is no single machine.
        *("0.0.0.0/8", "::/128", "224.0.0.0/4", "240.0.0.0/4", "ff00::/8"),
    )
)
_TRANSLATED = ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class Rules:
    """Where nothing is sent."""

    denied: tuple[Network, ...] = DENIED
    loopback: bool = False
    """Whether to this machine itself."""

    def refuses(self, text: str) -> bool:
        """Whether nothing is sent to an address, in whatever way it is written."""
        address = _plain(ip_address(text.partition("%")[0]))
        # 0.0.0.0 leads to this machine too.
        if address.is_loopback or address.is_unspecified:
            return not self.loopback
        return any(address in network for network in self.denied)


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


@dataclass(frozen=True)
class Call:
    """What is sent."""

    url: str
    secret: str
    """``whsec_`` and base64."""
    id: str
    """The same for each attempt, so that a receiver knows what it has already."""
    at: datetime
    content_type: str
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What the receiver said."""

    status: int
    retry_after: timedelta | None
    """How long it wants to be left alone."""
    text: str
    """How its answer begins."""


class NotSent(Exception):
    """There was no answer; the message says why."""


def signature(secret: str, call_id: str, timestamp: int, body: bytes) -> str:
    """The header ``webhook-signature``."""
    key = b64decode(secret.removeprefix("whsec_"))
    signed = f"{call_id}.{timestamp}.".encode() + body
    return "v1," + b64encode(hmac.digest(key, signed, sha256)).decode()


class Post:
    """Sends to one receiver; its connections serve nobody else, whose name they were not shown.

    Args:
        transport: below httpx's client: no cookies, no redirects, no proxy.
        rules: where nothing is sent.
    """

    def __init__(self, transport: httpx.AsyncHTTPTransport, rules: Rules) -> None:
        self._transport = transport
        self._rules = rules

    async def __call__(self, call: Call) -> Answer:
        """Send, and read the answer.

        Raises:
            NotSent: there was none within fifteen seconds, or the address is denied.
        """
        try:
            async with asyncio.timeout(SEND_SECONDS):
                return await self._send(call)
        except TimeoutError:
            raise NotSent(f"no answer within {SEND_SECONDS:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            raise NotSent(f"no answer: {error or type(error).__name__}") from error

    async def _send(self, call: Call) -> Answer:
        url = httpx.URL(call.url)
        last: httpx.ConnectError | None = None
        for address in await self._addresses(url):
            request = _request(call, url, address)
            try:
                response = await self._transport.handle_async_request(request)
            except httpx.ConnectError as error:
                last = error
                continue
            try:
                return Answer(response.status_code, _wait(response.headers), await _start(response))
            finally:
                await response.aclose()
        raise last or httpx.ConnectError("no address")

    async def _addresses(self, url: httpx.URL) -> list[str]:
        host = url.raw_host.decode()
        port = url.port or (443 if url.scheme == "https" else 80)
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        allowed = [one for one in addresses if not self._rules.refuses(one)]
        if not allowed:
            raise NotSent(
                f"nothing is sent to {host} ({', '.join(addresses)}): its network is denied; see "
                "RACKRISE_WEBHOOK_DENIED and RACKRISE_WEBHOOK_LOOPBACK"
            )
        return allowed


def _request(call: Call, url: httpx.URL, address: str) -> httpx.Request:
    timestamp = int(call.at.timestamp())
    return httpx.Request(
        "POST",
        url.copy_with(host=address),
        headers={
            "Host": url.netloc.decode(),
            "User-Agent": "rackrise",
            "Content-Type": call.content_type,
            "webhook-id": call.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(call.secret, call.id, timestamp, call.body),
        },
        content=call.body,
        # The certificate must be of the name, not of the address.
        extensions={"sni_hostname": url.raw_host.decode()},
    )


async def _start(response: httpx.Response) -> str:
    read = b""
    async for part in response.aiter_raw():
        read += part
        if len(read) >= _MOST_READ:
            break
    return read[:_MOST_READ].decode(errors="replace")


def _wait(headers: httpx.Headers) -> timedelta | None:
    text = headers.get("retry-after", "")
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        return None
    return min(timedelta(seconds=int(text)), _MOST_WAIT)


@asynccontextmanager
async def posts(rules: Rules, trust: ssl.SSLContext) -> AsyncIterator[Post]:
    """What sends to one receiver while the block lasts.

    Args:
        rules: where nothing is sent.
        trust: whose certificates are believed.
    """
    async with httpx.AsyncHTTPTransport(verify=trust, trust_env=False) as transport:
        yield Post(transport, rules)
