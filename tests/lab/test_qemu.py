"""A virtual machine's command line, switch and console, without QEMU."""

from __future__ import annotations

import json
import socket
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from lab import qemu
from lab.machine import Commands, Switched
from lab.qemu import Accelerator, Loader, Machine


def a_machine(directory: Path, **more: object) -> Machine:
    return Machine("node1", "52:54:00:12:34:01", "tap1", "lab", directory, **more)  # type: ignore[arg-type]


def option(command: list[str], name: str) -> list[str]:
    return [value for flag, value in pairwise(command) if flag == name]


def test_the_network_comes_first_and_then_the_disk(tmp_path: Path) -> None:
    devices = option(a_machine(tmp_path).command(), "-device")
    assert devices == [
        "virtio-net-pci,netdev=net,mac=52:54:00:12:34:01,bootindex=1",
        "virtio-blk-pci,drive=disk,bootindex=2",
    ]


def test_a_bmc_may_turn_the_order_round(tmp_path: Path) -> None:
    devices = option(a_machine(tmp_path).command("disk"), "-device")
    assert "bootindex=9" in devices[0]
    assert devices[1].endswith("bootindex=1")


def test_what_comes_first_unless_a_bmc_says_otherwise_is_a_setting(tmp_path: Path) -> None:
    for first in ("pxe", "disk"):
        machine = a_machine(tmp_path / first, first=first)
        machine.prepare()
        assert machine.switch.commands.default == first


def test_it_runs_in_the_namespace_and_emulates_unless_told_otherwise(tmp_path: Path) -> None:
    command = a_machine(tmp_path).command()
    assert command[:5] == ["ip", "netns", "exec", "lab", "qemu-system-x86_64"]
    assert option(command, "-accel") == ["tcg,tb-size=256"]
    assert option(a_machine(tmp_path, accelerator=Accelerator.KVM).command(), "-accel") == ["kvm"]


def test_uefi_has_variables_of_its_own_and_no_ipxe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "OVMF_VARS_4M.fd").write_text("factory settings")
    monkeypatch.setattr(qemu, "_OVMF", tmp_path)
    machine = a_machine(tmp_path, loader=Loader.GRUB2_UEFI)
    machine.prepare()
    command = machine.command()
    assert option(command, "-machine") == ["q35"]
    assert any(str(tmp_path / "uefi-variables.fd") in drive for drive in option(command, "-drive"))
    assert (tmp_path / "uefi-variables.fd").read_text() == "factory settings"
    assert any(device.endswith(",romfile=") for device in option(command, "-device"))


def test_a_disk_is_blank_at_first_and_kept_from_then_on(tmp_path: Path) -> None:
    machine = a_machine(tmp_path / "vm", disk_size=1 << 20)
    machine.prepare()
    assert machine.disk.read_bytes() == bytes(1 << 20)
    machine.disk.write_bytes(b"system")
    machine.prepare()
    assert machine.disk.read_bytes() == b"system"


def test_each_machine_has_an_identity_that_stays(tmp_path: Path) -> None:
    machine = a_machine(tmp_path)
    other = Machine("node2", "52:54:00:12:34:02", "tap2", "lab", tmp_path)
    assert machine.uuid == a_machine(tmp_path).uuid != other.uuid
    assert option(machine.command(), "-smbios") == ["type=1,serial=node1"]


def test_power_is_seen_by_whoever_knows_the_directory(tmp_path: Path) -> None:
    machine = a_machine(tmp_path)
    machine.prepare()
    assert not machine.is_on()
    assert machine.cpu_seconds() is None
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    bmc = Switched.create(tmp_path, Commands("node1", machine.uuid, sleep, sleep, default="pxe"))
    bmc.start()
    try:
        assert machine.is_on()
        assert machine.cpu_seconds() is not None
    finally:
        machine.power_off()
    assert bmc.pid() is None


async def test_waiting_for_the_console_says_what_was_written_last(tmp_path: Path) -> None:
    machine = a_machine(tmp_path)
    machine.serial.write_text("\x1b[2Jlab: [1.0] started\n")
    assert "started" in await machine.wait_for_console("started", deadline=1)
    with pytest.raises(TimeoutError, match=r"'done' within 0.1 s.*\n.*lab: \[1.0\] started"):
        await machine.wait_for_console("done", deadline=0.1)


@pytest.mark.parametrize(
    ("accelerator", "console", "hinted"),
    [
        (Accelerator.KVM, "iPXE 1.0.0\nboot\n", True),
        (Accelerator.KVM, "iPXE 1.0.0\nlab: [1.7] started\n", False),
        (Accelerator.TCG, "iPXE 1.0.0\nboot\n", False),
    ],
)
def test_a_kernel_that_never_speaks_under_kvm_is_explained(
    tmp_path: Path, accelerator: Accelerator, console: str, *, hinted: bool
) -> None:
    machine = a_machine(tmp_path, accelerator=accelerator)
    machine.serial.write_text(console)
    assert ("try accel=tcg" in machine.tail()) is hinted


def test_qmp_is_greeted_and_its_events_are_passed_over(tmp_path: Path) -> None:
    machine = a_machine(tmp_path)
    told: list[str] = []

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rw") as lines:
            lines.write('{"QMP": {}}\n{"event": "RESET"}\n')
            lines.flush()
            for line in lines:
                told.append(json.loads(line)["execute"])
                said = {"error": {"desc": "no"}} if told[-1] == "bogus" else {"return": {}}
                lines.write(json.dumps(said) + "\n")
                lines.flush()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(machine.qmp))
        listener.listen()
        for _ in range(2):
            threading.Thread(target=answer, args=(listener,), daemon=True).start()
        machine.tell("system_reset")
        assert told == ["qmp_capabilities", "system_reset"]
        with pytest.raises(RuntimeError, match="node1: bogus: no"):
            machine.tell("bogus")
