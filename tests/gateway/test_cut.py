"""No telling is lost while the database lives, wherever a gateway is killed, however it is told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from itertools import count

import pytest

from integrations.candlepin import Candlepin
from inventory.life import HostState
from inventory.models import CallbackKind, HostGroup, Puppet, StepState
from lab.doubles.candlepin import CandlepinDouble
from tests.gateway.conftest import World
from tests.gateway.every_telling import KEY, OWNER, TELLINGS, Around, Killed, Knife, Telling
from tests.inventory.world import make_candlepin

TELLS = pytest.mark.parametrize("telling", TELLINGS, ids=str)
_S = HostState
STATES = (
    *(_S.DISCOVERED, _S.SELECTED, _S.PREPARING, _S.REBOOTING, _S.INSTALLING),
    *(_S.INSTALLED, _S.FIRST_BOOT, _S.IN_OPERATION, _S.CANCELLED, _S.RETIRED),
)
HOLDABLE = STATES[:7]
SEEDS = 6


@pytest.fixture
async def around(world: World, puppet: Puppet) -> AsyncIterator[Around]:
    double, knife = CandlepinDouble(), Knife()
    async with world.database.sessions.begin() as session:
        candlepin = await make_candlepin(session, double.url)
        group = await session.get_one(HostGroup, world.group.id)
        for one in (group, world.group):
            one.candlepin_id, one.owner, one.activation_key = candlepin.id, OWNER, KEY
    async with Candlepin(double.settings(), transport=Around.way_to(double, knife)) as client:
        await client.create_owner(OWNER)
        await client.create_activation_key(OWNER, KEY)
        made = Around(world, puppet.certname, candlepin.id, double, client, knife)
        with knife.held_to(world):
            yield made


async def prepared(around: Around, telling: Telling) -> int:
    number = next(around.numbers)
    if telling.when is not None:
        await around.host(number, telling.when)
    return number


async def once(around: Around, telling: Telling) -> dict[str, object] | None:
    """What becomes of a telling that is told once, undisturbed."""
    number = await prepared(around, telling)
    answer = await telling.tell(around, number)
    assert answer.is_success, answer.text
    return await around.seen(number)


@TELLS
async def test_a_gateway_that_is_killed_anywhere_has_heard_all_or_nothing(
    around: Around, telling: Telling, capsys: pytest.CaptureFixture[str]
) -> None:
    right, killed_at = await once(around, telling), []
    for at in count(1):
        number = await prepared(around, telling)
        before = await around.seen(number)
        try:
            with around.knife.armed(at):
                await telling.tell(around, number)
            break
        except Killed as killed:
            killed_at.append(str(killed))
        if telling.in_one:
            assert await around.seen(number) in (before, right), killed_at[-1]
        for _ in range(2):
            answer = await telling.tell(around, number)
            assert answer.is_success, (killed_at[-1], answer.text)
        assert await around.seen(number) == right, killed_at[-1]
    for point in ("before SELECT", "after SELECT", "before COMMIT", "after COMMIT"):
        assert point in killed_at
    with capsys.disabled():
        print(f" {telling}: killed at {len(killed_at)} points", end=" ")


@TELLS
async def test_what_is_told_twenty_times_ten_of_them_at_once_is_heard_once(
    around: Around, telling: Telling
) -> None:
    around.world.settings = around.world.settings.model_copy(update={"kickstart_limit": 100})
    right = await once(around, telling)
    number = await prepared(around, telling)
    answers = await asyncio.gather(*(telling.tell(around, number) for _ in range(10)))
    answers += [await telling.tell(around, number) for _ in range(10)]
    assert {one.is_success for one in answers} == {True}, {one.text for one in answers}
    assert await around.seen(number) == right


@TELLS
async def test_whenever_it_is_told_it_is_kept_or_refused_and_moves_only_what_it_ends(
    around: Around, telling: Telling
) -> None:
    heard = refused = 0
    for state, is_held in [*((one, False) for one in STATES), *((one, True) for one in HOLDABLE)]:
        number = next(around.numbers)
        await around.host(number, state)
        if is_held:
            await around.hold(number)
        where = await around.state(number)
        answer = await telling.tell(around, number)
        assert answer.status_code < 500, (state, is_held, answer.text)
        after, seen = await around.state(number), await around.seen(number)
        assert seen is not None
        if answer.is_success:
            heard += 1
            assert seen[telling.kept], (state, is_held)
            moved = telling.moves.get(state, where)
            # A host that is held goes on by its own word only out of the installer.
            assert after in ((where, moved) if is_held else (moved,)), (state, is_held)
        else:
            refused += 1
            assert answer.text, (state, is_held)
            assert after is where, (state, is_held)
    assert heard
    assert heard + refused == len(STATES) + len(HOLDABLE)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_in_whatever_order_an_installation_is_told_it_ends_the_same(
    around: Around, seed: int
) -> None:
    around.world.settings = around.world.settings.model_copy(update={"kickstart_limit": 100})
    wanted = ("kickstart", "progress", "built", "report", "facts of a known machine")
    number = next(around.numbers)
    await around.host(number, HostState.REBOOTING)
    calls = [one for one in TELLINGS if one.name in wanted] * 10
    random.Random(seed).shuffle(calls)
    for one in calls:
        answer = await one.tell(around, number)
        assert answer.is_success or (one.name, answer.status_code) == ("kickstart", 405), one
    seen = await around.seen(number)
    assert seen is not None
    assert seen["state"] is HostState.INSTALLED
    told = [kind for kind, _ in seen["told"]]  # type: ignore[attr-defined]
    expected = ("facts", "progress", "built", "report")
    assert sorted(told) == sorted(CallbackKind(one) for one in expected)
    arrows = seen["steps"]
    assert {arrows[n][0] for n in (20, 22, 27)} == {StepState.DONE}  # type: ignore[index]
