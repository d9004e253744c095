"""A virtual machine with a blank disk that boots the network first: power, console and cost.

All of it lies in its directory, so that the process that switches it (a BMC, say) need not be
the process that watches it.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

import psutil

from lab.machine import Commands, Switched

__all__ = ["Accelerator", "Loader", "Machine"]

_OVMF = Path("/usr/share/OVMF")
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_GUEST_LINES = ("Linux version", "lab: [")


class Accelerator(StrEnum):
    """How the processor is emulated.

    A setting and never detected: on some hosts KVM opens, and then hangs every stock kernel.
    """

    TCG = "tcg"
    KVM = "kvm"


class Loader(StrEnum):
    """The boot chain that a machine asks for; the DHCP server must send it that way."""

    IPXE = "ipxe"
    PXELINUX = "pxelinux"
    GRUB2_UEFI = "grub2-uefi"


@dataclass(frozen=True)
class Machine:
    """One virtual machine of the lab.

    Args:
        name: unique within the site; also its serial number.
        mac: of its only interface, lower case with colons.
        tap: the tap device on the bridge that it is plugged into.
        namespace: the network namespace that holds the tap.
        directory: absolute; holds the disk, the console's log, the sockets and the process id.
        loader: firmware and boot chain.
        memory: MB; 512 is what an installation needs.
        disk_size: bytes; the file is sparse.
        accelerator: see there.
        first: what it boots first unless a BMC overrides it, ``pxe`` or ``disk``.
    """

    name: str
    mac: str
    tap: str
    namespace: str
    directory: Path
    loader: Loader = Loader.IPXE
    memory: int = 512
    disk_size: int = 2 << 30
    accelerator: Accelerator = Accelerator.TCG
    first: str = "pxe"

    @property
    def uuid(self) -> str:
        """Its identity for firmware and BMC; the same at each start."""
        return str(uuid5(NAMESPACE_OID, self.mac))

    @property
    def disk(self) -> Path:
        """The raw disk, blank until something is installed on it."""
        return self.directory / "disk.raw"

    @property
    def serial(self) -> Path:
        """What the machine wrote to its console, over all its boots."""
        return self.directory / "serial.log"

    @property
    def monitor(self) -> Path:
        """Socket of QEMU's monitor for people."""
        return self.directory / "monitor.sock"

    @property
    def qmp(self) -> Path:
        """Socket of QEMU's monitor for programs."""
        return self.directory / "qmp.sock"

    @property
    def switch(self) -> Switched:
        """Its power switch, which a BMC in another process may hold as well."""
        return Switched(self.directory)

    def command(self, first: str = "pxe") -> list[str]:
        """QEMU's command line, namespace included; its process id is QEMU's own.

        Args:
            first: what is booted first, ``pxe`` or ``disk``. Between these two a machine is
                killed and started again: QEMU's order is fixed at start.
        """
        net, disk = (1, 2) if first == "pxe" else (9, 1)
        return [
            "ip", "netns", "exec", self.namespace, "qemu-system-x86_64",
            "-name", self.name,
            *self._accelerator(),
            "-m", str(self.memory), "-smp", "1", "-display", "none", "-no-user-config",
            "-uuid", self.uuid,
            "-smbios", f"type=1,serial={self.name}",
            "-chardev", f"file,id=console,path={self.serial},append=on",
            "-serial", "chardev:console",
            "-monitor", f"unix:{self.monitor},server,nowait",
            "-qmp", f"unix:{self.qmp},server,nowait",
            *self._firmware(),
            "-netdev", f"tap,id=net,ifname={self.tap},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev=net,mac={self.mac},bootindex={net}{self._rom()}",
            "-drive", f"file={self.disk},if=none,id=disk,format=raw,cache=unsafe",
            "-device", f"virtio-blk-pci,drive=disk,bootindex={disk}",
            "-boot", "menu=off,strict=on",
        ]  # fmt: skip

    def _accelerator(self) -> Iterable[str]:
        # Without a limit the translated code alone grows to 1 GB.
        limit = ",tb-size=256" if self.accelerator is Accelerator.TCG else ""
        return ("-accel", f"{self.accelerator}{limit}")

    def _firmware(self) -> Iterable[str]:
        if self.loader is not Loader.GRUB2_UEFI:
            # Without graphics the BIOS and its loaders write to the serial console.
            return ("-machine", "pc,graphics=off")
        code, variables = _OVMF / "OVMF_CODE_4M.fd", self.directory / "uefi-variables.fd"
        return (
            "-machine", "q35",
            "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}",
            "-drive", f"if=pflash,unit=1,format=raw,file={variables}",
            "-object", "rng-random,id=random,filename=/dev/urandom",
            "-device", "virtio-rng-pci,rng=random",
        )  # fmt: skip

    def _rom(self) -> str:
        # Without QEMU's iPXE ROM the firmware's own PXE speaks.
        return ",romfile=" if self.loader is Loader.GRUB2_UEFI else ""

    def prepare(self) -> None:
        """Make its directory with its switch, and a blank disk where there is none.

        With the network first the server decides at each boot whether it ends on the disk.
        """
        commands = Commands(
            self.name, self.uuid, self.command("pxe"), self.command("disk"), default=self.first
        )
        Switched.create(self.directory, commands)
        if not self.disk.exists():
            with self.disk.open("wb") as disk:
                disk.truncate(self.disk_size)
        variables = self.directory / "uefi-variables.fd"
        if self.loader is Loader.GRUB2_UEFI and not variables.exists():
            shutil.copy(_OVMF / "OVMF_VARS_4M.fd", variables)

    def power_on(self) -> None:
        """Switch on (after ``prepare``); already on is success."""
        self.switch.start()

    def power_off(self) -> None:
        """Cut the power, as pulling the plug would; already off is success."""
        self.switch.kill()

    def is_on(self) -> bool:
        """Whether it has power, whoever switched it on."""
        return self.switch.pid() is not None

    def tell(self, command: str) -> None:
        """Send one QMP command without arguments: ``system_reset`` is the reset button.

        Raises:
            OSError: the machine has no power.
            RuntimeError: QEMU refused the command.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.qmp))
            with connection.makefile("rw") as qmp:
                qmp.readline()
                for name in ("qmp_capabilities", command):
                    qmp.write(json.dumps({"execute": name}) + "\n")
                    qmp.flush()
                    # Events may come before the answer.
                    while not {"return", "error"} & (answer := json.loads(qmp.readline())).keys():
                        pass
                    if "error" in answer:
                        raise RuntimeError(f"{self.name}: {name}: {answer['error']['desc']}")

    def cpu_seconds(self) -> float | None:
        """Processor time that this power-on has cost so far; None without power."""
        pid = self.switch.pid()
        if pid is None:
            return None
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)

    def console(self) -> str:
        """What it wrote to its console, without terminal codes."""
        if not self.serial.exists():
            return ""
        return _TERMINAL_CODES.sub("", self.serial.read_text(errors="replace"))

    def tail(self, lines: int = 20) -> str:
        """The last lines of its console, for messages, with the likely cause where one is known."""
        console = self.console()
        last = "\n".join(console.splitlines()[-lines:])
        said = self.directory / "console.log"
        if said.exists() and (words := said.read_text(errors="replace").strip()):
            last += f"\nQEMU itself said: {words[-1000:]}"
        if (
            self.accelerator is Accelerator.KVM
            and "iPXE" in console
            and not any(line in console for line in _GUEST_LINES)
        ):
            last += "\nThe ROM speaks and the kernel does not: try accel=tcg."
        return last

    async def wait_for_console(self, text: str, *, deadline: float, after: int = 0) -> str:
        """Wait until a text is on the console.

        Args:
            text: what to wait for.
            deadline: seconds.
            after: how many characters of the console to pass over, from ``len(console())``.

        Raises:
            TimeoutError: it did not come; the message holds the console's last lines.
        """
        end = time.monotonic() + deadline
        while text not in (console := self.console()[after:]):
            if time.monotonic() > end:
                raise TimeoutError(
                    f"{self.name} did not write {text!r} within {deadline:g} s; "
                    f"its console ends with:\n{self.tail()}"
                )
            await asyncio.sleep(0.2)
        return console

    async def wait_for_power_off(self, *, deadline: float) -> None:
        """Wait until it has switched itself off.

        Raises:
            TimeoutError: it did not; the message holds the console's last lines.
        """
        end = time.monotonic() + deadline
        while self.is_on():
            if time.monotonic() > end:
                raise TimeoutError(
                    f"{self.name} is still on after {deadline:g} s; "
                    f"its console ends with:\n{self.tail()}"
                )
            await asyncio.sleep(0.2)
