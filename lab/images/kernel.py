"""The guests' kernel: Debian's cloud kernel, and the few modules it needs to reach disk and net.

The order of the modules matters: a wrong one ends in "unknown symbol".
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Cache, key
from lab.images import debian
from lab.namespace import run

__all__ = ["Kernel", "kernel", "load_order"]

_META = "linux-image-cloud-amd64"
_WANTED = ("virtio_pci", "virtio_net", "virtio_blk", "squashfs", "overlay", "loop")


@dataclass(frozen=True)
class Kernel:
    """A kernel image, and its modules under names that sort in the order of loading."""

    package: str
    vmlinuz: Path
    modules: tuple[Path, ...]


def load_order(shown: str) -> list[Path]:
    """Read ``modprobe --show-depends``: each module once, where it is first needed."""
    lines = (line.split() for line in shown.splitlines())
    return list(dict.fromkeys(Path(words[1]) for words in lines if words[:1] == ["insmod"]))


async def kernel(cache: Cache) -> Kernel:
    """Fetch the kernel that Debian's meta package stands for today."""
    package = await debian.depends_on(_META)
    version = package.removeprefix("linux-image-")

    async def build(made: Path) -> None:
        unpacked = made / "unpacked"
        await debian.unpack_package(package, unpacked)
        await run("depmod", "-b", str(unpacked), version)
        shown = await run(
            "modprobe", "-d", str(unpacked), "-S", version, "--show-depends", "-a", *_WANTED
        )
        shutil.copy(unpacked / "boot" / f"vmlinuz-{version}", made / "vmlinuz")
        (made / "modules").mkdir()
        for number, module in enumerate(load_order(shown), 1):
            shutil.copy(module, made / "modules" / f"{number:02}-{module.name}")
        shutil.rmtree(unpacked)

    made = await cache.product("kernel", key(package, Path(__file__)), build)
    return Kernel(package, made / "vmlinuz", tuple(sorted((made / "modules").iterdir())))
