"""What tasks work with: the inventory, the proxies, the clock; put together once per process."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from integrations.candlepin import Candlepin
from integrations.pulp import Pulp
from integrations.puppet import PuppetCa
from integrations.smart_proxy import SmartProxy
from inventory.database import Sessions
from inventory.models import Candlepin as CandlepinRow
from inventory.models import Proxy, now
from inventory.models import Pulp as PulpRow
from inventory.models import Puppet as PuppetRow

__all__ = [
    "Admission",
    "Candlepins",
    "Deadlines",
    "Means",
    "Proxies",
    "Pulps",
    "Puppets",
    "means",
    "use",
]


class Proxies(Protocol):
    """Gives the client of each Smart Proxy; one client for each proxy and process."""

    def of(self, proxy: Proxy) -> SmartProxy:
        """The client that speaks to this proxy."""
        ...


class Pulps(Protocol):
    """Gives the client of each Pulp; one client for each Pulp and process, with one login."""

    async def of(self, pulp: PulpRow) -> Pulp:
        """The client that speaks to this Pulp.

        Raises:
            Problem: its credentials are not there.
        """
        ...


class Puppets(Protocol):
    """Gives the client of each Puppet server's CA; one client for each and process."""

    async def of(self, puppet: PuppetRow) -> PuppetCa:
        """The client that speaks to this Puppet's CA.

        Raises:
            Problem: its credentials are not there.
        """
        ...


class Candlepins(Protocol):
    """Gives the client of each Candlepin; one client for each and process."""

    async def of(self, candlepin: CandlepinRow) -> Candlepin:
        """The client that speaks to this Candlepin.

        Raises:
            Problem: its credentials are not there.
        """
        ...


class Admission:
    """How many calls may be under way at once, for each outside system at each place.

    A storm of hosts queues here, inside, instead of failing at a server that is asked too much.

    Args:
        at_once: calls under way to one system at one place.
    """

    def __init__(self, at_once: int = 16) -> None:
        self._gates: dict[tuple[str, str], asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(at_once)
        )

    def gate(self, system: str, place: str) -> asyncio.Semaphore:
        """The gate of one system at one place."""
        return self._gates[system, place]


@dataclass(frozen=True)
class Deadlines:
    """How long we wait for what, in seconds."""

    verify: float = 10
    """Until a change must be visible at the system that owns the record."""
    silence: float = 30
    """Until a host that was told to reboot must have fallen silent."""
    every: float = 0.2
    """Between two looks."""
    pin_rest: timedelta = timedelta(hours=1)
    """How long a pin that no build needs any more is left in Pulp."""


@dataclass(frozen=True)
class Means:
    """What a task works with. Never a flow parameter: it holds connections and the token key."""

    sessions: Sessions
    proxies: Proxies
    pulps: Pulps
    puppets: Puppets
    candlepins: Candlepins
    token_key: bytes = field(repr=False)
    """Makes the builds' one-time tokens; the same for every worker of an installation."""
    worker: str
    """Name of this worker's lease."""
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the worker was told to leave: what is cancelled now goes on elsewhere."""
    admission: Admission = field(default_factory=Admission)
    lease_holds: Callable[[], bool] = lambda: True
    """Whether nobody can have taken this worker for dead; asked right before each write outside."""
    deadlines: Deadlines = Deadlines()
    clock: Callable[[], datetime] = now
    console_url: str = ""
    """Of Rackrise's console, to which runs link; empty: there is none."""


_MEANS: ContextVar[Means] = ContextVar("means")


def means() -> Means:
    """The means of the worker that runs this task.

    Raises:
        RuntimeError: the task runs outside a worker of ours.
    """
    try:
        return _MEANS.get()
    except LookupError:
        raise RuntimeError(
            "this flow needs a Rackrise worker: start its deployment instead of calling it"
        ) from None


def use(chosen: Means) -> Token[Means]:
    """Give the tasks of this context their means."""
    return _MEANS.set(chosen)
