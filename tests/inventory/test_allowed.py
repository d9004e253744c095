"""What is offered is done, and what is refused is not offered, at every point of a host's life."""

from __future__ import annotations

import pytest

from inventory import acts, builds, hosts, plans
from inventory.allowed import Act, offered
from inventory.database import AsyncSession
from inventory.errors import InventoryError
from inventory.life import TRANSITIONS, Event, HostState
from inventory.models import Build, BuildOutcome, Door, Host, Role
from inventory.orders import group_named
from inventory.rights import Actor
from tests.conftest import Database
from tests.inventory.world import discovered, later, make_group

ADA = Actor("ada", Door.CONSOLE, Role.OPERATOR)
EVE = Actor("eve", Door.CONSOLE, Role.VIEWER)
HELD_FROM = [one.source for one in TRANSITIONS if one.event is Event.HOLD]
_ENDED = {
    HostState.IN_OPERATION: BuildOutcome.IN_OPERATION,
    HostState.CANCELLED: BuildOutcome.CANCELLED,
    HostState.RETIRED: BuildOutcome.RETIRED,
}


async def ask(session: AsyncSession, actor: Actor, act: Act, host: Host) -> str:
    """What an act comes to; empty: it is not refused."""
    try:
        match act:
            case Act.RETRY:
                told = await acts.retry(session, actor, [host.name], at=later(9))
                return "".join(told.refused.values())
            case Act.PROVISION:
                await acts.provision(session, actor, host.name, "web", at=later(9))
            case Act.REBUILD:
                await acts.rebuild(session, actor, host.name, at=later(9))
            case Act.CANCEL:
                await acts.cancel(session, actor, host.name, at=later(9))
            case Act.DECOMMISSION:
                await acts.decommission(session, actor, host.name, at=later(9))
            case Act.PLAN:
                await plans.ask(session, actor, host.name, group="web", at=later(9))
    except InventoryError as error:
        return str(error)
    return ""


async def put(session: AsyncSession, host: Host, state: HostState, came: HostState | None) -> None:
    """A host at a point of its life, with the build that it has there."""
    host.state = state
    build = await builds.current_build(session, host.id)
    assert build is not None
    if state in _ENDED:
        await builds.close_build(session, build, _ENDED[state], later(1))
    build.held_from = came
    await session.flush()


@pytest.mark.parametrize("grouped", [True, False])
async def test_what_is_offered_is_done_and_what_is_not_is_refused(
    database: Database, grouped: bool
) -> None:
    async with database.sessions.begin() as session:
        await make_group(session)
    host, _ = await discovered(database.sessions)
    points: list[tuple[HostState, HostState | None]] = [
        *((one, None) for one in HostState if one is not HostState.HELD),
        *((HostState.HELD, one) for one in HELD_FROM),
    ]
    wrong = []
    for actor in (ADA, EVE):
        for state, came in points:
            for act in Act:
                async with database.sessions() as session:
                    here = await session.get_one(Host, host.id)
                    build = await builds.current_build(session, host.id)
                    if grouped and build is not None:
                        here.host_group_id = (await group_named(session, "web")).id
                        build.host_group_id = here.host_group_id
                    await put(session, here, state, came)
                    now = await builds.current_build(session, host.id)
                    shown = act in offered(actor, here, now)
                    refused = await ask(session, actor, act, here)
                    await session.rollback()
                useless = (state, act) in {
                    (HostState.DISCOVERED, Act.REBUILD),
                    (HostState.CANCELLING, Act.CANCEL),
                    (HostState.DECOMMISSIONING, Act.DECOMMISSION),
                }
                if shown == bool(refused) and not useless:
                    wrong.append((actor.name, state, came, act, refused))
    assert wrong == []


async def test_a_build_that_is_leaving_can_only_be_retried(database: Database) -> None:
    async with database.sessions.begin() as session:
        await make_group(session)
    host, build = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        here = await hosts.lock_host(session, host.id)
        await put(session, here, HostState.HELD, HostState.DECOMMISSIONING)
        now = await session.get_one(Build, build.id)
        assert offered(ADA, here, now) == {Act.RETRY, Act.DECOMMISSION, Act.PLAN}
