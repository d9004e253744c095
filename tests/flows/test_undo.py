"""Giving builds up: what was changed outside is as before, and what is not ours is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from uuid import UUID, uuid4

import pytest
from sqlmodel import col, select

from flows.anaconda_build import anaconda_build
from flows.attend import attend
from flows.cancel import cancel
from flows.decommission import decommission
from flows.first_boot import first_boot
from flows.inception import inception
from inventory import claims, hosts, orders, retries
from inventory.arrows import Phase
from inventory.due import due
from inventory.errors import NotReady
from inventory.life import HostState
from inventory.models import (
    BuildOutcome,
    CallbackKind,
    Claim,
    EffectState,
    HostGroup,
    Interface,
    OnFailure,
    Subnet,
    now,
)
from lab.doubles.dhcp import Fault
from lab.doubles.dns import DnsFault
from tasks.company import NothingDone
from tasks.means import use
from tests.flows.bench import Bench
from tests.flows.test_crash import REMOVALS, Killed, Points, means_with

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("bare")]


def outside(bench: Bench) -> tuple[object, ...]:
    """All that the servers hold, byte for byte where it is a file."""
    files = {
        str(path.relative_to(bench.root)): path.read_bytes()
        for path in sorted(bench.root.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
    reservations = [dict(one) for one in bench.dhcp.reservations]
    return reservations, bench.dns_records("A"), bench.dns_records("PTR"), files


def without_boot_files(seen: tuple[object, ...]) -> tuple[object, ...]:
    """Kernels and initrds are many hosts', and go when no build needs them."""
    *records, files = seen
    assert isinstance(files, dict)
    return *records, {name: data for name, data in files.items() if not name.startswith("boot/")}


async def give_up(bench: Bench, name: str) -> None:
    async with bench.database.sessions.begin() as session:
        await orders.cancel(session, await hosts.named(session, name), why="the test", at=now())


async def retire(bench: Bench, name: str) -> None:
    async with bench.database.sessions.begin() as session:
        host = await hosts.named(session, name)
        await orders.decommission(session, host, asked_by="the test", at=now())


async def provisioned(bench: Bench, name: str, new: str | None) -> None:
    """A host is asked for, under another name where one is given."""
    async with bench.database.sessions.begin() as session:
        host = await hosts.named(session, name)
        group = await orders.group_named(session, "plain")
        act = orders.rebuild if host.state is HostState.IN_OPERATION else orders.provision
        await act(session, host, group, name=new, asked_by="the test", at=now())


async def rebuilt(bench: Bench, name: str) -> None:
    """A host is to be built anew."""
    async with bench.database.sessions.begin() as session:
        host = await hosts.named(session, name)
        await orders.rebuild(session, host, None, asked_by="the test", at=now())


async def claimed(bench: Bench, name: str, phase: Phase) -> UUID:
    """The company of a claim as the dispatcher makes it."""
    build = await bench.build(name)
    async with bench.database.sessions.begin() as session:
        await retries.start(session, phase, [build.id], at=now())
    return await bench.company(name)


async def in_operation(bench: Bench, name: str) -> None:
    """Take a selected host the whole way."""
    await inception.fn(hosts=[name])
    await bench.advance(name, HostState.INSTALLED)
    ip = (await bench.interface(name)).ip
    assert ip is not None
    await bench.told(name, CallbackKind.KICKSTART, remote=ip)
    await bench.told(name, CallbackKind.BUILT, remote=ip)
    await anaconda_build.fn(hosts=[name])
    await bench.told(name, CallbackKind.REPORT, remote=ip)
    await first_boot.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.IN_OPERATION


async def test_a_cancelled_host_leaves_everything_as_it_was(bench: Bench) -> None:
    before = outside(bench)
    name = await bench.selected(1)
    await inception.fn(hosts=[name])
    await give_up(bench, name)
    await cancel.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.CANCELLED
    assert without_boot_files(outside(bench)) == before
    build = await bench.build(name)
    assert (build.outcome, build.given_up) == (BuildOutcome.CANCELLED, "the test")
    became = {one.system: one.state for one in await bench.effects(name)}
    assert became == {
        "TFTP": EffectState.UNDONE,
        "boot file": EffectState.VERIFIED,
        "DHCP": EffectState.UNDONE,
        "DNS": EffectState.UNDONE,
        "power": EffectState.LEFT,
    }
    assert (await bench.interface(name)).ip is None


