"""The two files that tell Rackrise of a simulated site."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from integrations.records import Loader
from lab.candlepin import GROUP_KEYS, LabCandlepin
from lab.doubles.dns import DnsDouble
from lab.doubles.tftp import TftpDouble
from lab.simulated.network import POWER_PORT, Addresses
from lab.simulated.puppet import SimulatedPuppet
from lab.simulated.tree import FIRST_STAGES, PACKAGES
from lab.site import install_tree
from lab.tsig import OWNER

__all__ = ["DOMAIN", "Doors", "filenames", "proxy_file", "reverse_zone", "site_file"]

DOMAIN = "sim.example"


@dataclass(frozen=True)
class Doors:
    """Where what belongs to a site answers."""

    addresses: Addresses
    gateway_port: int
    proxy_port: int
    dhcp_url: str
    tree_url: str
    pulp_url: str | None
    """None: hosts install from the plain tree."""
    dns: DnsDouble
    tftp: TftpDouble

    @property
    def proxy_url(self) -> str:
        """Of the proxy, for hosts."""
        return f"http://{self.addresses.server}:{self.proxy_port}"

    @property
    def gateway_url(self) -> str:
        """Of the gateway."""
        return f"http://{self.addresses.server}:{self.gateway_port}"


def reverse_zone(addresses: Addresses) -> str:
    """The zone of the site's addresses: those of a /16."""
    first, second = str(addresses.network.network_address).split(".")[:2]
    return f"{second}.{first}.in-addr.arpa"


def filenames(doors: Doors) -> dict[Loader, str]:
    """What DHCP tells each firmware to boot."""
    script = f"{doors.proxy_url}/httpboot/pxelinux.cfg/default.ipxe"
    return {loader: FIRST_STAGES.get(loader.value, script) for loader in Loader}


def proxy_file(doors: Doors, boot_root: Path, lock_file: Path) -> str:
    """Settings of the proxy beside the doubles."""
    return f"""\
foreman_url = "{doors.gateway_url}"
template_url = "{doors.proxy_url}"

[listen]
http_host = "{doors.addresses.server}"
http_port = {doors.proxy_port}

[tftp]
root = "{boot_root}"
server_name = "{doors.tftp.address}"

[discovery]
networks = ["{doors.addresses.network}"]
scheme = "http"
port = {POWER_PORT}

[[dns]]
address = "{doors.dns.address}"
port = {doors.dns.port}
key_name = "{OWNER.name}"
secret = "{OWNER.secret}"
zones = ["{DOMAIN}", "{reverse_zone(doors.addresses)}"]

[dhcp]
kind = "kea"

[dhcp.kea]
agent_url = "{doors.dhcp_url}"
lock_file = "{lock_file}"
"""


def site_file(
    doors: Doors,
    puppet: SimulatedPuppet | None = None,
    candlepin: LabCandlepin | None = None,
) -> str:
    """The site: a host group for each loader, and rules that provision what is discovered."""
    addresses = doors.addresses
    boots = "\n".join(f'{loader} = "{file}"' for loader, file in filenames(doors).items())
    return f"""\
[site]
name = "simulated"
gateway_url = "{doors.gateway_url}"

[[proxy]]
name = "simulated"
url = "local:"
host_url = "{doors.proxy_url}"

[[domain]]
name = "{DOMAIN}"
proxy = "simulated"
name_servers = ["{doors.dns.address}:{doors.dns.port}"]

[[subnet]]
name = "simulated"
network = "{addresses.network}"
range_from = "{addresses.fixed[0]}"
range_to = "{addresses.fixed[1]}"
dynamic_from = "{addresses.dynamic[0]}"
dynamic_to = "{addresses.dynamic[1]}"
boot_server = "{doors.tftp.address}"
boot_port = {doors.tftp.port}
dhcp_proxy = "simulated"
tftp_proxy = "simulated"
domain = "{DOMAIN}"
[subnet.filenames]
{boots}

[[operating_system]]
name = "LabOS 1"

{install_tree(doors.tree_url, doors.pulp_url)}
{puppet.site_table() if puppet else ""}
{candlepin.site_table() if candlepin else ""}
{"".join(_group(loader, puppet, candlepin) for loader in Loader)}"""


def _group(loader: Loader, puppet: SimulatedPuppet | None, candlepin: LabCandlepin | None) -> str:
    packages = ", ".join(f'"{one}"' for one in PACKAGES)
    return f"""\
[[host_group]]
name = "{loader}"
operating_system = "LabOS 1"
install_tree = "labos"
subnet = "simulated"
domain = "{DOMAIN}"
loader = "{loader}"
root_password_hash = "!"
packages = [{packages}]
install_minutes = 5
first_boot_minutes = 5
{'puppet = "simulated"' if puppet else ""}
{GROUP_KEYS if candlepin else ""}

[[discovery_rule]]
name = "{loader}"
condition = "facts.productname == 'Simulated {loader}'"
host_group = "{loader}"
host_name = "{{{{ facts.serialnumber }}}}"

"""
