"""Small initramfs images: a static busybox, the kernel's modules and one ``/init``."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lab.cache import Cache, key
from lab.images.kernel import Kernel
from lab.namespace import run

__all__ = ["GUEST", "initramfs"]

GUEST = Path(__file__).resolve().parent.parent / "guest"

_BUSYBOX = Path("/bin/busybox")
_COMMON = ("boot.sh", "udhcpc.sh")


async def initramfs(cache: Cache, name: str, kernel: Kernel, files: Mapping[str, Path]) -> Path:
    """Pack an initramfs.

    Args:
        cache: where it is kept.
        name: which one.
        kernel: whose modules go in.
        files: path inside the image to file here; ``init`` must be among them.

    Returns:
        The gzipped cpio archive.

    Raises:
        RuntimeError: busybox is not statically linked, or a tool is missing.
    """
    contents = {name: GUEST / "common" / name for name in _COMMON} | dict(files)

    async def build(made: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch)
            for directory in ("bin", "dev", "proc", "sys", "lib/modules", "etc", "tmp", "new"):
                (root / directory).mkdir(parents=True)
            shutil.copy(_BUSYBOX, root / "bin" / "busybox")
            for module in kernel.modules:
                shutil.copy(module, root / "lib" / "modules")
            for inside, source in contents.items():
                target = root / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
                target.chmod(0o755)
            await run(
                "sh", "-ec",
                'cd "$1" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -6n >"$2"',
                "sh", scratch, str(made / "initrd.img"),
            )  # fmt: skip

    made_from = key(
        Path(__file__), _BUSYBOX, *kernel.modules,
        *(part for inside, source in sorted(contents.items()) for part in (inside, source)),
    )  # fmt: skip
    return await cache.product(name, made_from, build) / "initrd.img"
