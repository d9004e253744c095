"""The clients of all Pulps, Puppet CAs and Candlepins that one process speaks to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from integrations.candlepin import Candlepin, CandlepinSettings
from integrations.pulp import Pulp, PulpSettings
from integrations.puppet import PuppetCa, PuppetSettings
from inventory.models import Candlepin as CandlepinRow
from inventory.models import Pulp as PulpRow
from inventory.models import Puppet as PuppetRow
from tasks.credentials import candlepin_settings, pulp_settings, puppet_settings

__all__ = ["Clients", "candlepin_clients", "pulp_clients", "puppet_clients"]


class _Client(Protocol):
    async def close(self) -> None: ...


class _Named(Protocol):
    name: str


Row = TypeVar("Row", bound=_Named)
Settings = TypeVar("Settings")
Client = TypeVar("Client", bound=_Client)


class Clients(Generic[Row, Settings, Client]):
    """One client for each system of a kind, which keeps its login; another if its settings change.

    Args:
        settings_of: completes a row of the inventory with the credentials that it names.
        make: a client from complete settings.
    """

    def __init__(
        self,
        settings_of: Callable[[Row], Coroutine[Any, Any, Settings]],
        make: Callable[[Settings], Client],
    ) -> None:
        self._settings_of = settings_of
        self._make = make
        self._clients: dict[str, tuple[Settings, Client]] = {}
        self._reading: dict[str, asyncio.Task[Settings]] = {}
        self._replaced: list[Client] = []
        """Others may be in the middle of a call with them: closed only at the end."""

    async def of(self, row: Row) -> Client:
        """The client that speaks to this system.

        The credentials are read at each call, so that corrected ones are used by the next retry;
        once for all hosts of a company, which ask at the same moment.

        Raises:
            Problem: its credentials are not there.
            Refused: what they say cannot be used.
        """
        settings = await self._settings(row)
        # Nothing is awaited from here on, so that many callers get the same client.
        known = self._clients.get(row.name)
        if known is not None and known[0] == settings:
            return known[1]
        client = self._make(settings)
        if known is not None:
            self._replaced.append(known[1])
        self._clients[row.name] = (settings, client)
        return client

    async def _settings(self, row: Row) -> Settings:
        name = row.name
        if name not in self._reading:
            reading = asyncio.create_task(self._settings_of(row))
            self._reading[name] = reading
            reading.add_done_callback(lambda _: self._reading.pop(name, None))
        # One caller that is cancelled must not take the answer from the others.
        return await asyncio.shield(self._reading[name])

    async def close(self) -> None:
        """Give back connections."""
        for client in (*self._replaced, *(client for _, client in self._clients.values())):
            await client.close()
        self._replaced.clear()
        self._clients.clear()


def pulp_clients() -> Clients[PulpRow, PulpSettings, Pulp]:
    """Clients of Pulps."""
    return Clients(pulp_settings, Pulp)


def puppet_clients() -> Clients[PuppetRow, PuppetSettings, PuppetCa]:
    """Clients of the CAs of Puppet servers."""
    return Clients(puppet_settings, PuppetCa)


def candlepin_clients() -> Clients[CandlepinRow, CandlepinSettings, Candlepin]:
    """Clients of Candlepins."""
    return Clients(candlepin_settings, Candlepin)
