"""Runs the service on its listeners until it is cancelled, alone or inside of another program."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI

from proxy.app import create_app
from proxy.settings import ListenerSettings, ProxySettings
from serving.listeners import Listener, served, tcp_socket, tls_context, url_of

__all__ = ["Listening", "listening", "serve"]


@dataclass(frozen=True)
class Listening:
    """Where the service answers."""

    http_url: str
    """Empty: no plain listener."""
    https_url: str
    """Empty: no TLS listener."""


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
    plain = encrypted = None
    if listen.http_port is not None:
        plain = Listener(tcp_socket(listen.http_host, listen.http_port))
    if listen.https_port is not None:
        encrypted = _https(listen, listen.https_port)
    listeners = [one for one in (plain, encrypted) if one is not None]
    async with app.router.lifespan_context(app), served(app, listeners):
        yield Listening(
            http_url=url_of(plain) if plain else "",
            https_url=url_of(encrypted) if encrypted else "",
        )


def _https(listen: ListenerSettings, port: int) -> Listener:
    if listen.certificate is None or listen.ca is None:
        raise ValueError("an https_port needs certificate, key and ca")
    tls = tls_context(listen.certificate, listen.key, listen.ca)
    return Listener(tcp_socket(listen.https_host, port), tls)


async def serve(settings: ProxySettings) -> None:
    """Serve until cancelled; nothing is lost when the process is killed instead."""
    async with listening(settings):
        await asyncio.Event().wait()
