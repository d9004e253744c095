"""BMCs of the lab over processes that sleep, as the tests of both protocols want them."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psutil

from integrations.power.settings import IpmiSettings, RedfishSettings
from lab.servers.bmc import Commands, IpmiBmc, RedfishBmc, Switched, ipmi, redfish

SECRET = "geheim-7d1f"  # at most 16 bytes: ipmi_sim takes no more
NETWORK, DISK = ["sleep", "3601"], ["sleep", "3602"]

Settings = RedfishSettings | IpmiSettings


@dataclass(frozen=True)
class Rig:
    """A BMC with two machines, the second of which loses boot overrides."""

    machine: Switched
    forgetful: Switched
    settings: Callable[..., Settings]
    forgetful_settings: Settings


def commands(name: str, *, drops_override: bool = False) -> Commands:
    return Commands(name, str(uuid4()), NETWORK, DISK, drops_override=drops_override)


def runs(machine: Switched) -> list[str]:
    pid = machine.pid()
    assert pid is not None, "the machine is off"
    return psutil.Process(pid).cmdline()


def free_port(kind: socket.SocketKind) -> int:
    with closing(socket.socket(socket.AF_INET, kind)) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def redfish_rig(directory: Path) -> AsyncIterator[Rig]:
    both = [commands("good"), commands("forgetful", drops_override=True)]
    async with redfish(directory, both, password=SECRET) as bmc:
        yield Rig(
            bmc.machines["good"],
            bmc.machines["forgetful"],
            lambda **other: redfish_settings(bmc, "good", **other),
            redfish_settings(bmc, "forgetful", settle_within=0.2),
        )


def redfish_settings(bmc: RedfishBmc, machine: str, **other: object) -> RedfishSettings:
    given = {
        "url": bmc.url,
        "system": f"/redfish/v1/Systems/{bmc.machines[machine].commands.uuid}",
        "user": bmc.user,
        "password": bmc.password,
        "poll_every": 0.05,
    }
    return RedfishSettings.model_validate(given | other)


@asynccontextmanager
async def ipmi_rig(directory: Path) -> AsyncIterator[Rig]:
    one, two = directory / "one", directory / "two"
    one.mkdir()
    two.mkdir()
    port, other_port = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    async with (
        ipmi(one, commands("good"), port=port, password=SECRET) as bmc,
        ipmi(
            two, commands("forgetful", drops_override=True), port=other_port, password=SECRET
        ) as forgetful,
    ):
        yield Rig(
            bmc.machine,
            forgetful.machine,
            lambda **other: ipmi_settings(bmc, **other),
            ipmi_settings(forgetful),
        )


def ipmi_settings(bmc: IpmiBmc, **other: object) -> IpmiSettings:
    given = {
        "host": bmc.host,
        "port": bmc.port,
        "user": bmc.user,
        "password": bmc.password,
        "poll_every": 0.05,
        # See IpmiSettings: the simulator has no valid flag.
        "reports_valid_flag": False,
    }
    return IpmiSettings.model_validate(given | other)
