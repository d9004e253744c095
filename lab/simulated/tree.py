"""What simulated hosts boot and install: an install tree and boot files, small but all checkable.

The content is nothing that runs; sizes, checksums and the files that list them are as they should
be, so that a host notices what is missing, truncated or another's.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import httpx

from lab.images.treeinfo import treeinfo

__all__ = [
    "FIRST_STAGES",
    "INITRD_BYTES",
    "PACKAGES",
    "BadTree",
    "Tree",
    "install_packages",
    "make_boot_root",
]

FIRST_STAGES = {"PXELinux": "pxelinux.0", "PXEGrub2": "grub2/grubx64.efi"}
"""What the firmware fetches by TFTP; iPXE is in the machine already."""
INITRD_BYTES = 90_001
"""Of the installer, unless a site wants it as large as a real one."""
PACKAGES = ("labos-base", "kernel-labos")
"""What host groups ask for."""
_ALL_PACKAGES = (*PACKAGES, "puppet-agent", "subscription-manager")
_DISCOVERY = ("boot/fdi-image/vmlinuz0", "boot/fdi-image/initrd0.img")
"""Where foreman-discovery-image is unpacked to."""
_REPO = "http://linux.duke.edu/metadata/repo"
_COMMON = "http://linux.duke.edu/metadata/common"


class BadTree(Exception):
    """Something of the tree is missing or not what its lists say."""


@dataclass(frozen=True)
class Tree:
    """The boot files that a host must have received whole, by SHA-256."""

    discovery: frozenset[str]
    installer: frozenset[str]

    @classmethod
    def make(cls, boot_root: Path, tree: Path, seed: int, initrd_bytes: int = INITRD_BYTES) -> Tree:
        """Write the discovery image below the boot root, and an install tree."""
        content = random.Random(f"boot files {seed}")
        discovery = make_boot_root(boot_root, content)
        installer = _make_tree(tree, content, initrd_bytes)
        return cls(frozenset(discovery), frozenset(installer))


def make_boot_root(root: Path, content: random.Random) -> Sequence[str]:
    """Put first stages and the discovery image below a boot root; returns the image's checksums."""
    for name in FIRST_STAGES.values():
        _write(root / name, content.randbytes(10_000))
    return [
        _write(root / name, content.randbytes(size))
        for name, size in zip(_DISCOVERY, (30_000, 90_000), strict=True)
    ]


def _make_tree(tree: Path, content: random.Random, initrd_bytes: int) -> Sequence[str]:
    kernel = _write(tree / "images/pxeboot/vmlinuz", content.randbytes(30_001))
    initrd = _write(tree / "images/pxeboot/initrd.img", content.randbytes(initrd_bytes))
    _write(tree / "images/install.img", content.randbytes(200_000))
    packages = "".join(
        _package(name, _write(tree / f"Packages/{name}.rpm", content.randbytes(20_000)))
        for name in _ALL_PACKAGES
    )
    primary = f'<metadata xmlns="{_COMMON}" packages="{len(_ALL_PACKAGES)}">{packages}</metadata>'
    digest = _write(tree / "repodata/primary.xml", primary.encode())
    repomd = (
        f'<repomd xmlns="{_REPO}"><data type="primary"><checksum type="sha256">{digest}</checksum>'
        '<location href="repodata/primary.xml"/></data></repomd>'
    )
    _write(tree / "repodata/repomd.xml", repomd.encode())
    described = treeinfo(tree, name="LabOS", version="1", timestamp=1_763_800_000)
    _write(tree / ".treeinfo", described.encode())
    return [kernel, initrd]


def _write(file: Path, content: bytes) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _package(name: str, digest: str) -> str:
    return (
        f'<package type="rpm"><name>{name}</name><arch>x86_64</arch>'
        '<version epoch="0" ver="1" rel="1"/>'
        f'<checksum type="sha256" pkgid="YES">{digest}</checksum>'
        f'<location href="Packages/{name}.rpm"/></package>'
    )


async def install_packages(http: httpx.AsyncClient, tree: str, wanted: Sequence[str]) -> int:
    """Read a tree's metadata and fetch packages from it, as dnf does.

    Args:
        http: the host's own client.
        tree: its URL.
        wanted: names.

    Returns:
        How many packages were fetched.

    Raises:
        BadTree: one is not there, or its checksum is wrong.
        httpx.HTTPError: the server does not give it.
    """
    repomd = ElementTree.fromstring(await _get(http, f"{tree}/repodata/repomd.xml"))
    entry = repomd.find(f"{{{_REPO}}}data[@type='primary']")
    primary = ElementTree.fromstring(await _listed(http, tree, entry, _REPO))
    known = {one.findtext(f"{{{_COMMON}}}name"): one for one in primary}
    for name in wanted:
        if name not in known:
            raise BadTree(f"no package {name} in {tree}; it has: {', '.join(map(str, known))}")
        await _listed(http, tree, known[name], _COMMON)
    return len(wanted)


async def _listed(
    http: httpx.AsyncClient, tree: str, entry: ElementTree.Element | None, space: str
) -> bytes:
    location = None if entry is None else entry.find(f"{{{space}}}location")
    if entry is None or location is None:
        raise BadTree(f"{tree}/repodata/repomd.xml lists no primary metadata")
    content = await _get(http, f"{tree}/{location.get('href')}")
    if hashlib.sha256(content).hexdigest() != entry.findtext(f"{{{space}}}checksum"):
        raise BadTree(f"{tree}/{location.get('href')} has another checksum than the tree says")
    return content


async def _get(http: httpx.AsyncClient, url: str) -> bytes:
    return (await http.get(url)).raise_for_status().content