async def test_a_whole_life_leaves_everything_as_it_was_byte_for_byte(bench: Bench) -> None:
    bench.dhcp.reservations.append(
        {"hw-address": "52:54:00:ff:ff:ff", "ip-address": "192.0.2.77", "hostname": "theirs"}
    )
    bench.put_dns("theirs.lab.example", "A", "192.0.2.77")
    before = outside(bench)
    name = await bench.selected(1)
    await in_operation(bench, name)
    await rebuilt(bench, name)
    bench.images.reboots.clear()
    await in_operation(bench, name)
    assert (await bench.build(name)).generation == 2
    assert outside(bench) != before
    await retire(bench, name)
    await decommission.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.RETIRED
    assert outside(bench) == before
    assert (await bench.interface(name)).ip is None
    assert (await bench.build(name)).outcome is BuildOutcome.RETIRED


async def test_a_cancelled_rebuild_leaves_what_the_build_before_had_made(bench: Bench) -> None:
    name = await bench.selected(1)
    await in_operation(bench, name)
    before = without_boot_files(outside(bench))
    await rebuilt(bench, name)
    bench.images.reboots.clear()
    await inception.fn(hosts=[name])
    assert without_boot_files(outside(bench)) != before
    await give_up(bench, name)
    await cancel.fn(hosts=[name])
    assert without_boot_files(outside(bench)) == before
    assert (await bench.interface(name)).ip is not None


async def test_what_somebody_else_has_put_in_the_place_of_ours_is_left(bench: Bench) -> None:
    name = await bench.selected(1)
    await inception.fn(hosts=[name])
    bench.drop_dns(name, "A")
    bench.put_dns(name, "A", "192.0.2.200")
    await give_up(bench, name)
    await cancel.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.CANCELLED
    assert bench.dns_records("A") == {name: ["192.0.2.200"]}
    (left,) = [one for one in await bench.effects(name) if one.key == f"{name} A"]
    assert left.state is EffectState.LEFT
    assert "192.0.2.200" in left.seen
    assert not bench.dhcp.reservations


async def test_an_undo_that_fails_part_way_is_held_and_goes_on(bench: Bench) -> None:
    before = outside(bench)
    name = await bench.selected(1)
    await inception.fn(hosts=[name])
    bench.dhcp.fault = Fault.OFFLINE
    await give_up(bench, name)
    with pytest.raises(NothingDone):
        await cancel.fn(hosts=[name])
    build = await bench.build(name)
    assert (await bench.host(name)).state is HostState.HELD
    assert build.held_from is HostState.CANCELLING
    assert "DHCP" in (build.held_reason or "")
    assert not bench.dns_records("A")
    bench.dhcp.fault = Fault.NONE
    updates = bench.dns.updates
    assert await bench.retry(name) is Phase.CANCEL
    await cancel.fn(hosts=[name], company=await bench.company(name))
    assert (await bench.host(name)).state is HostState.CANCELLED
    assert without_boot_files(outside(bench)) == before
    assert bench.dns.updates == updates


async def test_a_failed_inception_is_undone_where_the_group_says_so(bench: Bench) -> None:
    await bench.change(HostGroup, on_failure=OnFailure.UNDO)
    before = outside(bench)
    name = await bench.selected(1)
    bench.dns.fault = DnsFault.REFUSED
    with pytest.raises(NothingDone):
        await inception.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.CANCELLING
    assert "failed at 14" in ((await bench.build(name)).given_up or "")
    async with bench.database.sessions.begin() as session:
        assert [one.phase for one in await due(session, 10)] == [Phase.CANCEL]
    bench.dns.fault = DnsFault.NONE
    await cancel.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.CANCELLED
    assert without_boot_files(outside(bench)) == before


async def test_a_run_under_way_ends_before_anything_is_undone(bench: Bench) -> None:
    name = await bench.selected(1)

    async def given_up() -> None:
        await give_up(bench, name)
        async with bench.database.sessions.begin() as session:
            # The run has not let go yet.
            assert await due(session, 10) == []

    before = outside(bench)
    points = Points(30, given_up)
    use(means_with(bench, points, bench.means.worker))
    await inception.fn(hosts=[name])
    assert points.reached
    use(bench.means)
    async with bench.database.sessions.begin() as session:
        assert [one.phase for one in await due(session, 10)] == [Phase.CANCEL]
    assert not bench.images.reboots
    await cancel.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.CANCELLED
    assert without_boot_files(outside(bench)) == before


