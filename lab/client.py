"""A DHCP client on a lab's bridge, for questions that need no whole machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory

from lab.namespace import Namespace, run

__all__ = ["DhcpClient", "Offer", "client"]

_SCRIPT = """\
#!/bin/sh
[ "$1" = bound ] || exit 0
echo "offer $ip,${siaddr:-0.0.0.0},$boot_file,$hostname"
"""


@dataclass(frozen=True)
class Offer:
    """What the client was given."""

    ip: IPv4Address
    next_server: IPv4Address
    filename: str
    hostname: str


@dataclass(frozen=True)
class DhcpClient:
    """A network interface in a namespace of its own, and udhcpc to ask for it."""

    name: str
    script: Path

    async def ask(self, *options: str) -> Offer:
        """Ask for a lease and keep it.

        Args:
            options: further arguments of udhcpc, such as ``-x 0x4d:69505845`` (user class iPXE).

        Raises:
            RuntimeError: nobody offered one.
        """
        command = ["ip", "netns", "exec", self.name, "busybox", "udhcpc", "-i", "eth0"]
        command += ["-s", str(self.script), "-q", "-n", "-f", "-t", "4", "-T", "1"]
        command += ["-O", "bootfile", *options]
        printed = await run(*command, deadline=20)
        line = next(line for line in printed.splitlines() if line.startswith("offer "))
        ip, server, filename, hostname = line.removeprefix("offer ").split(",")
        return Offer(IPv4Address(ip), IPv4Address(server), filename, hostname)


def _write_script(directory: Path) -> Path:
    script = directory / "bound"
    script.write_text(_SCRIPT)
    script.chmod(0o755)
    return script


@asynccontextmanager
async def client(namespace: Namespace, name: str, mac: str) -> AsyncIterator[DhcpClient]:
    """Plug an interface into the lab's bridge while the block lasts.

    Args:
        namespace: the lab's network.
        name: at most 15 characters, unique on this machine; put the process id into it.
        mac: the interface's address.
    """
    with TemporaryDirectory(prefix="lab-client-") as directory:
        script = _write_script(Path(directory))
        await run("ip", "netns", "add", name)
        try:
            inside = ("ip", "-n", name, "link")
            ends = ("type", "veth", "peer", "name", name, "netns", namespace.name)
            await run(*inside, "add", "eth0", "address", mac, *ends)
            await run("ip", "-n", namespace.name, "link", "set", name, "master", "br0", "up")
            await run(*inside, "set", "eth0", "up")
            yield DhcpClient(name, script)
        finally:
            await run("ip", "netns", "del", name)
