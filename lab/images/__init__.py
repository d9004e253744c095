"""What the lab's machines boot and install, built from this machine's Debian mirror, and cached.

``build`` gives the paths; a second call, in whichever process, builds nothing.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Cache, key
from lab.images import rpms, system, treeinfo
from lab.images.initramfs import GUEST, initramfs
from lab.images.installer import installer_image
from lab.images.kernel import kernel
from lab.images.loaders import loaders

__all__ = ["Images", "build"]

_TOOLS = {
    "busybox": "busybox-static",
    "cpio": "cpio",
    "createrepo_c": "createrepo-c",
    "depmod": "kmod",
    "mksquashfs": "squashfs-tools",
    "mmdebstrap": "mmdebstrap",
    "rpmbuild": "rpm",
}
"""Programs that build images, and the Debian packages that bring them."""


@dataclass(frozen=True)
class Images:
    """Where the finished products lie; read-only, shared by everybody who uses the cache.

    Args:
        tree: an install tree to be served by HTTP: ``.treeinfo``, ``images/``, ``repodata/``,
            ``Packages/``.
        discovery_kernel: goes to ``boot/fdi-image/vmlinuz0``.
        discovery_initrd: goes to ``boot/fdi-image/initrd0.img``.
        loaders: directory of boot loaders for the TFTP root, see ``lab.images.loaders``.
    """

    tree: Path
    discovery_kernel: Path
    discovery_initrd: Path
    loaders: Path

    def fill_tftp_root(self, root: Path) -> None:
        """Put the loaders and the discovery image where a real site's TFTP root has them."""
        image = root / "boot" / "fdi-image"
        image.mkdir(parents=True, exist_ok=True)
        files = {image / "vmlinuz0": self.discovery_kernel}
        files[image / "initrd0.img"] = self.discovery_initrd
        files |= {root / loader.name: loader for loader in self.loaders.iterdir()}
        for target, source in files.items():
            # Copies: whoever damages one of them on purpose must not damage the cache.
            shutil.copy(source, target)
            target.chmod(0o644)
        # Debian's signed GRUB reads this file only; the site's own lies where Foreman's does.
        stub = root / "grub" / "grub.cfg"
        stub.parent.mkdir(exist_ok=True)
        stub.write_text("configfile /grub2/grub.cfg\n")


async def build(cache: Cache | None = None) -> Images:
    """Build whatever is not in the cache yet: a minute on two cores, or nothing.

    Raises:
        RuntimeError: a tool is missing, or the mirror does not answer; the message holds what the
            failing program printed.
    """
    cache = cache or Cache()
    _check_tools()
    # The two root trees are the long part, and independent of each other.
    try:
        async with asyncio.TaskGroup() as group:
            stage2_task = group.create_task(installer_image(cache))
            base_task = group.create_task(system.base_package(cache))
            kernel_task = group.create_task(kernel(cache))
            loaders_task = group.create_task(loaders(cache))
            puppet_task = group.create_task(system.puppet_package(cache))
            client_task = group.create_task(system.subscription_package(cache))
    except ExceptionGroup as failed:
        # The first failure ended the others.
        raise failed.exceptions[0] from failed
    stage2, base, guest_kernel = stage2_task.result(), base_task.result(), kernel_task.result()

    discovery = await initramfs(
        cache, "discovery", guest_kernel,
        {name: GUEST / "discovery" / name for name in ("init", "facts", "power")},
    )  # fmt: skip
    installer = await initramfs(
        cache, "installer-initramfs", guest_kernel,
        {name: GUEST / "installer" / name for name in ("init", "install.py")},
    )  # fmt: skip
    disk = await initramfs(cache, "disk", guest_kernel, {"init": GUEST / "disk" / "init"})
    puppet, client = puppet_task.result(), client_task.result()
    kernel_rpm = await system.kernel_package(cache, guest_kernel, disk)

    async def assemble(made: Path) -> None:
        kinds = {"kernel": guest_kernel.vmlinuz, "initrd": installer, "mainimage": stage2}
        for kind, source in kinds.items():
            _place(source, made / treeinfo.IMAGES[kind])
        for package in packages:
            for rpm in package.glob("*.rpm"):
                _place(rpm, made / "Packages" / rpm.name)
        groups = made / "comps.xml"
        groups.write_text(system.GROUPS)
        await rpms.build_repository(made, groups)
        text = treeinfo.treeinfo(
            made, name=system.NAME, version=system.VERSION, timestamp=int(time.time())
        )
        (made / ".treeinfo").write_text(text)

    packages = (base, kernel_rpm, puppet, client)
    parts = (str(path) for path in (guest_kernel.vmlinuz, installer, stage2, *packages))
    made_from = key(Path(__file__), Path(treeinfo.__file__), system.GROUPS, *parts)
    tree = await cache.product("tree", made_from, assemble)
    return Images(tree, guest_kernel.vmlinuz, discovery, loaders_task.result())


def _check_tools() -> None:
    missing = sorted({package for tool, package in _TOOLS.items() if not shutil.which(tool)})
    if missing:
        raise RuntimeError(
            f"images cannot be built here: `apt-get install {' '.join(missing)}` brings the tools"
        )


def _place(source: Path, target: Path) -> None:
    """Have a product in a second place of the cache without having it twice."""
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)