async def test_a_claim_that_nobody_took_up_ends_at_once(bench: Bench) -> None:
    name = await bench.selected(1)
    build = await bench.build(name)
    async with bench.database.sessions.begin() as session:
        await retries.start(session, Phase.INCEPTION, [build.id], at=now())
    await give_up(bench, name)
    async with bench.database.sessions.begin() as session:
        assert [one.phase for one in await due(session, 10)] == [Phase.CANCEL]


class _At(Points):
    """Does something at the first point of a name."""

    def __init__(self, name: str, action: Callable[[], Awaitable[None]]) -> None:
        super().__init__(1, action)
        self._name = name

    async def pass_by(self, name: str) -> None:
        if name == self._name and not self.reached:
            self.reached = name
            await self._action()


async def test_what_a_slow_worker_wrote_after_the_undo_is_undone_as_well(bench: Bench) -> None:
    name = await bench.selected(1)
    before = outside(bench)

    async def overtaken() -> None:
        """The worker sleeps before its write until all is undone."""
        await give_up(bench, name)
        async with bench.database.sessions.begin() as session:
            rows = await session.exec(select(Claim).where(col(Claim.ended_at).is_(None)))
            for one in rows:
                one.ended_at = now()

        async def elsewhere() -> None:
            use(replace(bench.means, worker="second"))
            await cancel.fn(hosts=[name])

        await asyncio.create_task(elsewhere())

    points = _At("before reserve", overtaken)
    use(means_with(bench, points, bench.means.worker))
    await inception.fn(hosts=[name])
    assert points.reached
    assert (await bench.host(name)).state is HostState.CANCELLED
    assert bench.dhcp.reservations
    use(bench.means)
    await attend.fn()
    assert not bench.dhcp.reservations
    assert without_boot_files(outside(bench)) == before


async def test_a_run_that_wakes_up_beside_its_undo_in_one_worker_writes_nothing_more(
    bench: Bench,
) -> None:
    """The worker had lost its lease, buried its own withdrawn claim, and then begun the undo."""
    name = await bench.selected(1)
    before = outside(bench)
    undo: list[UUID] = []

    async def overtaken() -> None:
        await give_up(bench, name)
        async with bench.database.sessions.begin() as session:
            await claims.bury(session, now())
        undo.append(await claimed(bench, name, Phase.CANCEL))
        async with bench.database.sessions.begin() as session:
            assert await claims.adopt(session, undo[0], bench.means.worker, UUID(int=2))

    points = _At("after add_dns", overtaken)
    use(means_with(bench, points, bench.means.worker))
    await inception.fn(hosts=[name])
    assert points.reached
    written = [one.state for one in await bench.effects(name) if one.system == "DNS"]
    assert written == [EffectState.INTENDED]
    assert len(bench.dns_records("A") | bench.dns_records("PTR")) == 1
    use(bench.means)
    await cancel.fn(hosts=[name], company=undo[0])
    assert (await bench.host(name)).state is HostState.CANCELLED
    assert without_boot_files(outside(bench)) == before


async def test_an_undo_killed_at_any_point_ends_with_everything_as_it_was(bench: Bench) -> None:
    await bench.change(Subnet, range_to="192.0.2.99")
    before = outside(bench)
    killed_at = []

    async def die() -> None:
        raise Killed

    for number in count(1):
        use(bench.means)
        name = await bench.selected(number)
        await inception.fn(hosts=[name], company=await claimed(bench, name, Phase.INCEPTION))
        await give_up(bench, name)
        company = await claimed(bench, name, Phase.CANCEL)
        points = Points(number, die)
        use(means_with(bench, points, f"first/{number}"))
        try:
            await cancel.fn(hosts=[name], company=company)
        except Killed:
            killed_at.append(points.reached)
        async with bench.database.sessions.begin() as session:
            await claims.bury(session, now())
        use(replace(bench.means, worker="second"))
        await cancel.fn(hosts=[name], company=company)
        assert (await bench.host(name)).state is HostState.CANCELLED, points.reached
        assert without_boot_files(outside(bench)) == before, points.reached
        if not points.reached:
            break
    for removal in REMOVALS:
        assert f"before {removal}" in killed_at
        assert f"after {removal}" in killed_at
    assert len(killed_at) > 20


