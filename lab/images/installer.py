"""The installer's second stage: a squashfs image with Python, dnf and boot loaders."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
from pathlib import Path

from lab.cache import Cache, key
from lab.images import debian
from lab.namespace import run

__all__ = ["installer_image"]

_PACKAGES = (
    "python3", "python3-requests", "dnf", "rpm", "curl", "busybox-static", "kmod", "iproute2",
    "mount", "fdisk", "e2fsprogs", "dosfstools", "mtools", "extlinux", "syslinux-common",
    "systemd-boot-efi",
)  # fmt: skip
_NEVER_OPENED = (
    "usr/lib/python3.11/test",
    "usr/lib/python3.11/idlelib",
    "usr/lib/python3.11/ensurepip",
    "usr/lib/python3.11/lib2to3",
    "usr/lib/python3.11/pydoc_data",
    "usr/lib/syslinux/modules",
    "usr/lib/systemd/boot/efi/*ia32*",
    "usr/bin/openssl",
    "usr/bin/gpgcompose",
)


async def installer_image(cache: Cache) -> Path:
    """The squashfs image that a tree serves as ``images/install.img``."""

    async def build(made: Path) -> None:
        tree = made / "tree"
        await debian.unpack_tree(tree, _PACKAGES)
        await asyncio.to_thread(debian.slim, tree, _NEVER_OPENED)
        await _add_pykickstart(tree)
        for directory in ("mnt/sysimage", "usr/local/sbin", "root"):
            (tree / directory).mkdir(parents=True, exist_ok=True)
        # Level 9 is decompressed as fast as lower levels, and there is less to fetch.
        await run(
            "mksquashfs", str(tree), str(made / "install.img"), "-quiet", "-no-progress",
            "-comp", "zstd", "-Xcompression-level", "9", deadline=600,
        )  # fmt: skip
        await asyncio.to_thread(shutil.rmtree, tree)

    made_from = key(Path(__file__), Path(debian.__file__), str(_pykickstart()))
    return await cache.product("installer", made_from, build) / "install.img"


def _pykickstart() -> Path:
    """Our own pykickstart, which Debian does not package."""
    found = importlib.util.find_spec("pykickstart")
    if found is None or found.origin is None:
        raise RuntimeError("pykickstart is not installed here; the installer image needs it")
    return Path(found.origin).parent


async def _add_pykickstart(tree: Path) -> None:
    inside = Path("usr/lib/python3/dist-packages/pykickstart")
    await asyncio.to_thread(
        shutil.copytree,
        _pykickstart(),
        tree / inside,
        ignore=shutil.ignore_patterns("__pycache__", "locale"),
    )
    # Compiling in the guest, at each start, would cost seconds.
    await run("chroot", str(tree), "python3", "-m", "compileall", "-q", f"/{inside}")
