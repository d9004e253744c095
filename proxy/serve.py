"""Runs the service on its listeners until it is cancelled, alone or inside of another program."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from proxy.access import Arrival, Kind, Marked
from proxy.app import create_app
from proxy.settings import ListenerSettings, ProxySettings

__all__ = ["Listening", "listening", "serve"]

# As ssl.SSLObject.getpeercert gives it, as far as it is read here.
_Certificate = dict[str, tuple[tuple[tuple[str, str], ...], ...]]

_START_SECONDS = 10.0
_STOP_SECONDS = 5


@dataclass(frozen=True)
class Listening:
    """Where the service answers."""

    http_url: str
    """Empty: no plain listener."""
    https_url: str
    """Empty: no TLS listener."""


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
        arrival = Arrival(Kind.HTTPS, _common_name(tls.getpeercert()))
        self.app = Marked(cast(ASGIApp, self.app), arrival)


class _Server(uvicorn.Server):
    """Leaves signals to the program that it runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _common_name(certificate: _Certificate | None) -> str | None:
    """The CN, as upstream compares it; alternative names are not looked at."""
    subject = (certificate or {}).get("subject", ())
    names = [value for part in subject for key, value in part if key == "commonName"]
    return names[-1] if names else None


def _tls(listen: ListenerSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if listen.certificate is None:
        raise ValueError("an https_port needs certificate, key and ca")
    context.load_cert_chain(listen.certificate, listen.key)
    context.load_verify_locations(cafile=listen.ca)
    # Asked for and not demanded: hosts without a certificate may send facts.
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def _url(scheme: str, bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _server(app: FastAPI, protocol: type[asyncio.Protocol], tls: ssl.SSLContext | None) -> _Server:
    config = uvicorn.Config(
        app,
        http=protocol,
        # Opened and closed once for all listeners, not by each of them.
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )
    return _Server(config)


@asynccontextmanager
async def listening(
    settings: ProxySettings, app: FastAPI | None = None
) -> AsyncIterator[Listening]:
    """Serve while the block lasts.

    Args:
        settings: of this proxy.
        app: made from the settings unless given.

    Raises:
        OSError: an address or port cannot be listened on, or a certificate not be read.
    """
    app = app or create_app(settings)
    listen = settings.listen
    servers: list[tuple[_Server, socket.socket]] = []
    urls = {"http": "", "https": ""}
    if listen.http_port is not None:
        plain = _socket(listen.http_host, listen.http_port)
        servers.append((_server(app, _HttpProtocol, None), plain))
        urls["http"] = _url("http", plain)
    if listen.https_port is not None:
        encrypted = _socket(listen.https_host, listen.https_port)
        servers.append((_server(app, _HttpsProtocol, _tls(listen)), encrypted))
        urls["https"] = _url("https", encrypted)
    async with app.router.lifespan_context(app):
        tasks = [asyncio.create_task(one.serve(sockets=[bound])) for one, bound in servers]
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not all(one.started for one, _ in servers):  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0.01)
            yield Listening(urls["http"], urls["https"])
        finally:
            for one, _ in servers:
                one.should_exit = True
            await asyncio.gather(*tasks)


async def serve(settings: ProxySettings) -> None:
    """Serve until cancelled; nothing is lost when the process is killed instead."""
    async with listening(settings):
        await asyncio.Event().wait()
