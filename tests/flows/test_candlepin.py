"""What must be in Candlepin before a host is sent into its installer, and is looked at after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlmodel import select

from flows.attend import attend
from flows.cancel import cancel
from flows.decommission import decommission
from flows.first_boot import first_boot
from integrations.candlepin import Candlepin, NewConsumer
from inventory import consumers, orders, steps
from inventory.arrows import PROFILED, Evidence, Needs, Phase
from inventory.builds import keep_token, registration_token
from inventory.consumers import Registration
from inventory.due import due
from inventory.hosts import named
from inventory.life import HostState
from inventory.models import (
    Build,
    CallbackKind,
    Claim,
    Consumer,
    EffectState,
    Host,
    HostGroup,
    StepState,
    now,
)
from inventory.models import Candlepin as CandlepinRow
from inventory.needs import needs_of
from lab.doubles.candlepin import CandlepinDouble
from tasks import desired
from tasks.attend import hold_overdue
from tasks.candlepin import (
    check_consumers,
    look_at_consumers,
    prepare_subscriptions,
    remove_consumers,
)
from tasks.company import NothingDone
from tasks.means import use
from tests.flows.bench import Bench
from tests.flows.test_undo import claimed
from tests.integrations.candlepin.sites import transport_of
from tests.integrations.candlepin.strict import Judge
from tests.inventory.world import make_candlepin

pytestmark = pytest.mark.usefixtures("bare")

OWNER, KEY, ENVIRONMENT = "ACME", "web", "prod"


@dataclass
class Only:
    """One client for every Candlepin."""

    client: Candlepin

    async def of(self, candlepin: CandlepinRow) -> Candlepin:
        return self.client


@dataclass
class Subscribed:
    """The bench with a Candlepin, and what registers there."""

    bench: Bench
    double: CandlepinDouble
    client: Candlepin
    row: CandlepinRow

    async def register(self, name: str, *, environments: list[str] | None = None) -> Registration:
        """The host registers through the front; its part is that of the gateway's tests."""
        build = await self.bench.build(name)
        token = desired.build_token(self.bench.means.token_key, build.id)
        async with self.bench.database.sessions.begin() as session:
            await keep_token(session, build, token)
        async with self.bench.database.sessions.begin() as session:
            registration = await consumers.admit(
                session,
                candlepin_url=self.double.url,
                name=name,
                owner=OWNER,
                keys=[KEY, registration_token(token)],
                at=now(),
            )
        new = NewConsumer(uuid=registration.uuid, name=name, facts={"network.fqdn": name})
        wanted = registration.environments if environments is None else environments
        await self.client.register(new, owner=OWNER, keys=[KEY], environments=wanted)
        async with self.bench.database.sessions.begin() as session:
            await consumers.registered(session, registration, now())
        return registration

    async def stranger(self, name: str, fqdn: str) -> str:
        """Somebody registers past us; returns the UUID."""
        new = NewConsumer(uuid=str(uuid4()), name=name, facts={"network.fqdn": fqdn})
        await self.client.register(new, owner=OWNER, keys=[KEY], environments=[])
        return new.uuid

    async def consumer(self, name: str) -> Consumer | None:
        async with self.bench.database.sessions() as session:
            return await consumers.of_host(session, (await named(session, name)).id)


@pytest.fixture
async def site(bench: Bench) -> AsyncIterator[Subscribed]:
    double, judge = CandlepinDouble(), Judge()
    async with bench.database.sessions.begin() as session:
        row = await make_candlepin(session, double.url)
        for group in await session.exec(select(HostGroup)):
            group.candlepin_id, group.owner, group.activation_key = row.id, OWNER, KEY
            group.content_environments = [ENVIRONMENT]
    async with Candlepin(double.settings(), transport=transport_of(double, judge)) as client:
        use(replace(bench.means, candlepins=Only(client)))
        yield Subscribed(bench, double, client, row)
    assert judge.violations == []


