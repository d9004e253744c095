"""The lab's BMCs inside a namespace, and what they leave behind when they die: nothing."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from lab.namespace import Namespace, namespace
from lab.servers.bmc import Commands, Switched, ipmi, redfish, sshd

pytestmark = pytest.mark.servers

COMMANDS = Commands("m", "4d1e5f1c-0d1b-4c57-9b1a-0c2f6a6f7c11", ["sleep", "3601"], ["sleep", "1"])
READ = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode())"


@pytest.fixture
async def inside() -> AsyncIterator[Namespace]:
    async with namespace(f"bmc{os.getpid()}") as inside:
        yield inside


async def test_all_three_answer_inside_a_namespace(inside: Namespace, tmp_path: Path) -> None:
    places = {name: tmp_path / name for name in ("redfish", "ipmi", "sshd")}
    for place in places.values():
        place.mkdir()
    async with (
        redfish(places["redfish"], [COMMANDS], inside=inside) as redfish_bmc,
        ipmi(places["ipmi"], COMMANDS, port=6230, inside=inside) as ipmi_bmc,
        sshd(places["sshd"], port=2222, inside=inside),
    ):
        root = await inside.run(sys.executable, "-c", READ, f"{redfish_bmc.url}/redfish/v1/")
        assert "RedfishVersion" in root
        where = ("-I", "lanplus", "-C", "3", "-H", inside.address, "-p", "6230")
        login = ("-U", ipmi_bmc.user, "-P", ipmi_bmc.password)
        await inside.run("ipmitool", *where, *login, "chassis", "bootdev", "pxe")
        await inside.run("ipmitool", *where, *login, "chassis", "power", "on")
        pid = ipmi_bmc.machine.pid()
        assert pid is not None
        assert psutil.Process(pid).cmdline() == ["sleep", "3601"]
        assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
        shown = await inside.run("ssh-keyscan", "-p", "2222", "-t", "ed25519", inside.address)
        assert "ssh-ed25519" in shown
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_machines_end_with_a_bmc_that_was_killed(tmp_path: Path) -> None:
    async with redfish(tmp_path, [COMMANDS]) as bmc:
        machine = bmc.machines["m"]
        machine.start()
        await bmc.server.kill()
        assert machine.pid() is not None
    assert machine.pid() is None


def test_a_reused_process_id_is_somebody_else(tmp_path: Path) -> None:
    machine = Switched.create(tmp_path, COMMANDS)
    (tmp_path / "process.json").write_text(f"[{os.getpid()}, 1.0]")
    assert machine.pid() is None
    machine.kill()


def test_a_machine_asked_to_shut_down_goes(tmp_path: Path) -> None:
    machine = Switched.create(tmp_path, COMMANDS)
    machine.start()
    machine.shut_down()
    assert machine.pid() is None
