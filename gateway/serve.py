"""Runs the gateway on its listeners until it is cancelled."""

from __future__ import annotations

import asyncio
import gc
import socket
from pathlib import Path

from gateway.app import create_app
from gateway.settings import GatewaySettings
from inventory.database import make_engine, make_sessions
from serving.listeners import Listener, served, tcp_socket, tls_context

__all__ = ["serve"]


async def serve(settings: GatewaySettings) -> None:
    """Serve until cancelled; requests that are being answered are finished first.

    The inventory must have been migrated (``inventory.database.migrate``).

    Raises:
        OSError: an address cannot be listened on, or a certificate not be read.
    """
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=settings.pool_size)
    app = create_app(settings, make_sessions(engine))
    try:
        async with served(app, _listeners(settings)):
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
    tls = tls_context(settings.tls_certificate, settings.tls_key, settings.tls_ca)
    return [plain, Listener(tcp_socket(settings.tls_host, settings.tls_port), tls)]


def _unix_socket(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # of a gateway that was killed
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    # Who may connect is a matter of the directory's permissions.
    path.chmod(0o666)
    listening.listen(2048)
    return listening
