"""ISC dhcpd of Debian's package on a lab's bridge, with OMAPI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from integrations.dhcp.isc import IscSettings
from integrations.dhcp.omapi import Algorithm
from lab.namespace import Namespace
from lab.process import Running, running
from lab.servers.dhcp import BootClass, Client, DhcpLab

__all__ = ["IscServer", "isc"]

OMAPI_PORT = 7911


@dataclass(frozen=True)
class IscServer:
    """A running dhcpd and the settings that reach it from inside its namespace."""

    settings: IscSettings
    server: Running


@asynccontextmanager
async def isc(
    namespace: Namespace,
    directory: Path,
    lab: DhcpLab | None = None,
    *,
    algorithm: Algorithm = "hmac-md5",
    extra: str = "",
) -> AsyncIterator[IscServer]:
    """Run dhcpd on the namespace's bridge while the block lasts.

    Args:
        namespace: where it serves.
        directory: an existing directory for its files; a lease file that is there is kept.
        lab: what it serves.
        algorithm: of its OMAPI key.
        extra: further statements of dhcpd.conf.
    """
    lab = lab or DhcpLab()
    conf, leases = directory / "dhcpd.conf", directory / "dhcpd.leases"
    conf.write_text(_configuration(lab, algorithm) + extra)
    leases.touch()  # without one dhcpd does not start
    log = directory / "dhcpd.log"

    async def ready() -> bool:
        return "Server starting service." in log.read_text(errors="replace")

    command = ["dhcpd", "-4", "-f", "-d", "-cf", str(conf), "-lf", str(leases)]
    command += ["-pf", str(directory / "dhcpd.pid"), "br0"]
    log.unlink(missing_ok=True)  # a line of an earlier run must not pass for readiness
    async with running("dhcpd", namespace.command(*command), log=log, ready=ready) as server:
        settings = IscSettings(
            port=OMAPI_PORT,
            key_name=lab.key_name,
            secret=SecretStr(lab.secret),
            algorithm=algorithm,
            conf_file=conf,
            leases_file=leases,
        )
        yield IscServer(settings, server)


def _configuration(lab: DhcpLab, algorithm: Algorithm) -> str:
    return f"""\
omapi-port {OMAPI_PORT};
key "{lab.key_name}" {{ algorithm {algorithm}; secret "{lab.secret}"; }};
omapi-key "{lab.key_name}";
authoritative;
ping-check false;
default-lease-time {lab.lease_seconds};
max-lease-time {lab.lease_seconds};
option arch code 93 = unsigned integer 16;
next-server {lab.next_server};
{_choice(lab.boot)}
subnet {lab.network.network_address} netmask {lab.network.netmask} {{
  range {lab.range_from} {lab.range_to};
  option routers {lab.router};
  option domain-name-servers {lab.router};
}}
"""


_TESTS = {
    Client.IPXE: 'option user-class = "iPXE"',
    Client.UEFI_HTTP: 'substring(option vendor-class-identifier, 0, 10) = "HTTPClient"',
    Client.UEFI: 'substring(option vendor-class-identifier, 0, 9) = "PXEClient"'
    " and (option arch = 00:07 or option arch = 00:09)",
    Client.BIOS: "exists dhcp-message-type",
}


def _choice(classes: tuple[BootClass, ...]) -> str:
    """One chain of conditions: the first that holds decides, as in Kea's exclusive classes."""
    chain = []
    for boot in classes:
        test = f"({_TESTS[boot.client]})"
        if boot.macs:
            # A leading 1 is the hardware type, Ethernet.
            test += f" and ({' or '.join(f'hardware = 1:{mac}' for mac in boot.macs)})"
        # A UEFI HTTP client takes only an offer that names its own class.
        reply = (
            ' option vendor-class-identifier "HTTPClient";'
            if boot.client is Client.UEFI_HTTP
            else ""
        )
        # dhcpd ends a condition that begins with a parenthesis where that one closes.
        chain.append(f'if ({test}) {{ filename "{boot.filename}";{reply} }}')
    return "\nels".join(chain)