async def test_records_of_a_former_name_are_taken_away_by_the_next_build(bench: Bench) -> None:
    name = await bench.selected(1)
    await in_operation(bench, name)
    await provisioned(bench, name, "db01")
    bench.images.reboots.clear()
    await in_operation(bench, "db01.lab.example")
    assert list(bench.dns_records("A")) == ["db01.lab.example"]
    assert list(bench.dns_records("PTR").values()) == [["db01.lab.example"]]
    assert len(bench.dhcp.reservations) == 1


async def test_a_retired_host_gives_up_its_name_when_another_is_to_have_it(bench: Bench) -> None:
    name = await bench.selected(1)
    await retire(bench, name)
    await decommission.fn(hosts=[name])
    assert await bench.selected(2) == "web02.lab.example"
    async with bench.database.sessions.begin() as session:
        host = await hosts.named(session, "web02.lab.example")
        await hosts.take_name(session, host, name)
    assert (await bench.host("mac525400aabb01")).state is HostState.RETIRED


async def test_what_cannot_be_given_up_says_when_it_can(bench: Bench) -> None:
    name = await bench.discovered(1)
    with pytest.raises(NotReady, match="while it is being built"):
        await give_up(bench, name)
    await retire(bench, name)
    await decommission.fn(hosts=[name])
    with pytest.raises(NotReady, match="nothing of it is left"):
        await retire(bench, name)


async def test_a_held_host_is_rebuilt_over_what_it_had(bench: Bench) -> None:
    name = await bench.selected(1)
    await inception.fn(hosts=[name])
    await bench.hold(name, step=20)
    await rebuilt(bench, name)
    bench.images.reboots.clear()
    await in_operation(bench, name)
    assert (await bench.build(name)).generation == 2
    await retire(bench, name)
    await decommission.fn(hosts=[name])
    assert not bench.dhcp.reservations
    assert not bench.boot_configs()


async def test_a_host_without_a_bmc_is_rebuilt_when_somebody_restarts_it(bench: Bench) -> None:
    name = await bench.selected(1)
    await in_operation(bench, name)
    await rebuilt(bench, name)
    # It runs its own system: its discovery image is silent since the first build.
    await inception.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.REBOOTING
    assert "restart it by hand" in (await bench.steps(name))[17].seen
    assert len(bench.images.reboots) == 1
    assert (await bench.build(name)).deadline is not None


async def test_another_machine_at_the_former_address_is_not_restarted(bench: Bench) -> None:
    name = await bench.selected(1)
    await in_operation(bench, name)
    bench.images.reboots.clear()
    async with bench.database.sessions.begin() as session:
        mine = await session.get_one(Interface, (await bench.interface(name)).id)
        mine.discovered_ip = "192.0.2.105"
        host = await hosts.named(session, name)
        await orders.rebuild(session, host, None, asked_by="the test", at=now())
    await inception.fn(hosts=[name])
    assert not bench.images.reboots
    assert "192.0.2.105 is another machine's" in (await bench.steps(name))[17].seen


@pytest.mark.parametrize("leaver", ["db01.lab.example", "web01.lab.example"])
async def test_a_name_that_another_host_has_taken_stays_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, leaver: str
) -> None:
    """It is renamed, another one gets its name, and only then its records are taken away."""

    def in_another_run() -> None:
        monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", str(uuid4()))
        bench.images.reboots.clear()

    first = await bench.selected(1)
    await in_operation(bench, first)
    await provisioned(bench, first, "db01")
    second = await bench.discovered(2)
    await provisioned(bench, second, "web01")
    in_another_run()
    await in_operation(bench, "web01.lab.example")
    held = bench.dns_records("A")["web01.lab.example"]
    in_another_run()
    await in_operation(bench, "db01.lab.example")
    assert bench.dns_records("A")["web01.lab.example"] == held
    names = {"web01.lab.example", "db01.lab.example"}
    assert set(bench.dns_records("A")) == names
    in_another_run()
    await retire(bench, leaver)
    await decommission.fn(hosts=[leaver])
    assert set(bench.dns_records("A")) == names - {leaver}
