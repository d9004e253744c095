"""The real site: Debian's own servers in a network namespace, and machines that boot from them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal

from deployments.up import Console, GatewayTls, Place
from lab.candlepin import GROUP_KEYS, LabCandlepin
from lab.images import Images
from lab.namespace import Namespace, namespace
from lab.process import free_port
from lab.qemu import Loader, Machine
from lab.reach import reach
from lab.servers.bind import Bind, bind
from lab.servers.bmc import RedfishBmc, redfish
from lab.servers.candlepin import candlepin
from lab.servers.dhcp import BootClass, Client, DhcpLab
from lab.servers.http import http_server
from lab.servers.isc import IscServer, isc
from lab.servers.kea import KeaServer, kea
from lab.servers.pulp import PulpServer, pulp
from lab.servers.puppet import SERVER, PuppetServer, puppet
from lab.servers.router import router
from lab.servers.tftpd import tftpd
from lab.site import PUPPET_CREDENTIALS, LabSite, install_tree
from lab.tsig import OWNER

__all__ = [
    "BMC_CREDENTIALS",
    "DOMAIN",
    "REVERSE",
    "RealHost",
    "RealSite",
    "real_site",
]

BMC_CREDENTIALS = "lab-bmc"
"""Name of the block with the BMC's user and password."""
DOMAIN, REVERSE = "lab.example", "2.0.192.in-addr.arpa"
PROXY_PORT, GATEWAY_PORT, TREE_PORT, GATEWAY_TLS_PORT = 8000, 8080, 8081, 8443
PACKAGES = ("labos-base", "kernel-labos")
KERNEL_OPTIONS = "console=ttyS0 quiet mitigations=off net.ifnames=0"
_GROUPS = {Loader.IPXE: "iPXE", Loader.PXELINUX: "PXELinux", Loader.GRUB2_UEFI: "PXEGrub2"}
_PUPPET_KEYS = """\
puppet = "lab"
classes = { motd = { text = "configured by Puppet" } }
"""
_MANIFEST = """\
class motd(String $text) { file { '/etc/motd': content => "${text}: ${rackrise_host_group}\\n" } }
node default { }
"""


@dataclass(frozen=True)
class RealHost:
    """A virtual machine as a host of the lab."""

    machine: Machine

    @property
    def mac(self) -> str:
        """Of its only interface."""
        return self.machine.mac

    async def power_on(self) -> None:
        """Start QEMU."""
        await asyncio.to_thread(self.machine.power_on)

    async def last_words(self) -> str:
        """The end of its console."""
        return await asyncio.to_thread(self.machine.tail)


@dataclass(frozen=True)
class RealSite:
    """A running site without Rackrise: its servers, its files for Rackrise, its machines."""

    namespace: Namespace
    site_file: Path
    proxy_file: Path
    tftp_root: Path
    dhcp: IscServer | KeaServer
    dns: Bind
    machines: Sequence[Machine]
    pulp: PulpServer | None
    puppet: PuppetServer | None
    candlepin: LabCandlepin | None
    bmc: RedfishBmc | None
    """One for all machines that have one, as the blades of a chassis do."""
    prefect_port: int
    """The same inside and outside, so that Prefect's pages work in a browser outside."""
    gateway_port: int
    console_port: int
    """Of console and API, inside and outside."""
    """Where this machine's loopback leads to the gateway."""

    @property
    def lab_site(self) -> LabSite:
        """The site as the demo and its tests see it."""
        return LabSite([RealHost(one) for one in self.machines], self.place)

    def _gateway_tls(self) -> GatewayTls | None:
        if self.puppet is None:
            return None
        return GatewayTls(
            GATEWAY_TLS_PORT, self.puppet.certificate, self.puppet.key, self.puppet.ca
        )

    def place(self, data: Path) -> Place:
        """How Rackrise runs here: its programs inside the namespace, watched from outside."""
        address = self.namespace.address
        return Place(
            data=data,
            site_file=self.site_file,
            proxy_file=self.proxy_file,
            gateway_host=address,
            gateway_port=GATEWAY_PORT,
            gateway_tls=self._gateway_tls(),
            gateway_rhsm=self.candlepin.gateway if self.candlepin else None,
            console=Console(port=self.console_port),
            prefect_port=self.prefect_port,
            trusted_proxies=(f"{address}/32",),
            inside=self.namespace.command(),
            prefect_from_here=f"http://127.0.0.1:{self.prefect_port}",
            gateway_from_here=f"http://127.0.0.1:{self.gateway_port}",
        )