async def test_what_a_group_needs_is_made_once_for_all_its_hosts(site: Subscribed) -> None:
    names = [await site.bench.at(number, HostState.PREPARING) for number in (1, 2, 3)]
    await prepare_subscriptions.fn(await site.bench.party(*names))
    assert list(site.double.state.owners) == [OWNER]
    assert list(site.double.state.environments) == [ENVIRONMENT]
    assert [one["name"] for one in site.double.state.keys.values()] == [KEY]
    assert len(site.double.writes()) == 3
    made = [one for name in names for one in await site.bench.effects(name)]
    assert sorted(one.key for one in made) == [
        "activation key ACME/web",
        "environment prod",
        "organization ACME",
    ]
    assert {one.state for one in made} == {EffectState.VERIFIED}
    before = len(site.double.calls)
    await prepare_subscriptions.fn(await site.bench.party(*names))
    # The second time it only looks, and nothing of it is any host's doing.
    assert len(site.double.writes()) == 3
    assert len(site.double.calls) - before == 4
    assert len([one for name in names for one in await site.bench.effects(name)]) == 3


async def test_somebody_elses_environment_is_a_conflict_that_names_it(site: Subscribed) -> None:
    name = await site.bench.at(1, HostState.PREPARING)
    await site.client.create_owner("OTHER")
    await site.client.create_environment("OTHER", ENVIRONMENT, "theirs")
    with pytest.raises(NothingDone, match="the environment prod of the organization OTHER"):
        await prepare_subscriptions.fn(await site.bench.party(name))
    assert site.double.state.environments[ENVIRONMENT]["owner"]["key"] == "OTHER"


async def test_an_organization_that_clients_would_leave_is_told(site: Subscribed) -> None:
    name = await site.bench.at(1, HostState.PREPARING)
    await site.client.create_owner(OWNER)
    site.double.state.owners[OWNER]["contentAccessMode"] = "entitlement"
    with pytest.raises(NothingDone, match="ACME in the mode entitlement"):
        await prepare_subscriptions.fn(await site.bench.party(name))


@pytest.mark.parametrize("fault", ["down", "suspended", "undeployed"])
async def test_a_candlepin_that_is_away_is_worth_a_retry(site: Subscribed, fault: str) -> None:
    name = await site.bench.at(1, HostState.PREPARING)
    setattr(site.double.faults, fault, True)
    for task in (prepare_subscriptions, remove_consumers):
        with pytest.raises(NothingDone) as caught:
            await task.fn(await site.bench.party(name))
        assert caught.value.retriable
    setattr(site.double.faults, fault, False)
    await prepare_subscriptions.fn(await site.bench.party(name))
    await remove_consumers.fn(await site.bench.party(name))


async def test_what_candlepin_says_and_does_not_do_is_noticed(site: Subscribed) -> None:
    name = await site.bench.at(1, HostState.PREPARING)
    site.double.faults.drops = True
    with pytest.raises(NothingDone, match="it answered yes, but"):
        await prepare_subscriptions.fn(await site.bench.party(name))


async def test_a_wrong_secret_holds_at_once(site: Subscribed) -> None:
    name = await site.bench.at(1, HostState.PREPARING)
    site.double.logins.secrets["rackrise"] = "another"
    with pytest.raises(NothingDone, match="Invalid OAuth unit or secret") as caught:
        await prepare_subscriptions.fn(await site.bench.party(name))
    assert not caught.value.retriable


async def test_the_consumer_of_a_former_life_is_removed_before_the_reboot(
    site: Subscribed,
) -> None:
    name = await site.bench.at(1, HostState.PREPARING)
    await prepare_subscriptions.fn(await site.bench.party(name))
    old, other = await site.stranger(name, name), await site.stranger("other.example", name)
    elsewhere = await site.stranger("web02.lab.example", "web02.lab.example")
    await remove_consumers.fn(await site.bench.party(name))
    # One that only tells the same fact is another machine's.
    assert set(site.double.state.consumers) == {other, elsewhere}
    assert site.double.state.deleted == {old}
    (effect,) = [one for one in await site.bench.effects(name) if one.key == f"consumer {old}"]
    assert (effect.after, effect.state) == (None, EffectState.VERIFIED)
    assert effect.before == {"uuid": old, "name": name, "owner": OWNER}
    await remove_consumers.fn(await site.bench.party(name))


