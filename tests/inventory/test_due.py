"""When the first boot is ours to see to, and which callbacks are over with."""

from __future__ import annotations

import pytest
from sqlmodel import col, select

from inventory import callbacks
from inventory.arrows import Phase
from inventory.builds import close_build, set_group
from inventory.database import CHANNEL_CALLBACKS
from inventory.due import due, settle_callbacks
from inventory.hosts import move
from inventory.life import Event, HostState
from inventory.listening import listen
from inventory.models import Build, BuildOutcome, Callback, CallbackKind, Host, HostGroup
from inventory.puppet import forget_reports, keep_report
from tests.conftest import Database
from tests.inventory.world import WAY, discovered, later, make_group, make_puppet


@pytest.fixture
async def group(database: Database) -> HostGroup:
    async with database.sessions.begin() as session:
        return await make_group(session)


async def first_boot(database: Database, group: HostGroup, *, puppet: bool) -> tuple[Host, Build]:
    """A host that has just left its installer."""
    host, build = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        host, group = await session.merge(host), await session.merge(group)
        group.puppet_id = (await make_puppet(session)).id if puppet else None
        await set_group(session, build, group, "test")
        for event, target in WAY:
            await move(session, host, event, later(1))
            if target is HostState.FIRST_BOOT:
                break
    return host, build


async def told(database: Database, host: Host, build: Build, key: str, second: float) -> None:
    """Puppet reports of the host; empty: the installed system itself does."""
    async with database.sessions.begin() as session:
        host = await session.merge(host)
        if key:
            at = later(second)
            assert await keep_report(session, host, key, "report", source="main", at=at)
            return
        await callbacks.keep(
            session,
            kind=CallbackKind.REPORT,
            key=f"report:{build.id}",
            host_id=host.id,
            build_id=build.id,
            remote="192.0.2.20",
            body="",
            at=later(second),
        )


async def phases(database: Database) -> list[Phase]:
    async with database.sessions() as session:
        return [one.phase for one in await due(session, 10)]


async def settle(database: Database, build: Build | None = None) -> None:
    claimed = {Phase.FIRST_BOOT: {build.id}} if build else {}
    async with database.sessions.begin() as session:
        await settle_callbacks(session, claimed, later(500))


async def waiting(database: Database) -> list[str]:
    async with database.sessions() as session:
        not_yet = select(Callback.kind).where(col(Callback.handled_at).is_(None))
        return list(await session.exec(not_yet.order_by(col(Callback.id))))


@pytest.mark.parametrize("order", [("", "a"), ("a", "")], ids=["host first", "Puppet first"])
async def test_with_puppet_the_first_boot_waits_for_both(
    database: Database, group: HostGroup, order: tuple[str, str]
) -> None:
    host, build = await first_boot(database, group, puppet=True)
    for second, key in enumerate(order):
        assert await phases(database) == []
        await settle(database)
        await told(database, host, build, key, second)
    assert await phases(database) == [Phase.FIRST_BOOT]
    await settle(database, build)
    assert await waiting(database) == []
    assert await phases(database) == []


async def test_without_puppet_it_waits_for_the_host_alone(
    database: Database, group: HostGroup
) -> None:
    host, build = await first_boot(database, group, puppet=False)
    assert await phases(database) == []
    await told(database, host, build, "", 1)
    assert await phases(database) == [Phase.FIRST_BOOT]


async def test_what_comes_while_the_first_report_is_judged_is_over_with_its_build(
    database: Database, group: HostGroup
) -> None:
    host, build = await first_boot(database, group, puppet=True)
    await told(database, host, build, "", 1)
    await told(database, host, build, "a", 2)
    await settle(database, build)
    await told(database, host, build, "b", 3)
    await settle(database)
    assert await waiting(database) == [CallbackKind.PUPPET_REPORT], "the build may still need it"
    async with database.sessions.begin() as session:
        await close_build(session, build, BuildOutcome.IN_OPERATION, later(4))
    await settle(database)
    assert await waiting(database) == []


async def test_only_a_report_that_somebody_waits_for_wakes(
    database: Database, group: HostGroup
) -> None:
    host, build = await first_boot(database, group, puppet=True)
    async with listen(database.url, CHANNEL_CALLBACKS) as listener:
        await told(database, host, build, "a", 1)
        assert await listener.wait(10)
        async with database.sessions.begin() as session:
            host = await session.merge(host)
            await close_build(session, build, BuildOutcome.IN_OPERATION, later(4))
            await move(session, host, Event.REPORT, later(4))
        await told(database, host, build, "b", 5)
        assert not await listener.wait(0.2)
    async with database.sessions() as session:
        newest = (await session.exec(select(Callback).order_by(col(Callback.id).desc()))).first()
    assert newest is not None
    assert (newest.key, newest.build_id, newest.handled_at) == (
        f"puppet:{host.id}:b",
        None,
        later(5),
    )


async def test_of_old_reports_each_host_keeps_its_newest(
    database: Database, group: HostGroup
) -> None:
    host, build = await first_boot(database, group, puppet=True)
    for second, key in enumerate("abc"):
        await told(database, host, build, key, second)
    await told(database, host, build, "", 3)
    async with database.sessions.begin() as session:
        assert await forget_reports(session, later(1000)) == 0, "nobody has looked at them"
    async with database.sessions.begin() as session:
        await close_build(session, build, BuildOutcome.IN_OPERATION, later(4))
    await settle(database)
    async with database.sessions.begin() as session:
        assert await forget_reports(session, later(1)) == 1, "only what is older"
        assert await forget_reports(session, later(1000)) == 1
        left = [one.key for one in await session.exec(select(Callback).order_by(col(Callback.id)))]
    assert left == [f"puppet:{host.id}:c", f"report:{build.id}"]
