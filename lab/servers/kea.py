"""Kea DHCPv4 of Debian's package on a lab's bridge, with its control socket and agent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from integrations.dhcp.kea import KeaSettings
from integrations.dhcp.kea_channel import UnixChannel
from integrations.errors import Unavailable
from lab.namespace import Namespace
from lab.process import Running, running
from lab.servers.dhcp import BootClass, Client, DhcpLab

__all__ = ["KeaServer", "agent_settings", "kea", "kea_agent"]

AGENT_PORT = 8000
_HOOKS = Path("/usr/lib/x86_64-linux-gnu/kea/hooks")


@dataclass(frozen=True)
class KeaServer:
    """A running Kea, the settings that reach it from any process of this host, and its file."""

    settings: KeaSettings
    server: Running
    conf: Path
    """Kea itself rewrites it at ``config-write``."""


@asynccontextmanager
async def kea(
    namespace: Namespace,
    directory: Path,
    lab: DhcpLab | None = None,
    *,
    reservations: tuple[dict[str, Any], ...] = (),
) -> AsyncIterator[KeaServer]:
    """Run Kea on the namespace's bridge while the block lasts.

    Args:
        namespace: where it serves.
        directory: an existing directory for its files, with a path short enough for a socket. A
            configuration that is there is kept: Kea writes the reservations into it.
        lab: what it serves.
        reservations: in Kea's own words, as somebody else's.
    """
    conf, control = directory / "kea-dhcp4.conf", directory / "kea4.sock"
    if not conf.exists():
        conf.write_text(json.dumps(_configuration(lab or DhcpLab(), directory, reservations)))
    control.unlink(missing_ok=True)  # left by one that was killed
    settings = KeaSettings(control_socket=control)
    channel = UnixChannel(control, timeout=2)

    async def ready() -> bool:
        try:
            return (await channel.send("status-get", None)).get("result") == 0
        except Unavailable:
            return False

    async with running(
        "kea-dhcp4",
        namespace.command("kea-dhcp4", "-c", str(conf)),
        log=directory / "kea-dhcp4.log",
        ready=ready,
        env={"KEA_PIDFILE_DIR": str(directory), "KEA_LOCKFILE_DIR": str(directory)},
    ) as server:
        yield KeaServer(settings, server, conf)


@asynccontextmanager
async def kea_agent(
    namespace: Namespace, directory: Path, lab: DhcpLab | None = None
) -> AsyncIterator[Running]:
    """Run the control agent of the Kea in the same directory, on the namespace's loopback.

    It listens on ``AGENT_PORT``; user and password are the lab's key name and secret.
    """
    lab = lab or DhcpLab()
    conf = directory / "kea-ctrl-agent.conf"
    conf.write_text(json.dumps(_agent_configuration(lab, directory / "kea4.sock")))
    log = directory / "kea-ctrl-agent.log"

    async def ready() -> bool:
        return "CTRL_AGENT_STARTED" in log.read_text(errors="replace")

    log.unlink(missing_ok=True)  # a line of an earlier run must not pass for readiness
    async with running(
        "kea-ctrl-agent",
        namespace.command("kea-ctrl-agent", "-c", str(conf)),
        log=log,
        ready=ready,
        env={"KEA_PIDFILE_DIR": str(directory), "KEA_LOCKFILE_DIR": str(directory)},
    ) as agent:
        yield agent


def agent_settings(lab: DhcpLab, port: int = AGENT_PORT) -> KeaSettings:
    """The settings that reach the agent at a port of this host's loopback."""
    return KeaSettings(
        agent_url=f"http://127.0.0.1:{port}/",
        user=lab.key_name,
        password=SecretStr(lab.secret),
    )


def _loggers(name: str) -> list[dict[str, Any]]:
    return [{"name": name, "severity": "INFO", "output_options": [{"output": "stdout"}]}]


def _agent_configuration(lab: DhcpLab, control: Path) -> dict[str, Any]:
    return {
        "Control-agent": {
            "http-host": "127.0.0.1",
            "http-port": AGENT_PORT,
            "authentication": {
                "type": "basic",
                "realm": "lab",
                "clients": [{"user": lab.key_name, "password": lab.secret}],
            },
            "control-sockets": {"dhcp4": {"socket-type": "unix", "socket-name": str(control)}},
            "loggers": _loggers("kea-ctrl-agent"),
        }
    }


def _configuration(
    lab: DhcpLab, directory: Path, reservations: tuple[dict[str, Any], ...]
) -> dict[str, Any]:
    return {
        "Dhcp4": {
            "interfaces-config": {
                "interfaces": ["br0"],
                "dhcp-socket-type": "raw",
                # Without these a moment without carrier leaves Kea without sockets for ever.
                "service-sockets-max-retries": 60,
                "service-sockets-retry-wait-time": 500,
            },
            "control-socket": {
                "socket-type": "unix",
                "socket-name": str(directory / "kea4.sock"),
            },
            "lease-database": {
                "type": "memfile",
                "persist": True,
                "name": str(directory / "leases4.csv"),
                "lfc-interval": 0,
            },
            "valid-lifetime": lab.lease_seconds,
            "next-server": str(lab.next_server),
            "option-data": [
                {"name": "routers", "data": str(lab.router)},
                {"name": "domain-name-servers", "data": str(lab.router)},
            ],
            "client-classes": _classes(lab.boot),
            "hooks-libraries": [{"library": str(_HOOKS / "libdhcp_lease_cmds.so")}],
            "subnet4": [
                {
                    "id": 1,
                    "subnet": str(lab.network),
                    "pools": [{"pool": f"{lab.range_from} - {lab.range_to}"}],
                    "reservations": list(reservations),
                }
            ],
            "loggers": _loggers("kea-dhcp4"),
        }
    }


_TESTS = {
    Client.IPXE: "option[77].hex == 'iPXE'",
    Client.UEFI_HTTP: "substring(option[60].hex,0,10) == 'HTTPClient'",
    Client.UEFI: "substring(option[60].hex,0,9) == 'PXEClient'"
    " and (option[93].hex == 0x0007 or option[93].hex == 0x0009)",
    Client.BIOS: "member('ALL')",
}


def _classes(classes: tuple[BootClass, ...]) -> list[dict[str, Any]]:
    """Classes that exclude each other: the first whose test holds decides."""
    made: list[dict[str, Any]] = []
    for number, boot in enumerate(classes):
        tests = [f"not member('{earlier['name']}')" for earlier in made]
        tests.append(f"({_TESTS[boot.client]})")
        if boot.macs:
            octets = [f"pkt4.mac == 0x{mac.replace(':', '')}" for mac in boot.macs]
            tests.append(f"({' or '.join(octets)})")
        entry: dict[str, Any] = {
            "name": f"boot-{number}-{boot.client}",
            "test": " and ".join(tests),
            "boot-file-name": boot.filename,
        }
        if boot.client is Client.UEFI_HTTP:
            # A UEFI HTTP client takes only an offer that names its own class.
            entry["option-data"] = [{"name": "vendor-class-identifier", "data": "HTTPClient"}]
        made.append(entry)
    return made
