"""Real ways into the lab's machines: a Redfish BMC, an IPMI BMC and an SSH server."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from lab.machine import Commands, Switched
from lab.namespace import Namespace, run
from lab.process import Running, running, until
from lab.redfish_config import BmcConfig

__all__ = ["Commands", "IpmiBmc", "RedfishBmc", "SshServer", "Switched", "ipmi", "redfish", "sshd"]

_REPOSITORY = Path(__file__).resolve().parents[2]


_SSHD_RUN = Path("/run/sshd")
_PATH = {"PYTHONPATH": str(_REPOSITORY)}

_LAN = """\
name "lab"
set_working_mc 0x20
  startlan 1
    addr {address} {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  chassis_control "{chassis}"
  user 2 true "{user}" "{password}" admin 10 none md2 md5 straight
"""

_EMU = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""


@dataclass(frozen=True)
class RedfishBmc:
    """A Redfish BMC that runs.

    Attributes:
        url: where it answers.
        user: its account.
        password: of that account.
        machines: what it switches, by name.
        server: its process.
    """

    url: str
    user: str
    password: str
    machines: dict[str, Switched]
    server: Running


@dataclass(frozen=True)
class IpmiBmc:
    """An IPMI BMC that runs; fields as in ``RedfishBmc``."""

    host: str
    port: int
    user: str
    password: str
    machine: Switched
    server: Running


@dataclass(frozen=True)
class SshServer:
    """An SSH server that runs.

    Attributes:
        host: where it listens.
        port: where it listens.
        host_key: its public key, as ``SshSettings.host_key`` wants it.
        private_key: a user key that it accepts for root.
        server: its process.
    """

    host: str
    port: int
    host_key: str
    private_key: str
    server: Running


@asynccontextmanager
async def redfish(
    directory: Path,
    machines: Sequence[Commands],
    *,
    inside: Namespace | None = None,
    address: str | None = None,
    port: int = 0,
    user: str = "admin",
    password: str = "lab-bmc",
    login_slots: int = 4,
) -> AsyncIterator[RedfishBmc]:
    """Run one BMC for any number of machines; they end with it.

    Args:
        directory: takes everything that it keeps; each machine's in a directory of its name.
        machines: what it switches; their processes run where the BMC runs.
        inside: namespace to run in.
        address: where to listen; the namespace's own, or the loopback without one.
        port: where to listen; 0 takes a free one.
        user: its account.
        password: of that account.
        login_slots: how many sessions it lets be open at once.
    """
    address = address or _own_address(inside)
    switched = {m.name: Switched.create(directory / m.name, m) for m in machines}
    digest = bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=4)).decode()
    htpasswd, port_file = directory / "htpasswd", directory / "port"
    htpasswd.write_text(f"{user}:{digest}\n")
    port_file.unlink(missing_ok=True)
    config = BmcConfig(
        address=address,
        port=port,
        port_file=str(port_file),
        htpasswd=str(htpasswd),
        state=str(directory),
        machines=[str(machine.directory) for machine in switched.values()],
        login_slots=login_slots,
    )
    command = _python("lab.redfish_driver", str(config.write(directory / "bmc.json")))

    async def answers() -> bool:
        return port_file.exists() and port_file.read_text() != ""

    async with running(
        "Redfish BMC",
        inside.command(*command) if inside else command,
        log=directory / "bmc.log",
        ready=answers,
        # The emulator's imports alone take up to 12 s on a busy machine.
        deadline=60,
        env=_PATH,
    ) as server:
        try:
            url = f"http://{address}:{port_file.read_text()}"
            yield RedfishBmc(url, user, password, switched, server)
        finally:
            await server.stop(grace=15)
            # If it was killed itself, it could not switch them off.
            await asyncio.to_thread(_cut, switched.values())


@asynccontextmanager
async def ipmi(
    directory: Path,
    machine: Commands,
    *,
    port: int,
    inside: Namespace | None = None,
    address: str | None = None,
    user: str = "admin",
    password: str = "lab-bmc",
) -> AsyncIterator[IpmiBmc]:
    """Run OpenIPMI's ipmi_sim for one machine, which ends with it.

    A ``chassis_control`` program switches the machine: without one the simulator refuses every
    boot override.

    Args:
        directory: takes everything that it keeps; its path must not contain a quote or space.
        machine: what it switches; its process runs where the BMC runs.
        port: UDP port to listen on; it can not choose a free one itself.
        inside: namespace to run in.
        address: where to listen; the namespace's own, or the loopback without one.
        user: its account.
        password: of that account, of at most 16 bytes.
    """
    address = address or _own_address(inside)
    switched = Switched.create(directory / machine.name, machine)
    chassis = directory / "chassis"
    command = shlex.join(_python("lab.chassis", str(switched.directory)))
    chassis.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    chassis.chmod(0o755)
    (directory / "lan.conf").write_text(
        _LAN.format(address=address, port=port, user=user, password=password, chassis=chassis)
    )
    # Holds the password, as the BMC's own memory does.
    (directory / "lan.conf").chmod(0o600)
    (directory / "sim.emu").write_text(_EMU)
    (directory / "state").mkdir(exist_ok=True)
    simulator = [
        *("ipmi_sim", "-c", str(directory / "lan.conf"), "-f", str(directory / "sim.emu")),
        *("-s", str(directory / "state"), "-n"),
    ]
    async with running(
        "IPMI BMC",
        inside.command(*simulator) if inside else simulator,
        log=directory / "bmc.log",
        env=_PATH,
    ) as server:

        async def listens() -> bool:
            return _has_bound(server.pid, port)

        try:
            await until(listens, what="ipmi_sim listens", deadline=10)
            yield IpmiBmc(address, port, user, password, switched, server)
        finally:
            await server.stop()
            await asyncio.to_thread(_cut, [switched])


@asynccontextmanager
async def sshd(
    directory: Path,
    *,
    port: int,
    inside: Namespace | None = None,
    address: str | None = None,
) -> AsyncIterator[SshServer]:
    """Run OpenSSH's server, which lets root in by a key that is made for it.

    Args:
        directory: takes keys and log.
        port: TCP port to listen on.
        inside: namespace to run in.
        address: where to listen; the namespace's own, or the loopback without one.
    """
    address = address or _own_address(inside)
    for name in ("host", "user"):
        key = directory / name
        await run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(key))
    # sshd insists on this directory of the system; it stays empty.
    await asyncio.to_thread(_SSHD_RUN.mkdir, mode=0o755, exist_ok=True)
    program = shutil.which("sshd", path="/usr/sbin:/sbin") or "/usr/sbin/sshd"
    options = {
        "ListenAddress": address,
        "AuthorizedKeysFile": str(directory / "user.pub"),
        "PidFile": "none",
        # For a temporary directory, which others may own, and for a root with a locked password.
        "StrictModes": "no",
        "UsePAM": "no",
    }
    command = [program, "-D", "-e", "-f", "/dev/null", "-p", str(port)]
    command += ["-h", str(directory / "host")]
    for name, value in options.items():
        command += ["-o", f"{name}={value}"]
    log = directory / "sshd.log"

    async def answers() -> bool:
        return "Server listening on" in log.read_text(errors="replace")

    async with running(
        "sshd", inside.command(*command) if inside else command, log=log, ready=answers
    ) as server:
        host_key = " ".join((directory / "host.pub").read_text().split()[:2])
        yield SshServer(address, port, host_key, (directory / "user").read_text(), server)


def _own_address(inside: Namespace | None) -> str:
    return inside.address if inside else "127.0.0.1"


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _has_bound(pid: int, port: int) -> bool:
    # As seen in the process' own namespace; ipmi_sim says nothing itself when it is ready.
    return f":{port:04X} " in Path(f"/proc/{pid}/net/udp").read_text()


def _cut(machines: Iterable[Switched]) -> None:
    for machine in machines:
        machine.kill()
