"""A virtual host: from power-on through discovery and installation to its first boot."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Any, Protocol

import httpx

from integrations.errors import OutsideError
from integrations.records import Loader
from integrations.tftp import tftp_read
from lab.simulated.kickstart import Call, Kickstart, read_kickstart
from lab.simulated.loaders import BootFailed, LocalBoot, Start, load
from lab.simulated.puppet import SimulatedPuppet
from lab.simulated.rhsm import register
from lab.simulated.tree import BadTree, install_packages

__all__ = ["Fault", "Network", "Offer", "Pace", "VirtualHost"]

_LINES = 30
_TFTP_SECONDS = 20.0
_MOST_BYTES = 10_000_000
_HTTP_SECONDS = 20.0
_TRIES = 10


class Fault(StrEnum):
    """What a host does wrong."""

    NONE = "none"
    SLOW = "slow"
    """Takes five times as long for everything."""
    ASKS_TWICE = "asks twice"
    """Sends its facts, fetches its kickstart and calls home twice each."""
    LOSES_BUILT = "loses built"
    """The first answer to ``built`` is lost on the way, so it is said again."""
    STAYS_OFF = "stays off"
    """Takes the order to restart, and does not come back until somebody switches it on."""
    DIES_IN_INSTALL = "dies in install"
    """Reports a failure instead of an installed system, and stops."""


@dataclass(frozen=True)
class Pace:
    """Least and greatest seconds of what a host does by itself."""

    firmware: tuple[float, float] = (1.5, 3.0)
    discovery: tuple[float, float] = (0.2, 0.8)
    install: tuple[float, float] = (0.5, 2.0)
    boot: tuple[float, float] = (0.2, 0.8)


@dataclass(frozen=True)
class Offer:
    """What DHCP gives a host."""

    ip: IPv4Address
    boot_server: IPv4Address
    filename: str


class Network(Protocol):
    """What surrounds a host."""

    tftp_port: int
    puppet: SimulatedPuppet | None

    def boot(self, mac: str, loader: Loader) -> Offer:
        """Give it an address; TimeoutError when nobody answers."""

    def known(self, digests: set[str]) -> bool:
        """Whether these are the SHA-256 of kernel and initrd of one image."""

    async def discovered(
        self, ip: IPv4Address, facts: dict[str, Any], announce: Callable[[], Awaitable[None]]
    ) -> None:
        """Serve a discovery image's API, announce it, and return when it was told to restart."""


class _Died(Exception):
    """The machine does nothing more until somebody switches it off and on."""


