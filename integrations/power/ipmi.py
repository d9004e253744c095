"""Switch a machine through its IPMI 2.0 BMC, by way of ipmitool.

ipmitool rather than a Python library: it is what operators check a BMC with by hand, knows the
quirks of the vendors, and its one-shot runs leave no session behind.
"""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass

from integrations.errors import (
    Busy,
    OutsideError,
    Refused,
    Unavailable,
    Unsupported,
    Unverified,
)
from integrations.power import BootDevice, PowerState
from integrations.power.settings import IpmiSettings
from integrations.power.settling import settled

__all__ = ["IpmiPower"]

_SYSTEM = "IPMI"

# What ipmitool 1.8.19 prints with -v, sorted into the tree; the first that occurs decides, and
# whatever is not here counts as Unavailable: UDP knows no other answer than silence.
_SAID: tuple[tuple[str, type[OutsideError]], ...] = (
    ("RAKP 2 HMAC is invalid", Refused),
    ("unauthorized name", Refused),
    ("unauthorized role", Refused),
    ("insufficient privilege", Refused),
    ("invalid role", Refused),
    ("invalid authentication algorithm", Refused),
    ("no matching cipher suite", Refused),
    ("Invalid command", Unsupported),
    ("Invalid data field in request", Unsupported),
    ("Parameter not supported", Unsupported),
    ("Node busy", Busy),
    ("Out of space", Busy),
    ("not supported in present state", Busy),
)
_CREDENTIALS = ("RAKP 2", "unauthorized", "privilege")

_STATE = re.compile(r"Chassis Power is (on|off)")
_FLAGS = re.compile(r"Boot parameter data: ([0-9a-fA-F]{4,})")

# Boot flags, IPMI 2.0 table 28-14, parameter 5: bits of data 1, and bits 5:2 of data 2.
_VALID, _PERSISTENT = 0x80, 0x40
_DEVICES = {0: "no override", 1: "pxe", 2: "disk", 5: "cdrom", 6: "bios"}


@dataclass(frozen=True)
class _Override:
    device: str
    duration: str

    def __str__(self) -> str:
        return f"{self.device} ({self.duration})"


class IpmiPower:
    """Power and next boot of one machine behind one BMC."""

    def __init__(self, settings: IpmiSettings) -> None:
        self._settings = settings

    async def state(self) -> PowerState:
        """Read the power state."""
        return await self._state("read the power state")

    async def on(self) -> None:
        """Switch on and wait until the BMC reports on."""
        await self._switch("switch the machine on", PowerState.ON)

    async def off(self) -> None:
        """Cut the power and wait until the BMC reports off."""
        await self._switch("switch the machine off", PowerState.OFF)

    async def reboot(self) -> None:
        """Reset hard, or switch on what is off; returns when the BMC reports on.

        That the machine boots again is seen at what it asks for next, not here: a BMC reports
        on throughout a reset.
        """
        operation = "restart the machine"
        if await self._state(operation) is PowerState.OFF:
            await self.on()
            return
        await self._run(operation, "chassis", "power", "reset")
        await self._settle(operation, PowerState.ON)

    async def boot_once(self, device: BootDevice) -> None:
        """Override the next boot and read the boot flags back.

        Restart the machine right afterwards: a BMC forgets the override when no power command
        follows within 60 seconds (IPMI 2.0, section 28.12, boot flag valid bit clearing).

        Raises:
            Unsupported: the BMC knows no boot flags.
            Unverified: the BMC dropped the override, or took it for good.
        """
        operation = f"boot once from {device}"
        efi = ("options=efiboot",) if self._settings.efi else ()
        await self._run(operation, "chassis", "bootdev", device.value, *efi)
        flags = await self._run(operation, "chassis", "bootparam", "get", "5")
        seen = self._override(flags, operation)
        wanted = _Override(device.value, "once")
        if seen != wanted:
            raise self._error(
                Unverified, operation, f"it said yes, but shows {seen} instead of {wanted}"
            )

    async def close(self) -> None:
        """Nothing to give back: every run of ipmitool ends its own session."""

    async def _switch(self, operation: str, wanted: PowerState) -> None:
        if await self._state(operation) is not wanted:
            await self._run(operation, "chassis", "power", wanted.value)
            await self._settle(operation, wanted)

    async def _settle(self, operation: str, wanted: PowerState) -> None:
        await settled(
            lambda: self._state(operation),
            wanted,
            within=self._settings.settle_within,
            every=self._settings.poll_every,
            system=_SYSTEM,
            address=self._address,
            operation=operation,
        )

    async def _state(self, operation: str) -> PowerState:
        printed = await self._run(operation, "chassis", "power", "status")
        found = _STATE.search(printed)
        if found is None:
            raise self._error(Unavailable, operation, f"no power state in {printed!r}")
        return PowerState(found[1])

    def _override(self, printed: str, operation: str) -> _Override:
        found = _FLAGS.search(printed)
        if found is None:
            raise self._error(Unverified, operation, f"no boot flags in {printed!r}")
        flags = bytes.fromhex(found[1][:4])
        number = flags[1] >> 2 & 0xF
        if self._settings.reports_valid_flag and not flags[0] & _VALID:
            duration = "not valid"
        else:
            duration = "for good" if flags[0] & _PERSISTENT else "once"
        return _Override(_DEVICES.get(number, f"device {number}"), duration)

    async def _run(self, operation: str, *command: str) -> str:
        settings = self._settings
        arguments = (
            *("-v", "-I", "lanplus", "-C", str(settings.cipher_suite), "-N", "1", "-R", "2"),
            *("-H", settings.host, "-p", str(settings.port), "-U", settings.user, "-E"),
        )
        try:
            process = await asyncio.create_subprocess_exec(
                "ipmitool",
                *arguments,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                # By environment: a command line can be read by everybody on this machine.
                env={**os.environ, "IPMI_PASSWORD": settings.password.get_secret_value()},
            )
        except FileNotFoundError as error:
            raise self._error(
                Refused, operation, "ipmitool is not installed here: apt install ipmitool"
            ) from error
        try:
            async with asyncio.timeout(settings.request_deadline):
                out, _ = await process.communicate()
        except TimeoutError as error:
            raise self._error(
                Unavailable, operation, f"no answer within {settings.request_deadline:g} s"
            ) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        printed = out.decode(errors="replace")
        if process.returncode:
            raise self._failed(operation, printed)
        return printed

    def _failed(self, operation: str, printed: str) -> OutsideError:
        lines = [line.strip(" >") for line in printed.splitlines() if line.strip()]
        said = "; ".join(line for line in lines if not line.startswith("Loading IANA"))
        for words, kind in _SAID:
            if words.lower() in said.lower():
                if any(hint in words for hint in _CREDENTIALS):
                    said += "; check user, password and privilege level on the BMC"
                return self._error(kind, operation, said)
        return self._error(Unavailable, operation, said or "ipmitool failed without a word")

    @property
    def _address(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"

    def _error(self, kind: type[OutsideError], operation: str, said: str) -> OutsideError:
        return kind(system=_SYSTEM, address=self._address, operation=operation, said=said)
