"""Runs the gateway on its listeners until it is cancelled."""

from __future__ import annotations

import asyncio
import gc
import socket
from contextlib import AsyncExitStack
from pathlib import Path

from gateway.app import create_app
from gateway.live import Hub, hearing
from gateway.operators.app import create_operators_app
from gateway.rhsm.app import create_rhsm_app
from gateway.settings import GatewaySettings
from integrations.candlepin import Candlepin, CandlepinSettings, OAuthLogin
from inventory.database import make_engine, make_sessions
from serving.listeners import (
    Listener,
    follow_revocations,
    served,
    server_tls,
    tcp_socket,
    tls_context,
)

__all__ = ["serve"]


async def serve(settings: GatewaySettings) -> None:
    """Serve until cancelled; requests that are being answered are finished first.

    The inventory must have been migrated (``inventory.database.migrate``).

    Raises:
        OSError: an address cannot be listened on, or a certificate not be read.
    """
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=settings.pool_size)
    sessions = make_sessions(engine)
    try:
        async with AsyncExitStack() as stack:
            listeners = _listeners(settings)
            await stack.enter_async_context(served(create_app(settings, sessions), listeners))
            contexts = [one.tls for one in listeners if one.tls is not None]
            if settings.tls_crl is not None:
                for one in contexts:
                    following = asyncio.create_task(follow_revocations(one, settings.tls_crl))
                    stack.callback(following.cancel)
            if (candlepin := _candlepin(settings)) is not None:
                await stack.enter_async_context(candlepin)
                front = create_rhsm_app(settings, sessions, candlepin)
                await stack.enter_async_context(served(front, _front_listeners(settings)))
            if settings.console_port is not None:
                hub = Hub(settings.streams)
                operators = create_operators_app(settings, sessions, hub)
                await stack.enter_async_context(served(operators, [_console_listener(settings)]))
                # After it is served, so that its end comes before: open pages would keep it.
                url = settings.database_url.get_secret_value()
                await stack.enter_async_context(hearing(hub, url))
            # Modules and routes live as long as the process: to search them again and again for
            # garbage makes some host wait a tenth of a second.
            gc.collect()
            gc.freeze()
            await asyncio.Event().wait()
    finally:
        if settings.uds:
            settings.uds.unlink(missing_ok=True)
        await engine.dispose()


def _listeners(settings: GatewaySettings) -> list[Listener]:
    if settings.uds:
        plain = Listener(_unix_socket(settings.uds))
    else:
        plain = Listener(tcp_socket(settings.host, settings.port))
    if settings.tls_port is None or settings.tls_certificate is None or settings.tls_ca is None:
        return [plain]
    tls = tls_context(settings.tls_certificate, settings.tls_key, settings.tls_ca, settings.tls_crl)
    return [plain, Listener(tcp_socket(settings.tls_host, settings.tls_port), tls)]


def _console_listener(settings: GatewaySettings) -> Listener:
    bound = tcp_socket(settings.console_host, settings.console_port or 0)
    if settings.console_certificate is None:
        return Listener(bound)
    return Listener(bound, server_tls(settings.console_certificate, settings.console_key))


def _candlepin(settings: GatewaySettings) -> Candlepin | None:
    """The one behind the RHSM front; None: there is no front."""
    secret = settings.candlepin_oauth_secret
    if settings.candlepin_url is None or settings.candlepin_oauth_key is None or secret is None:
        return None
    login = OAuthLogin(
        key=settings.candlepin_oauth_key, secret=secret, user=settings.candlepin_user
    )
    ca = settings.candlepin_ca.read_text() if settings.candlepin_ca else None
    return Candlepin(
        CandlepinSettings(
            url=settings.candlepin_url, login=login, ca=ca, timeout=settings.candlepin_seconds
        )
    )


def _front_listeners(settings: GatewaySettings) -> list[Listener]:
    certificate, ca, port = settings.rhsm_certificate, settings.rhsm_ca, settings.rhsm_port
    if certificate is None or ca is None or port is None:
        return []  # settings are complete or not there: never, with a Candlepin
    tls = tls_context(certificate, settings.rhsm_key, ca)
    return [Listener(tcp_socket(settings.rhsm_host, port), tls)]


def _unix_socket(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # of a gateway that was killed
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    # Who may connect is a matter of the directory's permissions.
    path.chmod(0o666)
    listening.listen(2048)
    return listening