@dataclass
class VirtualHost:
    """A machine with a blank disk that boots the network first.

    Attributes:
        mac: of its only interface.
        serial: its serial number.
        loader: the boot chain of its firmware.
        network: what surrounds it.
        pace: how quickly it works.
        seed: of its delays.
        fault: what it does wrong.
    """

    mac: str
    serial: str
    loader: Loader
    network: Network
    pace: Pace = field(default_factory=Pace)
    seed: int = 1
    fault: Fault = Fault.NONE
    installed: Kickstart | None = field(default=None, init=False)
    """What is on its disk."""
    boots: int = field(default=0, init=False)
    """How often its firmware has started."""

    def __post_init__(self) -> None:
        self._random = random.Random(f"{self.mac} {self.seed}")
        self._life: asyncio.Task[None] | None = None
        self._words: deque[str] = deque(maxlen=_LINES)

    async def power_on(self) -> None:
        """Switch it on; already on is fine."""
        if self._life is None or self._life.done():
            self._life = asyncio.create_task(self._live(), name=f"host {self.mac}")

    async def power_off(self) -> None:
        """Cut the power."""
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)

    async def last_words(self) -> str:
        """The last lines of its console."""
        return "\n".join(self._words)

    async def _live(self) -> None:
        try:
            while not await self._boot():
                continue
        except _Died as error:
            self._say(str(error))
        except Exception as error:
            self._say(f"a fault of the simulated host: {error!r}")
            raise

    async def _boot(self) -> bool:
        """One boot; whether the machine stays in the system that it has booted."""
        self.boots += 1
        await self._pause(self.pace.firmware)
        try:
            offer = self.network.boot(self.mac, self.loader)
            self._say(f"DHCP: {offer.ip}, boots {offer.filename} of {offer.boot_server}")
            async with self._http(offer.ip) as http:
                order = await load(
                    self.loader, self.mac, offer.filename, lambda path: self._fetch(offer, path)
                )
                if isinstance(order, LocalBoot):
                    return await self._run_from_disk(offer, http)
                await self._load_kernel(offer, order)
                words = dict(word.partition("=")[::2] for word in order.command_line.split())
                if "inst.ks" in words:
                    await self._install(http, words)
                else:
                    await self._await_orders(offer, http, words)
        except (BootFailed, BadTree, TimeoutError, OutsideError, httpx.HTTPError) as error:
            self._say(f"this boot failed: {type(error).__name__}: {error}")
        return False

    async def _fetch(self, offer: Offer, path: str) -> bytes | None:
        if path.startswith("http://"):
            async with self._http(offer.ip) as http:
                answer = await http.get(path)
            return None if answer.status_code == httpx.codes.NOT_FOUND else _content(answer)
        return await tftp_read(
            offer.boot_server,
            self.network.tftp_port,
            path.lstrip("/"),
            deadline=_TFTP_SECONDS,
            max_bytes=_MOST_BYTES,
        )

    async def _load_kernel(self, offer: Offer, order: Start) -> None:
        digests = set()
        for path in (order.kernel, order.initrd):
            content = await self._fetch(offer, path)
            if content is None:
                raise BootFailed(f"{path}: file not found")
            digests.add(hashlib.sha256(content).hexdigest())
        if not self.network.known(digests):
            raise BootFailed(f"{order.kernel} and {order.initrd} are not whole, or do not match")
        self._say(f"starts {order.kernel}")

    async def _await_orders(
        self, offer: Offer, http: httpx.AsyncClient, words: dict[str, str]
    ) -> None:
        await self._pause(self.pace.discovery)
        facts = _facts(self, offer.ip, words)
        create = f"{words['proxy.url']}/discovery/create"

        async def announce() -> None:
            for _ in range(self._times):
                await self._post(http, create, {"facts": facts})
            self._say("facts are sent; awaits orders")

        await self.network.discovered(offer.ip, facts, announce)
        self._say("told to restart")
        if self.fault is Fault.STAYS_OFF:
            raise _Died("it does not come back by itself")

    async def _install(self, http: httpx.AsyncClient, words: dict[str, str]) -> None:
        headers = {"X-RHN-Provisioning-MAC-0": f"eth0 {self.mac}"}
        for _ in range(self._times):
            text = _content(await http.get(words["inst.ks"], headers=headers)).decode()
        try:
            kickstart = read_kickstart(text)
        except ValueError as error:
            raise BootFailed(f"the kickstart is not valid: {error}") from error
        self._say(f"installs {kickstart.hostname}")
        _content(await http.get(words["inst.stage2"]))
        await self._call(http, kickstart.before)
        if self.fault is Fault.DIES_IN_INSTALL:
            await self._call(http, kickstart.on_error)
            raise _Died("the disk does not take what is written to it")
        await self._pause(self.pace.install)
        count = await install_packages(http, kickstart.tree, kickstart.packages)
        # The disk holds the system from here on, whether or not its end is heard.
        self.installed = kickstart
        self._say(f"{count} packages installed")
        if self.network.puppet and kickstart.certificate_token:
            await self.network.puppet.request(kickstart.hostname, kickstart.certificate_token)
        if kickstart.registration is not None:
            packages = [one for one in kickstart.packages if one[:1] not in "@-"]
            await register(kickstart.registration, kickstart.hostname, packages, kickstart.tree)
            self._say("registered")
        await self._call(http, kickstart.after, f"{count} packages")
        if not kickstart.reboots:
            raise _Died("the kickstart does not say reboot: it waits for a key")

    async def _run_from_disk(self, offer: Offer, http: httpx.AsyncClient) -> bool:
        if self.installed is None:
            raise BootFailed("no operating system on the disk")
        await self._pause(self.pace.boot)
        report = {
            "hostname": self.installed.hostname,
            "addresses": [str(offer.ip)],
            "os": "labos 1",
            "kernel": "6.1.0-simulated",
            "boot_id": hashlib.sha256(f"{self.mac} {self.boots}".encode()).hexdigest()[:32],
            "root_device": "/dev/vda1",
            "uptime_seconds": 7.5,
        }
        for call in self.installed.first_boot:
            await self._post(http, call.url, report)
        self._say(f"{self.installed.hostname} runs from its disk")
        if self.network.puppet and self.installed.certificate_token:
            facts = {"kernel": "Linux", "dmi": {"product": {"serial_number": self.serial}}}
            await self.network.puppet.run(self.installed.hostname, facts)
            self._say("Puppet has run")
        return True

    async def _call(
        self, http: httpx.AsyncClient, calls: tuple[Call, ...], detail: str = ""
    ) -> None:
        for call in calls:
            match call.what:
                case "progress":
                    body: dict[str, Any] | str = {"stage": call.stage, "detail": detail}
                case "failed":
                    body = "write error: the disk of a simulated host is full"
                case _:
                    body = {}
            lost = call.what == "built" and self.fault is Fault.LOSES_BUILT
            for _ in range(2 if lost else self._times):
                await self._post(http, call.url, body)

    async def _post(self, http: httpx.AsyncClient, url: str, body: dict[str, Any] | str) -> None:
        """Until it is accepted, as the kickstart's scripts and the discovery image do."""
        what = url.partition("?")[0]
        content = {"content": body} if isinstance(body, str) else {"json": body}
        said = ""
        for _ in range(_TRIES):
            try:
                answer = await http.post(url, **content)
            except httpx.HTTPError as error:
                said = repr(error)
            else:
                if answer.is_success:
                    return
                said = f"{answer.status_code} {answer.text[:300]}"
            self._say(f"{what} was not accepted: {said}")
            await self._pause(self.pace.firmware)
        raise BootFailed(f"{what} was not accepted in {_TRIES} tries: {said}")

    @property
    def _times(self) -> int:
        return 2 if self.fault is Fault.ASKS_TWICE else 1

    def _http(self, ip: IPv4Address) -> httpx.AsyncClient:
        # From its own address, so that whoever is called sees this host and no other.
        transport = httpx.AsyncHTTPTransport(local_address=str(ip), verify=False, trust_env=False)
        return httpx.AsyncClient(transport=transport, timeout=_HTTP_SECONDS)

    async def _pause(self, seconds: tuple[float, float]) -> None:
        factor = 5 if self.fault is Fault.SLOW else 1
        await asyncio.sleep(self._random.uniform(*seconds) * factor)

    def _say(self, line: str) -> None:
        self._words.append(f"[boot {self.boots}] {line}")


