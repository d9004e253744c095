"""The boot configurations as the loaders themselves read them: in QEMU, on its own network."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from integrations.records import Loader
from templates.render import render_boot_config, render_default, render_local_boot
from tests.templates.values import boot, discovery

pytestmark = pytest.mark.machines

MAC = "52-54-00-aa-bb-01"
DISCOVERY, INSTALLER = discovery.kernel, boot.kernel
SECONDS = 100
# Boots when nothing else does: writes DISK to the serial port, and stops.
BOOT_SECTOR = bytes.fromhex("31c0 8ed8 fc be167c ac 84c0 7406 baf803 ee ebf5 f4 ebfd") + b"DISK\0"
PXELINUX = "/usr/lib/PXELINUX/pxelinux.0"
LDLINUX = "/usr/lib/syslinux/modules/bios/ldlinux.c32"
GRUB_MODULES = ["pxe", "tftp", "net", "normal", "configfile", "regexp", "linux", "minicmd"]


@dataclass
class Machine:
    """A machine with a network card that boots and a disk, before what the loader may fetch."""

    place: Path
    url: str
    asked: list[str] = field(default_factory=list)
    """Paths that were asked for over HTTP."""
    arguments: list[str] = field(default_factory=list)
    """Of QEMU, put before its network card."""

    def put(self, path: str, content: str | bytes) -> None:
        file = self.place / "root" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    def fetched(self) -> list[str]:
        """All that was asked for, over HTTP and TFTP."""
        packets = (self.place / "packets").read_bytes()
        over_tftp = re.findall(rb"\x00\x01/?([\w./:-]+)\x00octet\x00", packets)
        return self.asked + [path.decode() for path in over_tftp]

    def boots_disk(self) -> bool:
        return b"DISK" in (self.place / "serial").read_bytes()

    def run(self, bootfile: str, until: Callable[[], bool]) -> None:
        disk = self.place / "disk"
        disk.write_bytes(BOOT_SECTOR.ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
        for name in ("serial", "packets"):
            (self.place / name).write_bytes(b"")
        machine = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg,tb-size=64", "-m", "256", "-display", "none",
             "-serial", f"file:{self.place}/serial", *self.arguments,
             "-netdev", f"user,id=n0,tftp={self.place}/root,bootfile={bootfile}",
             "-device", "virtio-net-pci,netdev=n0,addr=8,bootindex=1,mac=" + MAC.replace("-", ":"),
             "-object", f"filter-dump,id=dump,netdev=n0,file={self.place}/packets",
             "-drive", f"file={disk},if=none,id=d0,format=raw",
             "-device", "virtio-blk-pci,drive=d0,bootindex=2", "-boot", "menu=off,strict=on"],
        )  # fmt: skip
        try:
            end = time.monotonic() + SECONDS
            while not until():
                assert machine.poll() is None
                assert time.monotonic() < end, f"asked for {self.fetched()} and went no further"
                time.sleep(0.2)
        finally:
            machine.kill()
            machine.wait()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    for tool in ("qemu-system-x86_64", "grub-mkimage", PXELINUX, LDLINUX):
        if shutil.which(tool) is None and not Path(tool).exists():
            pytest.skip(f"{tool} is not installed")
    root = tmp_path / "root"
    made = Machine(tmp_path, "")

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(root))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            made.asked.append(self.path.removeprefix("/httpboot/"))
            super().do_GET()

        def log_message(self, *_: object) -> None:
            """Keep the test's output to itself."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    made.url = f"http://10.0.2.2:{server.server_port}"
    for path in (DISCOVERY, discovery.initrd, INSTALLER, boot.initrd):
        made.put(path, b"no kernel")
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def ipxe(machine: Machine) -> Machine:
    """Boots iPXE's ROM over HTTP from its second card: the first one must not be asked for."""
    machine.arguments = ["-netdev", "user,id=n1",
                         "-device", "virtio-net-pci,netdev=n1,addr=4,romfile="]  # fmt: skip
    values = discovery.model_copy(update={"proxy_url": machine.url})
    machine.put("httpboot/pxelinux.cfg/default.ipxe", render_default(Loader.IPXE, values))
    return machine


