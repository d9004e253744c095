"""A host whose `built` nobody heard: its first report brings it into operation all the same."""

from __future__ import annotations

import json

import pytest

from flows.anaconda_build import anaconda_build
from flows.first_boot import first_boot
from gateway.tellings import Telling, tell_report
from inventory.arrows import Evidence, Phase
from inventory.builds import keep_token
from inventory.due import due, settle_callbacks
from inventory.life import HostState
from inventory.models import Build, CallbackKind, now
from inventory.reports import FirstReport
from tests.flows.bench import Bench

pytestmark = pytest.mark.usefixtures("bare")
MAC = "52:54:00:aa:bb:01"


async def reports(bench: Bench, name: str, uptime: float = 10) -> None:
    """Its installed system does, and nobody has heard that it was built."""
    said = {"hostname": name, "root_device": "/dev/vda1", "uptime_seconds": uptime}
    telling = Telling(token="token", remote="192.0.2.20", body=json.dumps(said), at=now())
    async with bench.database.sessions.begin() as session:
        await keep_token(
            session, await session.get_one(Build, (await bench.build(name)).id), "token"
        )
        await tell_report(session, telling, FirstReport.model_validate(said))


async def phases_due(bench: Bench) -> list[Phase]:
    async with bench.database.sessions.begin() as session:
        found = [one.phase for one in await due(session, 10)]
        await settle_callbacks(session, {}, now())
    return found


async def test_everything_goes_on_and_nothing_is_claimed_to_have_been_heard(bench: Bench) -> None:
    name = await bench.at(1, HostState.INSTALLING)
    await bench.told(name, CallbackKind.KICKSTART)
    await reports(bench, name)
    assert await phases_due(bench) == [Phase.ANACONDA]
    await anaconda_build.fn(hosts=[name])
    assert "LOCALBOOT" in bench.boot_configs()[0].read_text()
    # The report has waited for its phase.
    assert await phases_due(bench) == [Phase.FIRST_BOOT]
    await first_boot.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.IN_OPERATION
    arrows = await bench.steps(name)
    assert {arrows[n].evidence for n in (18, 19, 22, 27, 30)} == {Evidence.IMPLIED}


@pytest.mark.parametrize(("uptime", "evidence"), [(0, Evidence.IMPLIED), (60, Evidence.OBSERVED)])
async def test_a_lease_is_the_installed_systems_only_if_it_began_with_it(
    bench: Bench, uptime: float, evidence: Evidence
) -> None:
    name = await bench.at(1, HostState.INSTALLING)
    bench.dhcp.reservations.append({"hw-address": MAC, "ip-address": "192.0.2.20"})
    bench.dhcp.boot(MAC)
    await reports(bench, name, uptime)
    await anaconda_build.fn(hosts=[name])
    await first_boot.fn(hosts=[name])
    assert (await bench.steps(name))[30].evidence is evidence
