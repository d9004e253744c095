"""What should exist outside for a build: a pure function, which is the plan as well."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from uuid import UUID

from integrations.records import BootConfig, BootFile, DnsRecord, Loader, Reservation, reverse_name
from integrations.treeinfo import TreeFile, TreeInfo
from inventory.context import BuildContext
from inventory.models import AfterBuild, InstallTree
from tasks.company import Problem
from templates.models import BootInput, InstallerOptions
from templates.render import installer_options, render_boot_config, render_local_boot

__all__ = [
    "BootFiles",
    "address_of",
    "boot_config",
    "boot_files",
    "build_token",
    "dns_records",
    "kickstart_url",
    "local_boot",
    "network_of",
    "reservation",
]


@dataclass(frozen=True)
class BootFiles:
    """The installer's kernel and initrd as the boot server must hold them."""

    kernel: BootFile
    initrd: BootFile
    stage2_url: str


def build_token(key: bytes, build: UUID) -> str:
    """The one-time token of a build.

    It is random to whoever lacks the key, and the same whenever a task runs again, so that a crash
    between issuing and writing it changes nothing. Only its hash is stored.
    """
    return hmac.new(key, b"rackrise build token " + build.bytes, hashlib.sha256).hexdigest()[:40]


def network_of(context: BuildContext) -> IPv4Network:
    """The host's subnet."""
    return IPv4Network(context.subnet.network)


def address_of(context: BuildContext) -> IPv4Address:
    """The address that the host is to have for good.

    Raises:
        Problem: it has none yet.
    """
    if context.interface.ip is None:
        raise Problem(
            f"{context.host.name} has no address yet",
            "Retry from arrow 7, which takes one from the subnet's range.",
        )
    return IPv4Address(context.interface.ip)


def boot_files(tree: InstallTree, base: str, info: TreeInfo) -> BootFiles:
    """Where the boot server keeps a tree's kernel and initrd: one copy for all its hosts.

    The path names the content, so a tree that changes leaves the files of running builds alone.

    Args:
        tree: by whose name they are called.
        base: URL of the tree, without a slash at the end.
        info: which of its files are meant.
    """

    def file(one: TreeFile) -> BootFile:
        name = one.path.rpartition("/")[2]
        return BootFile(
            path=f"boot/{tree.name}-{one.sha256[:12]}-{name}",
            url=f"{base}/{one.path}",
            sha256=one.sha256,
        )

    stage2 = f"{base}/{info.stage2}" if info.stage2 else base
    return BootFiles(file(info.kernel), file(info.initrd), stage2)


def kickstart_url(context: BuildContext, token: str) -> str:
    """Where the installer fetches its kickstart: through the proxy's relay (arrows 20, 21)."""
    return f"{context.tftp_proxy.host_url.rstrip('/')}/unattended/provision?token={token}"


def boot_config(context: BuildContext, files: BootFiles, token: str) -> BootConfig:
    """The boot configuration that starts the installer on this host."""
    loader = Loader(context.group.loader)
    options = installer_options(
        InstallerOptions(
            mac=context.interface.mac,
            kickstart_url=kickstart_url(context, token),
            stage2_url=files.stage2_url,
            kernel_options=context.group.kernel_options,
        )
    )
    text = render_boot_config(
        loader,
        BootInput(
            mac=context.interface.mac,
            kernel=files.kernel.path,
            initrd=files.initrd.path,
            proxy_url=context.tftp_proxy.host_url.rstrip("/"),
            options=options,
        ),
    )
    return BootConfig(loader=loader, mac=context.interface.mac, text=text)


def local_boot(context: BuildContext) -> BootConfig | None:
    """What the boot server tells an installed host; None: nothing of its own."""
    if context.group.after_build is AfterBuild.REMOVE:
        return None
    loader = Loader(context.group.loader)
    return BootConfig(loader=loader, mac=context.interface.mac, text=render_local_boot(loader))


def reservation(context: BuildContext) -> Reservation:
    """The host's address in DHCP, with its boot server and file."""
    return Reservation(
        mac=context.interface.mac,
        ip=address_of(context),
        name=context.host.name,
        hostname=context.host.name,
        next_server=context.subnet.boot_server,
        filename=context.subnet.filenames.get(context.group.loader, ""),
        network=network_of(context),
    )


def dns_records(context: BuildContext) -> tuple[DnsRecord, DnsRecord]:
    """The host's name and its way back."""
    address = address_of(context)
    return (
        DnsRecord(name=context.host.name, type="A", value=str(address)),
        DnsRecord(name=reverse_name(address), type="PTR", value=context.host.name),
    )