@pytest.fixture
def grub(machine: Machine) -> Machine:
    """Boots GRUB over TFTP, which reads one fixed file."""
    image = machine.place / "root/core.0"
    subprocess.run(
        ["grub-mkimage", "-O", "i386-pc-pxe", "-o", image, "-p", "(pxe)/grub2", *GRUB_MODULES],
        check=True,
    )
    machine.put("grub2/grub.cfg", render_default(Loader.GRUB2, discovery))
    return machine


@pytest.fixture
def pxelinux(machine: Machine) -> Machine:
    """Boots PXELinux over TFTP."""
    machine.put("pxelinux.0", Path(PXELINUX).read_bytes())
    machine.put("ldlinux.c32", Path(LDLINUX).read_bytes())
    machine.put("pxelinux.cfg/default", render_default(Loader.PXELINUX, discovery))
    return machine


def ipxe_script(machine: Machine) -> str:
    return f"{machine.url}/httpboot/pxelinux.cfg/default.ipxe"


def test_ipxe_starts_discovery_where_the_machine_has_no_file(ipxe: Machine) -> None:
    ipxe.run(ipxe_script(ipxe), lambda: DISCOVERY in ipxe.fetched())
    assert f"pxelinux.cfg/01-{MAC}.ipxe" in ipxe.fetched()


def test_ipxe_sends_an_installed_machine_to_its_disk(ipxe: Machine) -> None:
    ipxe.put(f"httpboot/pxelinux.cfg/01-{MAC}.ipxe", render_local_boot(Loader.IPXE))
    ipxe.run(ipxe_script(ipxe), ipxe.boots_disk)
    assert DISCOVERY not in ipxe.fetched()


def test_ipxe_starts_the_installer(ipxe: Machine) -> None:
    values = boot.model_copy(update={"proxy_url": ipxe.url})
    ipxe.put(f"httpboot/pxelinux.cfg/01-{MAC}.ipxe", render_boot_config(Loader.IPXE, values))
    ipxe.run(ipxe_script(ipxe), lambda: INSTALLER in ipxe.fetched())


def test_grub_starts_discovery_where_the_machine_has_no_file(grub: Machine) -> None:
    grub.run("core.0", lambda: DISCOVERY in grub.fetched())
    assert f"grub2/grub.cfg-01-{MAC}" in grub.fetched()


def test_grub_sends_an_installed_machine_to_its_disk(grub: Machine) -> None:
    grub.put(f"grub2/grub.cfg-01-{MAC}", render_local_boot(Loader.GRUB2))
    grub.run("core.0", grub.boots_disk)
    assert DISCOVERY not in grub.fetched()


def test_grub_starts_the_installer(grub: Machine) -> None:
    grub.put(f"grub2/grub.cfg-01-{MAC}", render_boot_config(Loader.GRUB2, boot))
    grub.run("core.0", lambda: INSTALLER in grub.fetched())


def test_pxelinux_starts_discovery_where_the_machine_has_no_file(pxelinux: Machine) -> None:
    pxelinux.run("pxelinux.0", lambda: DISCOVERY in pxelinux.fetched())


def test_pxelinux_sends_an_installed_machine_to_its_disk(pxelinux: Machine) -> None:
    pxelinux.put(f"pxelinux.cfg/01-{MAC}", render_local_boot(Loader.PXELINUX))
    pxelinux.run("pxelinux.0", pxelinux.boots_disk)
    assert DISCOVERY not in pxelinux.fetched()


def test_pxelinux_starts_the_installer(pxelinux: Machine) -> None:
    pxelinux.put(f"pxelinux.cfg/01-{MAC}", render_boot_config(Loader.PXELINUX, boot))
    pxelinux.run("pxelinux.0", lambda: INSTALLER in pxelinux.fetched())