async def test_a_consumer_is_removed_wherever_it_was_written_down(site: Subscribed) -> None:
    """Its organization is another one by now, and Candlepin would not find it by its facts."""
    name = await site.bench.at(1, HostState.INSTALLING)
    await prepare_subscriptions.fn(await site.bench.party(name))
    registration = await site.register(name)
    site.double.state.consumers[registration.uuid]["facts"] = {}
    await site.bench.change(HostGroup, owner="NEW")
    await site.bench.change(Host, state=HostState.PREPARING)
    await remove_consumers.fn(await site.bench.party(name))
    assert site.double.state.deleted == {registration.uuid}
    assert await site.consumer(name) is None


async def test_what_a_host_has_registered_in_this_life_is_left_alone(site: Subscribed) -> None:
    name = await site.bench.at(1, HostState.INSTALLING)
    await prepare_subscriptions.fn(await site.bench.party(name))
    registration = await site.register(name)
    await remove_consumers.fn(await site.bench.party(name))
    assert list(site.double.state.consumers) == [registration.uuid]


async def test_what_was_reported_becomes_observed_when_it_is_read_back(site: Subscribed) -> None:
    name = await site.bench.at(1, HostState.INSTALLING)
    await prepare_subscriptions.fn(await site.bench.party(name))
    registration = await site.register(name)
    assert (await site.bench.steps(name))[23].evidence is Evidence.REPORTED
    await look_at_consumers.fn(await site.bench.party(name))
    step = (await site.bench.steps(name))[23]
    assert (step.state, step.evidence) == (StepState.DONE, Evidence.OBSERVED)
    assert step.seen == (
        f"consumer {registration.uuid} of ACME in prod, read back from {site.double.url}"
    )
    effects = {one.key: one.state for one in await site.bench.effects(name)}
    assert effects[f"consumer {registration.uuid}"] is EffectState.VERIFIED


async def test_who_has_not_registered_in_the_installer_is_not_held_there(
    site: Subscribed,
) -> None:
    name = await site.bench.at(1, HostState.INSTALLED)
    await look_at_consumers.fn(await site.bench.party(name))
    assert (await site.bench.steps(name))[23].state is StepState.PENDING
    site.double.faults.down = True
    await look_at_consumers.fn(await site.bench.party(name))
    assert (await site.bench.steps(name))[23].state is StepState.PENDING


async def test_who_has_not_registered_at_the_first_boot_is(site: Subscribed) -> None:
    name = await site.bench.at(1, HostState.FIRST_BOOT)
    with pytest.raises(NothingDone, match=f"{name} has not registered at Candlepin"):
        await check_consumers.fn(await site.bench.party(name))
    await prepare_subscriptions.fn(await site.bench.party(name))
    registration = await site.register(name, environments=[])
    assert site.double.state.consumers[registration.uuid]["environments"] is None
    await check_consumers.fn(await site.bench.party(name))
    # Its group has changed since: that is ours to follow.
    there = site.double.state.consumers[registration.uuid]["environments"]
    assert [one["id"] for one in there] == [ENVIRONMENT]
    assert (await site.bench.steps(name))[23].evidence is Evidence.OBSERVED


async def test_a_consumer_that_was_deleted_since_is_missed(site: Subscribed) -> None:
    name = await site.bench.at(1, HostState.FIRST_BOOT)
    await prepare_subscriptions.fn(await site.bench.party(name))
    registration = await site.register(name)
    await look_at_consumers.fn(await site.bench.party(name))
    assert (await site.bench.steps(name))[23].evidence is Evidence.OBSERVED
    await site.client.delete_consumer(registration.uuid)
    with pytest.raises(NothingDone, match=f"has deleted the consumer {registration.uuid}"):
        await check_consumers.fn(await site.bench.party(name))


