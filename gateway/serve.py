"""Runs the gateway as a server until it is cancelled."""

from __future__ import annotations

import asyncio
import gc
from contextlib import nullcontext

import uvicorn

from gateway.app import create_app
from gateway.settings import GatewaySettings
from inventory.database import make_engine, make_sessions

__all__ = ["serve"]


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: signals belong to whoever runs the process."""

    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]
        """Leave the signals alone."""
        return nullcontext()


async def serve(settings: GatewaySettings) -> None:
    """Serve until cancelled; requests that are being answered are finished first.

    The inventory must have been migrated (``inventory.database.migrate``).

    Raises:
        SystemExit: the address cannot be listened on (uvicorn's way to say so).
    """
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=settings.pool_size)
    server = _Server(
        uvicorn.Config(
            create_app(settings, make_sessions(engine)),
            host=settings.host,
            port=settings.port,
            uds=str(settings.uds) if settings.uds else None,
            # Its log would repeat the tokens in the queries; ours names hosts instead.
            access_log=False,
            # X-Forwarded-For is judged by gateway.requests alone.
            proxy_headers=False,
            server_header=False,
            lifespan="off",
            log_config=None,
            timeout_graceful_shutdown=5,
        )
    )
    # Modules and routes live as long as the process: to search them again and again for garbage
    # makes some host wait a tenth of a second.
    gc.collect()
    gc.freeze()
    serving = asyncio.create_task(server.serve())
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise
    finally:
        await engine.dispose()
