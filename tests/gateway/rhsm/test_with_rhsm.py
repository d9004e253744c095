"""The front as clients see it that we did not write: the library rhsm, and subscription-manager.

The first does the talking of a small program of the lab; the real command takes its place where it
is on PATH, in a namespace of its own, because it writes into /etc and /var.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from inventory import profiles, repositories
from inventory.arrows import Evidence
from inventory.life import HostState
from inventory.models import StepState
from lab.cache import Cache
from lab.images.rhsm import CLIENT, Rhsm, rhsm_library
from tests.gateway.rhsm.conftest import OWNER, Fronted, keys_of, name_of

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

RPM = """\
#!/bin/sh
printf 'bash\\t5.1.8\\t9.el9\\tx86_64\\t(none)\\tLab\\n'
printf 'kernel\\t6.1\\t1\\tx86_64\\t2\\t(none)\\n'
printf 'gpg-pubkey\\tfd431d51\\t4ae0493b\\t(none)\\t(none)\\t(none)\\n'
"""
REPO = """\
[baseos]
name = Base
baseurl = https://pulp.example.org/baseos/9
[debug]
enabled = 0
baseurl = https://pulp.example.org/debug
"""


@pytest.fixture(scope="session")
def library() -> Rhsm:
    return asyncio.run(rhsm_library(Cache()))


@dataclass
class Machine:
    """A host's files, and the client that works on them."""

    front: Fronted
    library: Rhsm
    place: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("bin", "ca", "repos"):
            (self.place / name).mkdir(parents=True)
        rpm = self.place / "bin/rpm"
        rpm.write_text(RPM)
        rpm.chmod(0o755)
        (self.place / "repos/redhat.repo").write_text(REPO)
        shutil.copy(self.front.ca, self.place / "ca/front.pem")
        for name in ("subscription-manager", "rhsm-package-profile-uploader"):
            (self.place / "bin" / name).symlink_to(CLIENT)
        self.environment = {
            "PATH": f"{self.place / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.library.site),
            "RHSM_CONFIG": str(self.place / "rhsm.conf"),
            "RHSM_REPOSITORIES": str(self.place / "repos"),
        }

    async def run(self, *words: str) -> tuple[int, str]:
        """What a command ends with, and what it says."""
        process = await asyncio.create_subprocess_exec(
            str(self.library.python),
            str(self.place / "bin" / words[0]),
            *words[1:],
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(60):
            said, _ = await process.communicate()
        return process.returncode or 0, said.decode()

    async def configure(self) -> None:
        place = urlsplit(self.front.url)
        code, said = await self.run(
            *("subscription-manager", "config", f"--server.hostname={place.hostname}"),
            *(f"--server.port={place.port}", f"--server.prefix={place.path}"),
            *(f"--rhsm.ca_cert_dir={self.place / 'ca'}",),
            *(f"--rhsm.consumerCertDir={self.place / 'consumer'}",),
        )
        assert code == 0, said

    async def register(self, number: int, keys: str | None = None) -> tuple[int, str]:
        return await self.run(
            *("subscription-manager", "register", f"--name={name_of(number)}", f"--org={OWNER}"),
            f"--activationkey={keys_of(number) if keys is None else keys}",
        )


@pytest.fixture
async def machine(front: Fronted, library: Rhsm, tmp_path: Path) -> Machine:
    made = Machine(front, library, tmp_path / "machine")
    await made.configure()
    return made


async def test_a_host_registers_reports_checks_in_and_leaves(machine: Machine) -> None:
    front = machine.front
    host, build = await front.world.host(1, HostState.INSTALLING)
    code, said = await machine.register(1)
    assert code == 0, said
    consumer = await front.consumer(host)
    assert consumer is not None
    assert f"registered with ID: {consumer.uuid}" in said
    for name in ("cert.pem", "key.pem"):
        file = machine.place / "consumer" / name
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
    found = await front.world.steps(build)
    assert {n: (found[n].state, found[n].evidence) for n in (23, 25, 26)} == {
        23: (StepState.DONE, Evidence.REPORTED),
        25: (StepState.DONE, Evidence.OBSERVED),
        26: (StepState.DONE, Evidence.OBSERVED),
    }
    async with front.world.database.sessions() as session:
        listed = await profiles.packages_of(session, host.id)
        (row,) = await repositories.of_host(session, host.id)
    assert listed == ["bash-5.1.8-9.el9.x86_64", "kernel-2:6.1-1.x86_64"]
    assert (row.name, row.url) == ("baseos", "https://pulp.example.org/baseos/9")

    code, said = await machine.run("subscription-manager", "identity")
    assert (code, said.splitlines()) == (
        0,
        [f"system identity: {consumer.uuid}", f"name: {name_of(1)}"],
    )
    assert (await machine.run("subscription-manager", "check-in"))[0] == 0
    later = await front.consumer(host)
    assert later is not None
    assert later.checked_in_at is not None
    assert (await machine.run("rhsm-package-profile-uploader", "--force-upload"))[0] == 0

    code, said = await machine.run("subscription-manager", "unregister")
    assert code == 0, said
    assert not list((machine.place / "consumer").iterdir())
    assert front.double.state.deleted == {consumer.uuid}
    assert await front.consumer(host) is None


async def test_a_bad_key_is_shown_to_whoever_looks_at_the_host(machine: Machine) -> None:
    await machine.front.world.host(1, HostState.INSTALLING)
    code, said = await machine.register(1, keys="nobody")
    assert code == 70
    assert "none of the activation keys of web1.example.org is the token of an open build" in said
    assert not (machine.place / "consumer").exists()


async def test_a_deleted_consumer_is_known_for_gone_and_comes_back_as_another(
    machine: Machine,
) -> None:
    front = machine.front
    host, _ = await front.world.host(1, HostState.INSTALLING)
    assert (await machine.register(1))[0] == 0
    first = await front.consumer(host)
    assert first is not None
    front.double.state.consumers.clear()
    front.double.state.deleted.add(first.uuid)
    for command in ("identity", "check-in"):
        code, said = await machine.run("subscription-manager", command)
        assert code == 69, said
        assert f"Unit {first.uuid} has been deleted" in said
    assert (await machine.run("subscription-manager", "clean"))[0] == 0
    assert (await machine.register(1))[0] == 0
    second = await front.consumer(host)
    assert second is not None
    assert second.uuid != first.uuid


async def test_without_the_combined_report_packages_come_alone(machine: Machine) -> None:
    """An older client, or one that a front does not tell of it, sends what it always has."""
    front = machine.front
    host, build = await front.world.host(1, HostState.INSTALLING)
    client = machine.place / "bin" / "subscription-manager"
    text = client.read_text()
    client.unlink()
    client.write_text(text.replace('COMBINED = "combined_reporting"', 'COMBINED = "never"'))
    assert (await machine.register(1))[0] == 0
    found = await front.world.steps(build)
    assert (found[25].state, found[26].state) == (StepState.DONE, StepState.PENDING)
    async with front.world.database.sessions() as session:
        assert len(await profiles.packages_of(session, host.id)) == 2


async def test_candlepin_away_is_an_error_that_can_be_repeated(machine: Machine) -> None:
    front = machine.front
    await front.world.host(1, HostState.INSTALLING)
    front.double.faults.down = True
    code, said = await machine.register(1)
    assert code == 70
    assert "Candlepin does not answer as it should; try again" in said
    front.double.faults.down = False
    assert (await machine.register(1))[0] == 0
    assert len(front.double.state.registered) == 1


REAL = shutil.which("subscription-manager")
# Its files lie under /etc, /var and /run: an overlay over each vanishes with the namespace.
ISOLATED = """\
set -eu
mount -t tmpfs none "$PLACE"
for at in etc var run; do
  over=$PLACE/$at
  mkdir -p "$over/upper" "$over/work"
  mount -t overlay overlay -o "lowerdir=/$at,upperdir=$over/upper,workdir=$over/work" "/$at"
done
mkdir -p /etc/rhsm/ca /var/lib/rhsm /run/lock
printf '%s' "$FRONT_CA" >/etc/rhsm/ca/rackrise.pem
"""
OWN = """\
set -eu
"""
WAY = """\
subscription-manager config --server.hostname="$FRONT_HOST" --server.port="$FRONT_PORT" \\
  --server.prefix=/rhsm
subscription-manager register --name="$NAME" --org="$OWNER" --activationkey="$KEYS" || [ $? = 70 ]
subscription-manager identity
subscription-manager unregister
! subscription-manager identity
"""
COMMANDS = {"rhsm": OWN + WAY, **({"subscription-manager": ISOLATED + WAY} if REAL else {})}
"""By client; the real one only where it is on PATH."""


@pytest.mark.parametrize("client", list(COMMANDS))
async def test_a_client_registers_and_leaves(client: str, machine: Machine) -> None:
    front = machine.front
    host, build = await front.world.host(1, HostState.INSTALLING)
    place = urlsplit(front.url)
    (machine.place / "overlay").mkdir()
    own = machine.environment if client == "rhsm" else {}
    if client == "rhsm":
        # Its first line names an interpreter that has no such library.
        for name in ("subscription-manager", "rhsm-package-profile-uploader"):
            tool = machine.place / "bin" / name
            tool.unlink()
            tool.write_text(f"#!{machine.library.python}\n{CLIENT.read_text()}")
            tool.chmod(0o755)
    process = await asyncio.create_subprocess_exec(
        *("unshare", "-m", "--fork", "sh", "-c", COMMANDS[client]),
        env={
            **os.environ,
            **own,
            "PLACE": str(machine.place / "overlay"),
            "FRONT_CA": front.ca.read_text(),
            "FRONT_HOST": place.hostname or "",
            "FRONT_PORT": str(place.port),
            "NAME": name_of(1),
            "OWNER": OWNER,
            "KEYS": keys_of(1),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(240):
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    # It was, and is no more: while its host is being built, it must be again.
    step = (await front.world.steps(build))[23]
    assert (step.state, step.attempts) == (StepState.PENDING, 1)
    assert len(front.double.state.deleted) == 1
    assert await front.consumer(host) is None
