"""Boot loaders as far as they decide anything: which configuration is read, and what it says.

Each reads the same files in the same order as the real one, and no more of their languages than
its own default configuration and a machine's own may use.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from integrations.bootfiles import default_paths, host_paths
from integrations.records import Loader

__all__ = ["BootFailed", "Fetch", "LocalBoot", "Start", "load"]

Fetch = Callable[[str], Awaitable[bytes | None]]
"""Gets a file by its path below the boot root, or by its URL; None: there is none."""


class BootFailed(Exception):
    """What a machine shows when it cannot boot."""


@dataclass(frozen=True)
class Start:
    """Load these and start the kernel."""

    kernel: str
    initrd: str
    """As ``Fetch`` takes them."""
    command_line: str


@dataclass(frozen=True)
class LocalBoot:
    """Go on to the disk."""


async def load(loader: Loader, mac: str, filename: str, fetch: Fetch) -> Start | LocalBoot:
    """Do what a loader does from its first file on.

    Args:
        loader: which.
        mac: of the boot interface.
        filename: the boot file that DHCP named.
        fetch: the machine's way to the boot server.

    Raises:
        BootFailed: a file is missing, or says nothing that can be booted.
    """
    first = await _required(filename, fetch)
    match loader:
        case Loader.PXELINUX:
            return await _pxelinux(mac, fetch)
        case Loader.GRUB2:
            return await _grub2(mac, fetch)
        case Loader.IPXE:
            return await _ipxe(mac, first.decode(), fetch)


async def _required(path: str, fetch: Fetch) -> bytes:
    content = await fetch(path)
    if content is None:
        raise BootFailed(f"{path}: file not found")
    return content


def _dashes(mac: str) -> str:
    return mac.replace(":", "-")


async def _pxelinux(mac: str, fetch: Fetch) -> Start | LocalBoot:
    (own,), (default,) = host_paths(Loader.PXELINUX, mac), default_paths(Loader.PXELINUX)
    text = (await fetch(own) or await _required(default, fetch)).decode()
    words = dict(re.findall(r"^\s*(\S+)[ \t]+(.*)$", text, re.MULTILINE))
    if "LOCALBOOT" in words:
        return LocalBoot()
    if not {"KERNEL", "INITRD", "APPEND"} <= words.keys():
        raise BootFailed(f"PXELINUX: neither LOCALBOOT nor a kernel in {text!r}")
    line = words["APPEND"]
    if words.get("IPAPPEND") == "2":
        line += f" BOOTIF=01-{_dashes(mac)}"
    return Start(words["KERNEL"], words["INITRD"], line)


async def _grub2(mac: str, fetch: Fetch) -> Start | LocalBoot:
    (default,) = default_paths(Loader.GRUB2)
    text = (await _required(default, fetch)).decode()
    own = re.search(r"^configfile (\S+)$", text, re.MULTILINE)
    if own:
        text = (await fetch(own[1].replace("$m", _dashes(mac))) or text.encode()).decode()
    linux = re.search(r"^\s*linux (\S+) (.*)$", text, re.MULTILINE)
    initrd = re.search(r"^\s*initrd (\S+)$", text, re.MULTILINE)
    if linux and initrd:
        line = re.sub(r"\\(.)", r"\1", linux[2]).replace("$m", _dashes(mac))
        return Start(linux[1], initrd[1], line)
    if re.search(r"^\s*exit$", text, re.MULTILINE):
        return LocalBoot()
    raise BootFailed(f"GRUB: neither exit nor a kernel in {text!r}")


async def _ipxe(mac: str, script: str, fetch: Fetch) -> Start | LocalBoot:
    text = script.replace("${netX/mac:hexhyp}", _dashes(mac))
    own = re.search(r"^imgfetch --name own (\S+) \|\| goto discovery$", text, re.MULTILINE)
    if own:
        text = (await fetch(own[1]) or text.partition("\n:discovery\n")[2].encode()).decode()
    kernel = re.search(r"^kernel (\S+) initrd=initrd\.img (.*)$", text, re.MULTILINE)
    initrd = re.search(r"^initrd --name initrd\.img (\S+)$", text, re.MULTILINE)
    if kernel and initrd:
        return Start(kernel[1], initrd[1], kernel[2])
    if re.search(r"^exit$", text, re.MULTILINE):
        return LocalBoot()
    raise BootFailed(f"iPXE: neither exit nor a kernel in {text!r}")
