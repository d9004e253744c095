"""Boot loaders for the TFTP and HTTP roots: Debian's, under the names that DHCP hands out."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab.cache import Cache, key
from lab.images import debian

__all__ = ["LOADERS", "loaders"]

LOADERS = {
    "pxelinux.0": Path("/usr/lib/PXELINUX/pxelinux.0"),
    # pxelinux 6 stops without it.
    "ldlinux.c32": Path("/usr/lib/syslinux/modules/bios/ldlinux.c32"),
    "undionly.kpxe": Path("/usr/lib/ipxe/undionly.kpxe"),
    "ipxe.efi": Path("/usr/lib/ipxe/ipxe.efi"),
    "snponly.efi": Path("/usr/lib/ipxe/snponly.efi"),
}
_GRUB_PACKAGE = "grub-efi-amd64-signed"
_GRUB = Path("usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed")


async def loaders(cache: Cache) -> Path:
    """A directory with every loader that the lab's machines may be sent to.

    Raises:
        RuntimeError: a Debian package that brings one is not installed.
    """
    if missing := [str(path) for path in LOADERS.values() if not path.is_file()]:
        raise RuntimeError(
            f"{', '.join(missing)} not found: install ipxe, pxelinux and syslinux-common"
        )

    async def build(made: Path) -> None:
        for name, source in LOADERS.items():
            shutil.copy(source, made / name)
        unpacked = made / "unpacked"
        await debian.unpack_package(_GRUB_PACKAGE, unpacked)
        shutil.copy(unpacked / _GRUB, made / "grubnetx64.efi")
        shutil.rmtree(unpacked)

    return await cache.product("loaders", key(Path(__file__), *LOADERS.values()), build)