async def test_a_host_without_candlepin_asks_nothing_of_it(bench: Bench) -> None:
    name = await bench.at(1, HostState.PREPARING)

    class Nobody:
        async def of(self, candlepin: CandlepinRow) -> Candlepin:
            raise AssertionError("nobody was to be asked")

    use(replace(bench.means, candlepins=Nobody()))
    company = await bench.party(name)
    for task in (prepare_subscriptions, remove_consumers, look_at_consumers, check_consumers):
        assert await task.fn(company) == company


async def reports(site: Subscribed, name: str) -> None:
    """The front has heard what the host has; its part is that of the gateway's tests."""
    build = await site.bench.build(name)
    async with site.bench.database.sessions.begin() as session:
        await steps.finish(
            session, build.id, PROFILED, evidence=Evidence.OBSERVED, seen="the test", at=now()
        )


async def at_first_boot(site: Subscribed) -> str:
    name = await site.bench.at(1, HostState.FIRST_BOOT)
    await prepare_subscriptions.fn(await site.bench.party(name))
    async with site.bench.database.sessions.begin() as session:
        await session.exec(sa.delete(Claim))
    return name


async def test_a_host_that_has_registered_and_reported_goes_into_operation(
    site: Subscribed,
) -> None:
    name = await at_first_boot(site)
    await site.register(name)
    await reports(site, name)
    await site.bench.told(name, CallbackKind.REPORT, remote="192.0.2.20")
    await first_boot.fn(hosts=[name])
    assert (await site.bench.host(name)).state is HostState.IN_OPERATION
    assert (await site.bench.steps(name))[23].evidence is Evidence.OBSERVED


async def test_a_host_that_is_held_for_its_consumer_goes_on_when_it_has_one(
    site: Subscribed,
) -> None:
    name = await at_first_boot(site)
    await reports(site, name)
    await site.bench.told(name, CallbackKind.REPORT, remote="192.0.2.20")
    with pytest.raises(NothingDone):
        await first_boot.fn(hosts=[name])
    build = await site.bench.build(name)
    assert (build.held_step, build.held_from) == (23, HostState.FIRST_BOOT)
    await site.register(name)
    # It belongs in the installer, and is what the first boot makes sure of.
    assert await site.bench.retry(name) is Phase.FIRST_BOOT
    await first_boot.fn(hosts=[name], company=await site.bench.company(name))
    assert (await site.bench.host(name)).state is HostState.IN_OPERATION


async def test_nobody_sends_a_host_into_operation_without_its_reports(site: Subscribed) -> None:
    name = await at_first_boot(site)
    await site.register(name)
    await site.bench.told(name, CallbackKind.REPORT, remote="192.0.2.20")
    await first_boot.fn(hosts=[name])
    assert (await site.bench.host(name)).state is HostState.FIRST_BOOT
    # Nor does the run of a host that was due before its group named Candlepin.
    company = await claimed(site.bench, name, Phase.FIRST_BOOT)
    with pytest.raises(NothingDone, match="has not reported its packages and repositories yet"):
        await first_boot.fn(hosts=[name], company=company)
    assert (await site.bench.host(name)).state is HostState.HELD


async def test_a_group_that_names_candlepin_no_more_waits_for_nothing_of_it(
    site: Subscribed,
) -> None:
    name = await at_first_boot(site)
    await site.bench.change(HostGroup, candlepin_id=None)
    await site.bench.told(name, CallbackKind.REPORT, remote="192.0.2.20")
    async with site.bench.database.sessions.begin() as session:
        assert [one.phase for one in await due(session, 10)] == [Phase.FIRST_BOOT]
    await first_boot.fn(hosts=[name])
    assert (await site.bench.host(name)).state is HostState.IN_OPERATION


async def test_a_candlepin_that_is_away_is_asked_once_for_a_company(site: Subscribed) -> None:
    names = [await site.bench.at(number, HostState.PREPARING) for number in (1, 2, 3)]
    site.double.faults.down = True
    with pytest.raises(NothingDone):
        await prepare_subscriptions.fn(await site.bench.party(*names))
    assert site.double.calls == [("GET", "/status")]


