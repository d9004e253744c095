"""A machine that a BMC of the lab switches: a command line that is started and killed.

Everything lies in one directory, so that a Redfish emulator (one long process) and the program
that ``ipmi_sim`` calls (many short ones) can switch the same machine. Imported by the latter for
every command: only what starts quickly belongs here.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

__all__ = ["Commands", "Override", "Switched"]

_GRACE = 10.0


@dataclass(frozen=True)
class Commands:
    """What runs when the machine is on: QEMU, or anything else that runs in the foreground.

    Attributes:
        name: what the BMC calls it.
        uuid: its identity on Redfish.
        network_first: command line that boots from the network.
        disk_first: command line that boots from the disk.
        default: which of them without an override: ``pxe`` or ``disk``.
        drops_override: a BMC that answers yes and forgets, as some do.
    """

    name: str
    uuid: str
    network_first: Sequence[str]
    disk_first: Sequence[str]
    default: str = "disk"
    drops_override: bool = False


@dataclass(frozen=True)
class Override:
    """What the next boot is told to use (``pxe`` or ``disk``), and whether only the next."""

    device: str
    once: bool


class Switched:
    """One machine, its process and its override, as kept in a directory.

    Args:
        directory: holds ``commands.json`` (see ``create``), the process id, the override, and
            ``console.log`` with what the command printed.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.commands = Commands(**json.loads((directory / "commands.json").read_text()))

    @classmethod
    def create(cls, directory: Path, commands: Commands) -> Switched:
        """Put a machine, switched off, into a directory."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "commands.json").write_text(json.dumps(asdict(commands)))
        return cls(directory)

    def pid(self) -> int | None:
        """The id of the process that runs, or None while the machine is off."""
        process = self._process()
        return process.pid if process else None

    def start(self) -> None:
        """Switch on; already on is fine. Uses up an override for the next boot only."""
        if self._process():
            return
        override = self.override()
        device = override.device if override else self.commands.default
        command = self.commands.network_first if device == "pxe" else self.commands.disk_first
        with (self.directory / "console.log").open("ab") as log:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        # With its time of birth: a process id alone may be somebody else's by tomorrow.
        born = psutil.Process(process.pid).create_time()
        (self.directory / "process.json").write_text(json.dumps([process.pid, born]))
        if override and override.once:
            self.clear_override()

    def kill(self) -> None:
        """Cut the power; returns when the process is gone."""
        process = self._process()
        if process:
            process.kill()
            _gone(process)

    def shut_down(self) -> None:
        """Ask the process to end, and cut the power if it does not."""
        process = self._process()
        if process:
            process.terminate()
            try:
                _gone(process)
            except TimeoutError:
                self.kill()

    def restart(self) -> None:
        """Kill and start again."""
        self.kill()
        self.start()

    def override(self) -> Override | None:
        """What the next boot is told to use, if anything."""
        file = self.directory / "override.json"
        return Override(**json.loads(file.read_text())) if file.exists() else None

    def set_override(self, override: Override) -> None:
        """Tell the next boot what to use."""
        if not self.commands.drops_override:
            (self.directory / "override.json").write_text(json.dumps(asdict(override)))

    def clear_override(self) -> None:
        """Boot as usual."""
        (self.directory / "override.json").unlink(missing_ok=True)

    def _process(self) -> psutil.Process | None:
        try:
            pid, born = json.loads((self.directory / "process.json").read_text())
            process = psutil.Process(pid)
            same = process.create_time() == born
        except (FileNotFoundError, psutil.NoSuchProcess):
            return None
        return process if same and _runs(process) else None


def _runs(process: psutil.Process) -> bool:
    # A zombie is a machine that is off: its parent may be an init that is slow to reap.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _gone(process: psutil.Process) -> None:
    end = time.monotonic() + _GRACE
    while _runs(process):
        if time.monotonic() > end:
            raise TimeoutError(f"process {process.pid} did not end within {_GRACE:g} s")
        time.sleep(0.01)