def _content(answer: httpx.Response) -> bytes:
    if not answer.is_success:
        # Without the query: a token may be in it.
        where = answer.request.url.copy_with(query=None)
        raise BootFailed(f"{where} answered {answer.status_code}: {answer.text[:300]}")
    return answer.content


def _facts(host: VirtualHost, ip: IPv4Address, words: dict[str, str]) -> dict[str, Any]:
    """The facts of a small machine, under the names and in the types of the discovery image."""
    return {
        "discovery_bootif": words.get("BOOTIF", f"01-{host.mac}").removeprefix("01-"),
        "discovery_version": "4.1.0",
        "discovery_release": "20240301.1",
        "discovery_proxy_uri": words["proxy.url"],
        "discovery_proxy_type": words.get("proxy.type", "foreman"),
        "interfaces": "eth0,lo",
        "ipaddress": str(ip),
        "ipaddress_eth0": str(ip),
        "macaddress_eth0": host.mac,
        "netmask_eth0": "255.255.0.0",
        "ipaddress_lo": "127.0.0.1",
        "physicalprocessorcount": 1,
        "processorcount": "2",
        "memorysize_mb": "2048.00",
        "blockdevices": "vda",
        "blockdevice_vda_size": 10737418240,
        "manufacturer": "Rackrise",
        "productname": f"Simulated {host.loader}",
        "serialnumber": host.serial,
        "is_virtual": True,
        "virtual": "simulated",
        "efi": host.loader is Loader.GRUB2,
    }
