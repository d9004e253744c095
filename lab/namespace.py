"""A network of its own for every lab, so that nothing that it serves can reach a real machine.

The bridge and its traps (no carrier, no router advertisement) are those of the lab's contract.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

__all__ = ["Namespace", "namespace", "run"]


async def run(*command: str, deadline: float = 60, stdin: str | None = None) -> str:
    """Run a command to its end and return what it printed.

    Args:
        command: the program and its arguments.
        deadline: seconds until it is ended.
        stdin: text for its standard input.

    Raises:
        RuntimeError: it failed or took too long; the message holds what it printed.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(deadline):
            printed, _ = await process.communicate(stdin.encode() if stdin is not None else None)
    except TimeoutError:
        raise RuntimeError(f"{' '.join(command)} did not end within {deadline:g} s") from None
    finally:
        # Too late, or nobody waits for it any more.
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = printed.decode(errors="replace")
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {text.strip()}")
    return text


@dataclass(frozen=True)
class Namespace:
    """One network namespace with a bridge ``br0`` that carries the lab's address."""

    name: str
    address: str = "192.0.2.1"
    prefix: int = 24

    def command(self, *command: str) -> list[str]:
        """The command line that runs a command inside; its process id is the command's own."""
        return ["ip", "netns", "exec", self.name, *command]

    async def run(self, *command: str, deadline: float = 60) -> str:
        """Run a command inside, to its end."""
        return await run(*self.command(*command), deadline=deadline)

    async def add_tap(self, tap: str) -> None:
        """Add a tap device for a virtual machine to the bridge."""
        await run("ip", "-n", self.name, "tuntap", "add", tap, "mode", "tap")
        await run("ip", "-n", self.name, "link", "set", tap, "master", "br0", "up")


@asynccontextmanager
async def namespace(
    name: str, address: str = "192.0.2.1", prefix: int = 24
) -> AsyncIterator[Namespace]:
    """Make a namespace with a bridge that always has carrier; remove it at the end.

    Args:
        name: unique on this machine; put the process id into it.
        address: the lab's own address on the bridge.
        prefix: length of the network's prefix in bits.
    """
    await run("ip", "netns", "add", name)
    try:
        inside = ("ip", "-n", name)
        await run(*inside, "link", "set", "lo", "up")
        await run(
            *inside, "link", "add", "br0", "type", "bridge", "stp_state", "0", "forward_delay", "0"
        )
        await run(*inside, "addr", "add", f"{address}/{prefix}", "dev", "br0")
        await run(*inside, "link", "set", "br0", "up")
        await run(*inside, "addr", "add", "fd00:1ab::1/64", "dev", "br0", "nodad")
        # Without a link that is up the bridge has no carrier, and Kea then opens no socket.
        await run(*inside, "link", "add", "vk0", "type", "veth", "peer", "name", "vk1")
        await run(*inside, "link", "set", "vk0", "master", "br0", "up")
        await run(*inside, "link", "set", "vk1", "up")
        yield Namespace(name, address, prefix)
    finally:
        await run("ip", "netns", "del", name)
