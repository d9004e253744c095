"""The clients of all Pulps that one process speaks to."""

from __future__ import annotations

from integrations.pulp import Pulp, PulpSettings
from inventory.models import Pulp as PulpRow
from tasks.credentials import pulp_settings

__all__ = ["PulpClients"]


class PulpClients:
    """One client for each Pulp, which keeps its login; a new one when the credentials change."""

    def __init__(self) -> None:
        self._clients: dict[str, tuple[PulpSettings, Pulp]] = {}
        self._replaced: list[Pulp] = []
        """Others may be in the middle of a sync with them: closed only at the end."""

    async def of(self, pulp: PulpRow) -> Pulp:
        """The client that speaks to this Pulp.

        The credentials are read at each call, so that a corrected password is used by the next
        retry.

        Raises:
            Problem: its credentials are not there.
        """
        settings = await pulp_settings(pulp)
        # Nothing is awaited from here on, so that many callers get the same client.
        known = self._clients.get(pulp.name)
        if known is not None and known[0] == settings:
            return known[1]
        if known is not None:
            self._replaced.append(known[1])
        client = Pulp(settings)
        self._clients[pulp.name] = (settings, client)
        return client

    async def close(self) -> None:
        """Give back connections."""
        for client in (*self._replaced, *(client for _, client in self._clients.values())):
            await client.close()
        self._replaced.clear()
        self._clients.clear()
