"""Who may call what: per feature and listener, by client certificate or by verified name.

The listener is told to the app through the ASGI scope by what accepted the connection, never by a
header. Without that mark a request counts as plain HTTP, so a forgotten wrapper denies.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request

from proxy.answers import NOT_FOUND, ProxyError
from proxy.settings import Enabled, ProxySettings
from serving.arrival import Arrival, Kind, arrival_of

__all__ = ["Guard", "NameOf", "reverse_name_of"]

NameOf = Callable[[str], Awaitable[str | None]]

_NAME_DEADLINE = 5.0


@dataclass(frozen=True)
class Guard:
    """Lets a request through to a feature, or refuses in upstream's words."""

    settings: ProxySettings
    name_of: NameOf

    def served(self, request: Request, enabled: Enabled) -> Arrival:
        """Say how a request arrived, if the feature is served there.

        Raises:
            ProxyError: 404 where it is not.
        """
        arrival = arrival_of(request)
        here = arrival.kind is Kind.IN_PROCESS or enabled in ("true", arrival.kind.value)
        if enabled == "false" or not here:
            raise ProxyError(404, NOT_FOUND)
        return arrival

    async def trusted(
        self, request: Request, enabled: Enabled, mount: str, *, nameless: bool = True
    ) -> None:
        """Let only trusted clients through.

        Calls inside of this process are trusted: who can make them could as well call what is
        behind us.

        Args:
            request: what is asked.
            enabled: where the feature is served.
            mount: the path's beginning, which upstream leaves out of its messages.
            nameless: whether plain HTTP will do where no trusted hosts are named, as upstream has
                it: whoever serves a feature there has chosen so.

        Raises:
            ProxyError: 404 or 403.
        """
        arrival = self.served(request, enabled)
        trusted = self.settings.trusted_hosts
        if arrival.kind is Kind.IN_PROCESS:
            return
        if arrival.kind is Kind.HTTPS:
            if arrival.common_name is None:
                if trusted is None:
                    raise ProxyError(403, "No client SSL certificate supplied")
                raise ProxyError(403, "could not read client cert from environment")
            name = arrival.common_name.lower()
        elif trusted is None and nameless:
            return
        elif trusted is None:
            raise ProxyError(403, "Over plain HTTP this needs trusted_hosts to be set")
        else:
            name = (await self._verified_name(request)).lower()
        if trusted is not None and name not in trusted:
            path = request.url.path.removeprefix(mount) or "/"
            raise ProxyError(
                403,
                f"Untrusted client {name} attempted to access {path}. "
                "Check :trusted_hosts: in settings.yml",
            )

    async def _verified_name(self, request: Request) -> str:
        address = request.client.host if request.client else "unknown"
        name = await self.name_of(address)
        return address if name is None else name


def reverse_name_of(*, forward_verify: bool) -> NameOf:
    """Looks up an address' name as the system does; None where there is none that holds."""

    def look(address: str) -> str | None:
        try:
            name = socket.gethostbyaddr(address)[0]
            leads_to = {found[4][0] for found in socket.getaddrinfo(name, None)}
        except OSError:
            return None
        return name if not forward_verify or address in leads_to else None

    async def name_of(address: str) -> str | None:
        try:
            async with asyncio.timeout(_NAME_DEADLINE):
                return await asyncio.to_thread(look, address)
        except TimeoutError:
            return None

    return name_of
