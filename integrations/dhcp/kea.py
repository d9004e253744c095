"""Kea DHCPv4, through its own control socket or its control agent."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator

from integrations.dhcp.kea_channel import AgentChannel, Json, KeaChannel, UnixChannel, ask
from integrations.dhcp.kea_config import (
    read_config,
    require_subnet,
    select,
    to_lease,
    to_reservation,
    to_subnets,
)
from integrations.dhcp.kea_hosts import HostCommands
from integrations.dhcp.kea_rewrite import ConfigRewriter
from integrations.dhcp.rules import require_well_formed
from integrations.records import DhcpSubnet, Lease, Outcome, Reservation, normal_mac

__all__ = ["KeaDhcp", "KeaSettings"]


class KeaSettings(BaseModel):
    """Where Kea is and how to speak to it: either by its socket or by its agent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    control_socket: Path | None = None
    """Kea's own socket, for a program on the same host."""
    agent_url: str = ""
    """The control agent, e.g. ``http://127.0.0.1:8000/``."""
    user: str = ""
    """For the agent's basic authentication; empty for none."""
    password: SecretStr = SecretStr("")
    timeout: float = 10
    """Seconds that one command may take."""
    lock_file: Path | None = None
    """Keeps other writers on this host away; default: beside the socket, or in the temporary
    directory under a name made from the agent's URL. All programs must name the same."""
    lock_timeout: float = 60
    """Seconds to wait for another writer."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.control_socket is None) == (self.agent_url == ""):
            raise ValueError("Kea is reached either by control_socket or by agent_url: give one")
        return self

    def channel(self) -> KeaChannel:
        """The way to Kea that these settings name."""
        if self.control_socket is not None:
            return UnixChannel(self.control_socket, self.timeout)
        return AgentChannel(self.agent_url, self.user, self.password, self.timeout)

    def lock_path(self) -> Path:
        """The lock file that these settings mean."""
        if self.lock_file is not None:
            return self.lock_file
        if self.control_socket is not None:
            return self.control_socket.with_name(f"{self.control_socket.name}.writer")
        digest = hashlib.sha256(self.agent_url.rstrip("/").encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"rackrise-kea-{digest}.lock"


class KeaDhcp:
    """Implements ``DhcpServer`` for Kea 2.2 and newer.

    Which of two ways a reservation is made is asked of the server, not assumed: by
    ``reservation-add`` where the ``host_cmds`` hook is loaded, else by rewriting the configuration
    (``kea_rewrite``). Reservations that are not bound to a MAC address are respected when one is
    made, but have no place in a list of ``Reservation`` and are left out there.

    An instance belongs to one event loop. Every write in this process should go through one
    instance for each Kea: it makes the changes of concurrent callers together.

    Args:
        settings: where Kea is.
        channel: another way to it than the settings'.
        now: the time, for telling expired leases.
    """

    def __init__(
        self,
        settings: KeaSettings,
        *,
        channel: KeaChannel | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._channel = channel or settings.channel()
        self._rewriter = ConfigRewriter(self._channel, settings.lock_path(), settings.lock_timeout)
        self._now = now
        self._commands: frozenset[str] | None = None
        self._asking = asyncio.Lock()

    async def subnets(self) -> list[DhcpSubnet]:
        """All subnets, those in shared networks included."""
        return to_subnets(await read_config(self._channel, "list the subnets"))

    async def reservations(self, network: IPv4Network) -> list[Reservation]:
        """All reservations of a subnet that are bound to a MAC address."""
        return _readable(await self._items(network), network)

    async def leases(self, network: IPv4Network) -> list[Lease]:
        """All leases of a subnet, expired ones marked inactive; needs the ``lease_cmds`` hook.

        Raises:
            Unsupported: the hook is not loaded.
        """
        operation = f"list the leases of {network}"
        subnet = require_subnet(
            await read_config(self._channel, operation),
            network,
            address=self._channel.address,
            operation=operation,
        )
        arguments = {"subnets": [subnet["id"]]}
        answer = await ask(self._channel, "lease4-get-all", arguments, operation=operation)
        now = self._now()
        found = [to_lease(item, now) for item in (answer or {}).get("leases", [])]
        return [lease for lease in found if lease is not None]

    async def by_mac(self, network: IPv4Network, mac: str) -> Reservation | None:
        """The reservation of one interface, freshly read."""
        items = select(await self._items(network), mac=normal_mac(mac))
        return next(iter(_readable(items, network)), None)

    async def by_ip(self, network: IPv4Network, ip: IPv4Address) -> list[Reservation]:
        """The reservations of one address, freshly read."""
        return _readable(select(await self._items(network), ip=ip), network)

    async def reserve(self, reservation: Reservation) -> Outcome:
        """Make the reservation exist exactly so: CREATED or ALREADY.

        Raises:
            Conflict: the MAC or the address is reserved otherwise, be it only with other boot data.
            Refused: unknown subnet, an address outside it, or what Kea itself refuses.
            Busy: another writer held the lock too long.
            Unverified: Kea said yes, and it is not there, or Kea serves nobody any more.
        """
        operation = f"reserve {reservation.ip} for {reservation.mac}"
        require_well_formed(reservation, address=self._channel.address, operation=operation)
        return await (await self._way(operation)).reserve(reservation, operation)

    async def release(self, reservation: Reservation) -> Outcome:
        """Remove the reservation if it is still this one: REMOVED or ABSENT.

        Raises:
            Conflict: the MAC has another reservation now, or one that was not made by us.
        """
        operation = f"release {reservation.ip} of {reservation.mac}"
        return await (await self._way(operation)).release(reservation, operation)

    async def close(self) -> None:
        """Let a change that is under way end, then give back connections."""
        await self._rewriter.close()
        await self._channel.close()

    async def _items(self, network: IPv4Network) -> list[Json]:
        operation = f"list the reservations of {network}"
        return await (await self._way(operation)).items(network, operation)

    async def _way(self, operation: str) -> HostCommands | ConfigRewriter:
        async with self._asking:
            if self._commands is None:
                answer = await ask(self._channel, "list-commands", operation=operation)
                self._commands = frozenset((answer or {}).get("list", []))
        if self._commands >= HostCommands.COMMANDS:
            return HostCommands(self._channel)
        return self._rewriter


def _readable(items: list[Json], network: IPv4Network) -> list[Reservation]:
    found = [to_reservation(item, network) for item in items]
    return [reservation for reservation in found if reservation is not None]
