"""Puts a simulated site together: the doubles, the files, and the hosts that are switched on."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.up import Console, Place
from integrations.records import Loader
from lab.candlepin import LabCandlepin, lab_candlepin
from lab.doubles.candlepin import CandlepinDouble, candlepin_double
from lab.doubles.candlepin_process import CA, IDENTITIES
from lab.doubles.dhcp import KeaDouble
from lab.doubles.dns import DnsDouble
from lab.doubles.power import DiscoveryImages, VirtualImage
from lab.doubles.pulp import PulpDouble, pulp_double
from lab.doubles.serve import served
from lab.doubles.tftp import TftpDouble
from lab.simulated.files import DOMAIN, Doors, filenames, proxy_file, reverse_zone, site_file
from lab.simulated.host import Fault, Offer, Pace, VirtualHost
from lab.simulated.network import POWER_PORT, Addresses, own_addresses
from lab.simulated.puppet import SimulatedPuppet, simulated_puppet
from lab.simulated.tree import INITRD_BYTES, Tree
from lab.site import LabSite

__all__ = ["SimulatedSite", "simulated_site"]

_ANSWER = (0.0, 0.02)
"""Least and greatest seconds of a server's answer."""
_DEED = 0.3
"""Seconds between an image's promise to restart and the restart."""
PROXY_PORT, GATEWAY_PORT, PREFECT_PORT, CONSOLE_PORT = 8000, 8080, 4200, 8090
"""Wanted, because easy to remember; others if somebody listens there on all addresses."""


@dataclass(frozen=True)
class SimulatedSite(LabSite):
    """A simulated site; its servers are there to be looked at, and to be broken."""

    hosts: Sequence[VirtualHost]
    kea: KeaDouble
    dns: DnsDouble
    tftp: TftpDouble
    pulp: PulpDouble | None
    puppet: SimulatedPuppet | None
    candlepin: CandlepinDouble | None
    boot_root: Path