async def test_a_host_that_does_not_report_its_packages_is_held_for_that(
    site: Subscribed,
) -> None:
    name = await at_first_boot(site)
    await site.register(name)
    await site.bench.told(name, CallbackKind.REPORT, remote="192.0.2.20")
    await site.bench.change(Build, deadline=now() - timedelta(seconds=1))
    (said,) = await hold_overdue.fn()
    assert "25 Host → Pulp: sends its package profile did not come" in said
    assert await site.bench.retry(name) is None, "it is waited for anew"
    await reports(site, name)
    await site.bench.change(Build, deadline=now() - timedelta(seconds=1))
    assert await hold_overdue.fn() == [], "late, but here"


async def test_a_company_has_to_do_with_what_one_of_its_hosts_has(site: Subscribed) -> None:
    names = [await site.bench.at(number, HostState.INSTALLING) for number in (1, 2)]
    builds = [(await site.bench.build(name)).id for name in names]

    async def needs() -> frozenset[Needs]:
        async with site.bench.database.sessions() as session:
            return await needs_of(session, builds)

    assert await needs() == {Needs.CANDLEPIN}
    await site.bench.change(HostGroup, candlepin_id=None)
    assert await needs() == frozenset()
    await site.bench.change(HostGroup, candlepin_id=site.row.id)
    await prepare_subscriptions.fn(await site.bench.party(names[0]))
    await site.register(names[0])
    await site.bench.change(HostGroup, candlepin_id=None)
    # Its group names it no more, and it is there still.
    assert await needs() == {Needs.CANDLEPIN}


async def test_a_host_that_says_nothing_is_missed_itself_first(site: Subscribed) -> None:
    name = await at_first_boot(site)
    await site.bench.change(Build, deadline=now() - timedelta(seconds=1))
    (said,) = await hold_overdue.fn()
    assert f"{name} is overdue: 30 Host → DHCP: requests the reserved address did not come" in said


async def test_a_host_that_leaves_takes_its_consumer_with_it_and_nothing_else(
    site: Subscribed,
) -> None:
    name, other = [await site.bench.at(number, HostState.INSTALLING) for number in (1, 2)]
    await prepare_subscriptions.fn(await site.bench.party(name, other))
    registration, stays = await site.register(name), await site.register(other)
    async with site.bench.database.sessions.begin() as session:
        await session.exec(sa.update(Claim).values(ended_at=now()))
        host = await named(session, name)
        await orders.decommission(session, host, asked_by="the test", at=now())
    await decommission.fn(hosts=[name])
    assert (await site.bench.host(name)).state is HostState.RETIRED
    assert set(site.double.state.consumers) == {stays.uuid}
    assert site.double.state.deleted == {registration.uuid}
    assert list(site.double.state.owners) == [OWNER]
    assert list(site.double.state.environments) == [ENVIRONMENT]
    assert await site.consumer(name) is None
    assert await site.consumer(other) is not None


async def test_a_registration_that_lands_after_the_undo_is_undone_as_well(
    site: Subscribed,
) -> None:
    name = await site.bench.at(1, HostState.INSTALLING)
    await prepare_subscriptions.fn(await site.bench.party(name))
    registration = await site.register(name)
    kept = dict(site.double.state.consumers)
    async with site.bench.database.sessions.begin() as session:
        await session.exec(sa.update(Claim).values(ended_at=now()))
        await orders.cancel(session, await named(session, name), why="the test", at=now())
    await cancel.fn(hosts=[name])
    assert not site.double.state.consumers
    # Candlepin takes the request that the gateway had sent before, and answers it now.
    site.double.state.consumers.update(kept)
    site.double.state.deleted.clear()
    async with site.bench.database.sessions.begin() as session:
        await consumers.registered(session, registration, now())
    await attend.fn()
    assert not site.double.state.consumers
