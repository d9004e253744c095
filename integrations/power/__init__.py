"""Ways to switch a machine and to choose what it boots next: one port, one module a protocol."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

__all__ = ["BootDevice", "Power", "PowerState"]


class PowerState(StrEnum):
    """Whether the machine has power; UNKNOWN where the protocol cannot tell."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


class BootDevice(StrEnum):
    """What a machine boots next."""

    PXE = "pxe"
    DISK = "disk"


class Power(Protocol):
    """What Rackrise needs to switch a machine.

    All methods raise from ``integrations.errors``. A method that a protocol cannot do raises
    Unsupported with a sentence that says what can be used instead.
    """

    async def state(self) -> PowerState:
        """Read the power state from the device that switches it."""
        ...

    async def on(self) -> None:
        """Switch on and read the state back; already on is success."""
        ...

    async def off(self) -> None:
        """Switch off hard and read the state back; already off is success."""
        ...

    async def reboot(self) -> None:
        """Restart now; switches on a machine that is off where the protocol can."""
        ...

    async def boot_once(self, device: BootDevice) -> None:
        """Override the next boot only and read it back; Unverified if it did not hold."""
        ...

    async def close(self) -> None:
        """Give back sessions and connections."""
        ...