class _Surroundings:
    """What hosts find around them; see ``lab.simulated.host.Network``."""

    def __init__(
        self, doors: Doors, kea: KeaDouble, tree: Tree, puppet: SimulatedPuppet | None
    ) -> None:
        self.puppet = puppet
        self.tftp_port = doors.tftp.port
        self._boot_server = doors.tftp.address
        self._kea = kea
        self._tree = tree
        self._filenames = filenames(doors)
        self._deeds: set[asyncio.Task[None]] = set()
        self._images = DiscoveryImages(_DEED, self._spawn)

    def boot(self, mac: str, loader: Loader) -> Offer:
        """An address, and what to boot: as reserved, else what the subnet has for its firmware."""
        ip = self._kea.boot(mac)
        own = next((one for one in self._kea.reservations if one.get("hw-address") == mac), {})
        server = own.get("next-server") or self._boot_server
        filename = own.get("boot-file-name") or self._filenames[loader]
        return Offer(ip, IPv4Address(server), filename)

    def known(self, digests: set[str]) -> bool:
        """Whether these are kernel and initrd of the discovery image or of the installer."""
        return digests in (self._tree.discovery, self._tree.installer)

    async def discovered(
        self, ip: IPv4Address, facts: dict[str, Any], announce: Callable[[], Awaitable[None]]
    ) -> None:
        """Serve the image at its host's own address until it has restarted."""
        restarted = asyncio.Event()

        async def restart() -> None:
            restarted.set()

        self._images.boot(str(ip), VirtualImage(facts, restart))
        try:
            async with served(_At(self._images.app, ip), str(ip), POWER_PORT):
                await announce()
                await restarted.wait()
        finally:
            self._images.stop(str(ip))

    def _spawn(self, deed: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(deed)
        self._deeds.add(task)
        task.add_done_callback(self._deeds.discard)


class _At:
    """The images' app as it looks at one host's own address."""

    def __init__(self, app: ASGIApp, ip: IPv4Address) -> None:
        self._app = app
        self._below = f"/discovery/{ip}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        await self._app({**scope, "path": self._below + scope["path"]}, receive, send)


@asynccontextmanager
async def simulated_site(
    count: int,
    *,
    seed: int = 1,
    pace: Pace | None = None,
    faults: Sequence[Fault] = (),
    with_pulp: bool = False,
    pulp_url: str | None = None,
    with_puppet: bool = False,
    with_candlepin: bool = False,
    around_candlepin: Callable[[ASGIApp], ASGIApp] = lambda app: app,
    initrd_bytes: int = INITRD_BYTES,
) -> AsyncIterator[SimulatedSite]:
    """Run a simulated site while the block lasts; its hosts are off at first.

    Args:
        count: how many hosts; their loaders take turns.
        seed: of everything that is left to chance.
        pace: how quickly hosts work.
        faults: what the first hosts do wrong, in their order.
        with_pulp: hosts install from Pulp's double, which gets the tree from the plain server;
            whoever uses the site gives Rackrise its credentials and has it synchronise.
        pulp_url: of a real Pulp that runs already, to be used in the double's place.
        with_puppet: Puppet's double configures the hosts; whoever uses the site gives Rackrise the
            certificate for its CA.
        with_candlepin: hosts register at Candlepin's double; whoever uses the site gives Rackrise
            key and secret.
        around_candlepin: put before it, to see what comes and goes.
        initrd_bytes: size of the installer's initrd.
    """
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rackrise-site-")))
        addresses = stack.enter_context(own_addresses())
        boot_root, tree_root = directory / "boot", directory / "tree"
        tree = await asyncio.to_thread(Tree.make, boot_root, tree_root, seed, initrd_bytes)
        kea = KeaDouble(addresses.network, *addresses.dynamic, delay=_ANSWER, seed=seed)
        dns = DnsDouble([DOMAIN, reverse_zone(addresses)], delay=_ANSWER, seed=seed)
        tftp = TftpDouble(boot_root, delay=_ANSWER, seed=seed)
        await stack.enter_async_context(dns)
        await stack.enter_async_context(tftp)
        server = str(addresses.server)
        files = StaticFiles(directory=tree_root)
        pulp = None
        if with_pulp:
            pulp = await stack.enter_async_context(pulp_double(server, seed=seed))
        doors = Doors(
            addresses=addresses,
            gateway_port=addresses.free_port(GATEWAY_PORT),
            proxy_port=addresses.free_port(PROXY_PORT),
            dhcp_url=await stack.enter_async_context(kea.serving()),
            tree_url=(await stack.enter_async_context(served(files, server))).rstrip("/"),
            pulp_url=pulp.url if pulp else pulp_url,
            dns=dns,
            tftp=tftp,
        )
        puppet = None
        if with_puppet:
            (directory / "puppet").mkdir()
            port = addresses.free_port()
            puppet = await stack.enter_async_context(
                simulated_puppet(directory / "puppet", addresses.server, port)
            )
        candlepin, double = None, None
        if with_candlepin:
            (directory / "candlepin").mkdir()
            double = await stack.enter_async_context(
                candlepin_double(server, seed=seed, around=around_candlepin)
            )
            candlepin = _candlepin(double, directory / "candlepin", addresses)
        (directory / "site.toml").write_text(site_file(doors, puppet, candlepin))
        (directory / "proxy.toml").write_text(proxy_file(doors, boot_root, directory / "kea.lock"))
        hosts = _hosts(count, _Surroundings(doors, kea, tree, puppet), seed, pace or Pace(), faults)
        for host in hosts:
            stack.push_async_callback(host.power_off)

        def place(data: Path) -> Place:
            return Place(
                data=data,
                site_file=directory / "site.toml",
                proxy_file=directory / "proxy.toml",
                gateway_host=server,
                gateway_port=doors.gateway_port,
                gateway_tls=puppet.gateway if puppet else None,
                gateway_rhsm=candlepin.gateway if candlepin else None,
                console=Console(server, addresses.free_port(CONSOLE_PORT)),
                prefect_host=server,
                prefect_port=addresses.free_port(PREFECT_PORT),
                # The proxy speaks to the gateway from the loopback's first address.
                trusted_proxies=("127.0.0.1/32",),
            )

        yield SimulatedSite(hosts, place, kea, dns, tftp, pulp, puppet, double, boot_root)


def _candlepin(double: CandlepinDouble, directory: Path, addresses: Addresses) -> LabCandlepin:
    ca, identities = directory / CA, directory / IDENTITIES
    ca.write_text(double.certificate or "")
    identities.write_text(double.state.ca.certificate)
    return lab_candlepin(
        directory,
        addresses.server,
        addresses.free_port(),
        url=double.url,
        ca=ca,
        identities=identities,
    )


def _hosts(
    count: int, network: _Surroundings, seed: int, pace: Pace, faults: Sequence[Fault]
) -> list[VirtualHost]:
    loaders = islice(cycle(Loader), count)
    wrong = [*faults, *[Fault.NONE] * count]
    return [
        VirtualHost(
            mac=f"52:54:00:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}",
            serial=f"node{number:03d}",
            loader=loader,
            network=network,
            pace=pace,
            seed=seed,
            fault=fault,
        )
        for number, (loader, fault) in enumerate(zip(loaders, wrong, strict=False), 1)
    ]
