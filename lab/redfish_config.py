"""How the lab's Redfish BMC is told what to serve; apart from it, which imports slowly."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["BmcConfig"]


@dataclass(frozen=True)
class BmcConfig:
    """How the emulator is started.

    Attributes:
        address: where to listen.
        port: where to listen; 0 takes a free one.
        port_file: gets the port once it answers.
        htpasswd: accounts, with bcrypt digests.
        state: directory of the emulator's own.
        machines: directories of the machines (``lab.machine.Switched``).
        login_slots: how many sessions may be open at once.
    """

    address: str
    port: int
    port_file: str
    htpasswd: str
    state: str
    machines: list[str]
    login_slots: int = 4

    def write(self, file: Path) -> Path:
        """Write it down for ``python -m lab.redfish_driver``."""
        file.write_text(json.dumps(asdict(self)))
        return file

    @classmethod
    def read(cls, file: Path) -> BmcConfig:
        """Read what ``write`` wrote."""
        return cls(**json.loads(file.read_text()))