@asynccontextmanager
async def real_site(
    directory: Path,
    images: Images,
    *,
    name: str,
    loaders: Sequence[Loader] = (Loader.IPXE,),
    dhcp: Literal["isc", "kea"] = "kea",
    bmcs: Collection[str] = (),
    with_pulp: bool = False,
    with_puppet: Collection[Loader] = (),
    with_candlepin: Collection[Loader] = (),
) -> AsyncIterator[RealSite]:
    """Run the servers, and have machines ready to be switched on, while the block lasts.

    Args:
        directory: absolute, short (sockets lie in it), and empty.
        images: what machines boot and install.
        name: the namespace's; unique on this machine.
        loaders: one machine for each, named node1, node2 and so on.
        dhcp: which server.
        bmcs: names of the machines that have a Redfish BMC; unless it is told otherwise such a
            machine boots its disk first. Whoever uses the site gives Rackrise its credentials.
        with_pulp: run a Pulp; the tree server is then only what Pulp gets the tree from, and
            whoever uses the site gives Rackrise Pulp's credentials and has it synchronise.
        with_puppet: machines of these loaders are configured by a Puppet server; whoever uses the
            site gives Rackrise the certificate for its CA.
        with_candlepin: machines of these loaders register at Candlepin's double; whoever uses the
            site gives Rackrise key and secret.
    """
    root = await asyncio.to_thread(_boot_root, directory, images)
    async with AsyncExitStack() as stack:
        ns = await stack.enter_async_context(namespace(name))
        machines = await _machines(ns, directory, loaders, bmcs)
        for one in machines:
            stack.callback(one.power_off)
        lab = _dhcp_lab(ns.address, machines)
        for part in ("dhcp", "dns"):
            (directory / part).mkdir()
        server: IscServer | KeaServer
        if dhcp == "isc":
            server = await stack.enter_async_context(isc(ns, directory / "dhcp", lab))
        else:
            server = await stack.enter_async_context(kea(ns, directory / "dhcp", lab))
        dns = await stack.enter_async_context(bind(directory / "dns", [DOMAIN, REVERSE], inside=ns))
        await stack.enter_async_context(tftpd(root, directory / "tftpd.log", inside=ns))
        await stack.enter_async_context(router(ns, log=directory / "router.log"))
        await stack.enter_async_context(
            http_server(ns, images.tree, port=TREE_PORT, log=directory / "tree.log")
        )
        content: PulpServer | None = None
        if with_pulp:
            (directory / "pulp").mkdir()
            content = await stack.enter_async_context(pulp(directory / "pulp", inside=ns))
        puppets: PuppetServer | None = None
        if with_puppet:
            (directory / "puppet").mkdir()
            gateway_url = f"https://{ns.address}:{GATEWAY_TLS_PORT}"
            puppets = await stack.enter_async_context(
                puppet(directory / "puppet", inside=ns, gateway=gateway_url)
            )
            (puppets.manifests / "site.pp").write_text(_MANIFEST)
        subscriptions: LabCandlepin | None = None
        if with_candlepin:
            (directory / "candlepin").mkdir()
            subscriptions = await stack.enter_async_context(
                candlepin(directory / "candlepin", inside=ns)
            )
        switched = [one.switch.commands for one in machines if one.name in bmcs]
        bmc: RedfishBmc | None = None
        if switched:
            # It keeps each machine in a directory of its name, which is where the machine is.
            bmc = await stack.enter_async_context(redfish(directory, switched, inside=ns))
        proxy_file, site_file = directory / "proxy.toml", directory / "site.toml"
        proxy_file.write_text(_proxy_file(ns.address, root, server))
        proxy_file.chmod(0o600)
        site_file.write_text(
            _site_file(ns.address, machines, content, with_puppet, with_candlepin)
            + _puppet_table(puppets)
            + (subscriptions.site_table() if subscriptions else "")
            + _bmc_tables(machines, bmc)
        )
        prefect = free_port()
        await stack.enter_async_context(reach(ns, prefect, at=prefect))
        gateway = await stack.enter_async_context(reach(ns, GATEWAY_PORT, ns.address))
        console = free_port()
        await stack.enter_async_context(reach(ns, console, at=console))
        yield RealSite(
            ns,
            site_file,
            proxy_file,
            root,
            server,
            dns,
            machines,
            content,
            puppets,
            subscriptions,
            bmc,
            prefect,
            gateway,
            console,
        )


def _boot_root(directory: Path, images: Images) -> Path:
    """The TFTP root with loaders and discovery image; readable for tftpd, which is nobody."""
    directory.chmod(0o755)
    root = directory / "boot"
    root.mkdir(mode=0o755)
    images.fill_tftp_root(root)
    return root


async def _machines(
    ns: Namespace, directory: Path, loaders: Sequence[Loader], bmcs: Collection[str]
) -> Sequence[Machine]:
    machines = []
    for number, loader in enumerate(loaders, 1):
        name, tap = f"node{number}", f"tap{number}"
        await ns.add_tap(tap)
        machine = Machine(
            name=name,
            mac=f"52:54:00:12:34:{number:02x}",
            tap=tap,
            namespace=ns.name,
            directory=directory / name,
            loader=loader,
            first="disk" if name in bmcs else "pxe",
        )
        machine.prepare()
        machines.append(machine)
    return machines


