"""What only IPMI does: boot flags, and a program that must not show the password."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from integrations.errors import Busy, OutsideError, Refused, Unavailable, Unsupported, Unverified
from integrations.power import BootDevice
from integrations.power.ipmi import IpmiPower
from integrations.power.settings import IpmiSettings
from tests.integrations.power.bmcs import SECRET, Rig, ipmi_rig

FLAGS = "Boot parameter data: {}\n Boot Flags :\n"


def settings(**other: object) -> IpmiSettings:
    given = {"host": "192.0.2.9", "user": "admin", "password": SECRET}
    return IpmiSettings.model_validate(given | other)


@pytest.fixture
def ipmitool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in ipmitool's place, to be given words and an exit status."""
    program = tmp_path / "ipmitool"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return program


def does(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def says(program: Path, words: str, status: int = 0) -> None:
    said = program.with_suffix(".said")
    said.write_text(words)
    does(program, f"cat {said}; exit {status}")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("> RAKP 2 HMAC is invalid\nError: Unable to establish IPMI v2 / RMCP+ session", Refused),
        ("RAKP 2 message indicates an error : unauthorized name", Refused),
        ("Set Session Privilege Level to ADMINISTRATOR failed: insufficient privilege", Refused),
        ("Error in open session response message : invalid authentication algorithm", Refused),
        ("Set Chassis Boot Parameter 5 failed: Invalid command", Unsupported),
        ("Set Chassis Power Control to Up/On failed: Node busy", Busy),
        ("Set .. failed: Command not supported in present state", Busy),
        ("Error: Unable to establish IPMI v2 / RMCP+ session", Unavailable),
        ("", Unavailable),
    ],
)
async def test_failures_are_sorted_by_what_ipmitool_says(
    ipmitool: Path, words: str, kind: type[OutsideError]
) -> None:
    says(ipmitool, "Loading IANA PEN Registry...\n" + words, 1)
    with pytest.raises(OutsideError) as caught:
        await IpmiPower(settings()).state()
    assert type(caught.value) is kind
    assert "192.0.2.9:623" in str(caught.value)
    assert "IANA" not in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "seen"),
    [
        ("0004000000", "pxe (not valid)"),
        ("c004000000", "pxe (for good)"),
        ("8008000000", "disk (once)"),
        ("8000000000", "no override (once)"),
        ("802c000000", "device 11 (once)"),
    ],
)
async def test_other_flags_than_asked_for_are_unverified(
    ipmitool: Path, flags: str, seen: str
) -> None:
    says(ipmitool, FLAGS.format(flags))
    with pytest.raises(Unverified) as caught:
        await IpmiPower(settings()).boot_once(BootDevice.PXE)
    assert f"shows {seen} instead of pxe (once)" in str(caught.value)


@pytest.mark.parametrize("flags", ["8004000000", "a004000000"])
async def test_flags_as_asked_for_are_verified(ipmitool: Path, flags: str) -> None:
    says(ipmitool, FLAGS.format(flags))
    await IpmiPower(settings()).boot_once(BootDevice.PXE)


async def test_nonsense_is_no_answer(ipmitool: Path) -> None:
    says(ipmitool, "Chassis Power is maybe")
    with pytest.raises(Unavailable, match="no power state"):
        await IpmiPower(settings()).state()
    with pytest.raises(Unverified, match="no boot flags"):
        await IpmiPower(settings()).boot_once(BootDevice.PXE)


async def test_a_missing_ipmitool_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="apt install ipmitool"):
        await IpmiPower(settings()).state()


async def test_a_program_that_hangs_is_ended(ipmitool: Path, tmp_path: Path) -> None:
    does(ipmitool, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    with pytest.raises(Unavailable, match=r"within 0\.5 s"):
        await IpmiPower(settings(request_deadline=0.5)).state()
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with ipmi_rig(tmp_path) as rig:
        yield rig


@pytest.mark.servers
async def test_the_password_is_on_no_command_line(rig: Rig) -> None:
    given = rig.settings()
    assert isinstance(given, IpmiSettings)
    call = asyncio.create_task(IpmiPower(given).reboot())
    lines: set[str] = set()
    while not call.done():
        for process in psutil.Process().children(recursive=True):
            try:
                lines.add(" ".join(process.cmdline()))
            except psutil.Error:
                continue  # it ended between the two looks
        await asyncio.sleep(0)
    await call
    assert any("lanplus" in line for line in lines)
    assert not any(SECRET in line for line in lines)


@pytest.mark.servers
async def test_the_simulators_missing_flag_is_noticed(rig: Rig) -> None:
    given = rig.settings(reports_valid_flag=True)
    assert isinstance(given, IpmiSettings)
    with pytest.raises(Unverified, match="not valid"):
        await IpmiPower(given).boot_once(BootDevice.PXE)
