"""uvicorn on our own sockets: plain, and TLS that shows who is at the other end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.arrival import Arrival, Kind, Marked

__all__ = [
    "Listener",
    "follow_revocations",
    "served",
    "server_tls",
    "tcp_socket",
    "tls_context",
    "url_of",
]

# As ssl.SSLObject.getpeercert gives it, as far as it is read here.
_Certificate = dict[str, tuple[tuple[tuple[str, str], ...], ...]]

_START_SECONDS = 10.0
_STOP_SECONDS = 5
_FOLLOW_SECONDS = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listener:
    """Where connections come in.

    Args:
        socket: listens already.
        tls: from ``tls_context``; None: plain HTTP.
    """

    socket: socket.socket
    tls: ssl.SSLContext | None = None


def tcp_socket(host: str, port: int) -> socket.socket:
    """Listen on an address; port 0: any that is free.

    Raises:
        OSError: the address is not ours, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.create_server((host, port), family=family, backlog=2048)
    # What is accepted inherits it. asyncio sets it only on sockets that it has made itself, and
    # without it each answer in two parts waits 40 ms for an acknowledgement.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound


def server_tls(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """TLS as ourselves that asks nobody for a certificate.

    Raises:
        OSError: a file cannot be read, or certificate and key do not belong together; says which.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with _named(f"the certificate {certificate} with the key {key or certificate}"):
        context.load_cert_chain(certificate, key)
    return context


def tls_context(
    certificate: Path, key: Path | None, ca: Path, crl: Path | None = None
) -> ssl.SSLContext:
    """TLS as ourselves that asks for a client certificate of a CA and takes it where there is one.

    Asked for and not demanded, because not everybody who may speak to us has one: what a request
    without one may do is for the application to say.

    Args:
        certificate: ours, as PEM.
        key: its private key; None: it is in the same file.
        ca: who has signed those that we take.
        crl: which of them the CA has revoked; None: nobody looks. Read once, see
            ``follow_revocations``.

    Raises:
        OSError: a file cannot be read, or certificate and key do not belong together; says which.
    """
    context = server_tls(certificate, key)
    with _named(f"the CA {ca}"):
        context.load_verify_locations(cafile=ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    if crl is not None:
        _load_revoked(context, crl)
        # Of the certificate that is shown: nobody revokes a CA without giving us another.
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    return context


def _load_revoked(context: ssl.SSLContext, crl: Path) -> None:
    with _named(f"the list of revoked certificates {crl}"):
        context.load_verify_locations(cafile=crl)


async def follow_revocations(
    context: ssl.SSLContext, crl: Path, every: float = _FOLLOW_SECONDS
) -> None:
    """Read a list of revoked certificates again whenever it changes, until cancelled.

    Connections that are open stay so. A list that cannot be read is told, and the last one counts.

    Args:
        context: from ``tls_context``, with this list.
        crl: the list.
        every: seconds between two looks.
    """
    seen = (await asyncio.to_thread(crl.stat)).st_mtime_ns
    while True:
        await asyncio.sleep(every)
        try:
            changed = (await asyncio.to_thread(crl.stat)).st_mtime_ns
            if changed != seen:
                # OpenSSL keeps the older list as well, and believes the newer.
                await asyncio.to_thread(_load_revoked, context, crl)
                seen = changed
                _log.info("the list of revoked certificates %s was read anew", crl)
        except OSError as error:
            _log.error("the list of revoked certificates stays as it was: %s", error)


@contextlib.contextmanager
def _named(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # OpenSSL's own words name no file.
        raise OSError(f"TLS cannot use {what}, as PEM and readable to us: {error}") from error


def url_of(listener: Listener) -> str:
    """Where a listener is reached."""
    scheme = "https" if listener.tls else "http"
    host, port = listener.socket.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class _HttpProtocol(H11Protocol):
    """Marks each request with the listener that accepted it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self.app = Marked(cast(ASGIApp, self.app), Arrival(Kind.HTTP))


class _HttpsProtocol(H11Protocol):
    """Marks each request with the certificate that the handshake has verified.

    uvicorn does not hand the peer's certificate on, so it is taken from the connection itself,
    where asyncio keeps the TLS object once the handshake is through.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        tls = transport.get_extra_info("ssl_object")
        name, certificate = _common_name(tls.getpeercert()), tls.getpeercert(binary_form=True)
        arrival = Arrival(Kind.HTTPS, name, certificate)
        self.app = Marked(cast(ASGIApp, self.app), arrival)


class _Server(uvicorn.Server):
    """Leaves signals to the program that it runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _common_name(certificate: _Certificate | None) -> str | None:
    """The CN, as Puppet and Foreman compare it; alternative names are not looked at."""
    subject = (certificate or {}).get("subject", ())
    names = [value for part in subject for key, value in part if key == "commonName"]
    return names[-1] if names else None


def _server(app: ASGIApp, tls: ssl.SSLContext | None, stop_seconds: int) -> _Server:
    config = uvicorn.Config(
        app,
        http=_HttpsProtocol if tls else _HttpProtocol,
        # Opened and closed once for all listeners by whoever serves, not by each of them.
        lifespan="off",
        log_config=None,
        # Its log would repeat the tokens in the queries.
        access_log=False,
        # Whom to believe is the application's to judge.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=stop_seconds,
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )
    return _Server(config)


@asynccontextmanager
async def served(
    app: ASGIApp, listeners: Sequence[Listener], *, stop_seconds: int = _STOP_SECONDS
) -> AsyncIterator[None]:
    """Serve an application on listeners while the block lasts.

    Args:
        app: what to serve.
        listeners: where.
        stop_seconds: for requests that are being answered when it ends; they are finished first.

    Raises:
        TimeoutError: a listener was not ready within ten seconds.
    """
    servers = [(_server(app, one.tls, stop_seconds), one.socket) for one in listeners]
    tasks = [asyncio.create_task(one.serve(sockets=[bound])) for one, bound in servers]
    try:
        async with asyncio.timeout(_START_SECONDS):
            while not all(one.started for one, _ in servers):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        yield
    finally:
        for one, _ in servers:
            one.should_exit = True
        await asyncio.gather(*tasks)