def _dhcp_lab(address: str, machines: Sequence[Machine]) -> DhcpLab:
    # QEMU's network ROM is iPXE: only machines that are meant to may stay with it.
    stay = tuple(one.mac for one in machines if one.loader is Loader.IPXE)
    boot = [
        BootClass(client=Client.UEFI, filename="grubnetx64.efi"),
        BootClass(client=Client.BIOS, filename="pxelinux.0"),
    ]
    if stay:
        boot.insert(0, BootClass(client=Client.IPXE, filename=_ipxe_script(address), macs=stay))
    return DhcpLab(boot=tuple(boot), next_server=IPv4Address(address))


def _ipxe_script(address: str) -> str:
    return f"http://{address}:{PROXY_PORT}/httpboot/pxelinux.cfg/default.ipxe"


def _proxy_file(address: str, root: Path, server: IscServer | KeaServer) -> str:
    if isinstance(server, KeaServer):
        dhcp = f'kind = "kea"\n[dhcp.kea]\ncontrol_socket = "{server.settings.control_socket}"'
    else:
        to = server.settings
        dhcp = f"""\
kind = "isc"
[dhcp.isc]
host = "{to.host}"
port = {to.port}
key_name = "{to.key_name}"
secret = "{to.secret.get_secret_value()}"
algorithm = "{to.algorithm}"
conf_file = "{to.conf_file}"
leases_file = "{to.leases_file}\""""
    return f"""\
foreman_url = "http://{address}:{GATEWAY_PORT}"
template_url = "http://{address}:{PROXY_PORT}"

[listen]
http_host = "{address}"
http_port = {PROXY_PORT}

[tftp]
root = "{root}"
server_name = "{address}"

[discovery]
networks = ["192.0.2.0/24"]
scheme = "http"
port = 8448

[[dns]]
address = "{address}"
key_name = "{OWNER.name}"
secret = "{OWNER.secret}"
zones = ["{DOMAIN}", "{REVERSE}"]

[dhcp]
{dhcp}
"""


def _site_file(
    address: str,
    machines: Sequence[Machine],
    content: PulpServer | None,
    with_puppet: Collection[Loader],
    with_candlepin: Collection[Loader],
) -> str:
    proxy = f"http://{address}:{PROXY_PORT}"
    plain = f"http://{address}:{TREE_PORT}"
    packages = ", ".join(f'"{one}"' for one in PACKAGES)
    groups = "\n".join(
        f"""\
[[host_group]]
name = "{loader}"
operating_system = "LabOS 1"
install_tree = "labos"
subnet = "lab"
domain = "{DOMAIN}"
loader = "{loader}"
root_password_hash = "!"
packages = [{packages}]
kernel_options = "{KERNEL_OPTIONS}"
install_minutes = 20
first_boot_minutes = 10
{_PUPPET_KEYS if kind in with_puppet else ""}
{GROUP_KEYS if kind in with_candlepin else ""}
[host_group.parameters]
language = "C.UTF-8"
partitioning = ["part / --fstype=ext4 --grow --size=1"]
"""
        for kind, loader in _GROUPS.items()
    )
    rules = "\n".join(
        f"""\
[[discovery_rule]]
name = "{group}"
condition = "facts.serialnumber in {[one.name for one in machines if one.loader is loader]}"
host_group = "{group}"
host_name = "{{{{ facts.serialnumber }}}}"
"""
        for loader, group in _GROUPS.items()
    )
    return f"""\
[site]
name = "lab"
gateway_url = "http://{address}:{GATEWAY_PORT}"

[[proxy]]
name = "lab"
url = "local:"
host_url = "{proxy}"

[[domain]]
name = "{DOMAIN}"
proxy = "lab"
name_servers = ["{address}"]

[[subnet]]
name = "lab"
network = "192.0.2.0/24"
range_from = "192.0.2.50"
range_to = "192.0.2.89"
dynamic_from = "192.0.2.100"
dynamic_to = "192.0.2.199"
gateway = "{address}"
name_servers = ["{address}"]
boot_server = "{address}"
dhcp_proxy = "lab"
tftp_proxy = "lab"
domain = "{DOMAIN}"
discovery_options = "{KERNEL_OPTIONS}"
[subnet.filenames]
PXELinux = "pxelinux.0"
PXEGrub2 = "grubnetx64.efi"
iPXE = "{_ipxe_script(address)}"

[[operating_system]]
name = "LabOS 1"

{install_tree(plain, content.url if content else None)}
{groups}
{rules}"""


def _puppet_table(server: PuppetServer | None) -> str:
    if server is None:
        return ""
    return f"""
[[puppet]]
name = "lab"
url = "{server.url}"
certname = "{SERVER}"
credentials = "{PUPPET_CREDENTIALS}"
vardir = "{server.reports.parent}"
"""


def _bmc_tables(machines: Sequence[Machine], bmc: RedfishBmc | None) -> str:
    if bmc is None:
        return ""
    return "".join(
        f"""
[[bmc]]
name = "{one.name}"
mac = "{one.mac}"
kind = "redfish"
credentials = "{BMC_CREDENTIALS}"
[bmc.settings]
url = "{bmc.url}"
system = "/redfish/v1/Systems/{one.uuid}"
"""
        for one in machines
        if one.name in bmc.machines
    )
