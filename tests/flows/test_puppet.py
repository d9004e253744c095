"""Puppet in the flows: certificates cleaned, signed and checked, reports judged, the lost found."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa
from sqlmodel import select

from flows.attend import attend
from flows.cancel import cancel
from flows.first_boot import first_boot
from integrations.errors import Unavailable
from integrations.puppet import CertificateState, PuppetCa, PuppetSettings, identify
from inventory import hosts, orders
from inventory.arrows import Phase
from inventory.builds import certificate_token, keep_token
from inventory.certificates import release_key
from inventory.context import BuildContext, contexts
from inventory.database import AsyncSession
from inventory.due import due
from inventory.life import HostState
from inventory.models import (
    Build,
    Callback,
    CallbackKind,
    Claim,
    HostGroup,
    Puppet,
    StepState,
    now,
)
from inventory.puppet import forget_reports, keep_puppet_facts, keep_report
from tasks import certificates, desired
from tasks.attend import hold_overdue
from tasks.certificates import CertificateKeeper, clean_certificates, settle_certificates
from tasks.company import Company, NothingDone
from tasks.means import use
from tasks.plan import Change, Line, plan_hosts
from tasks.puppet import collect_reports
from tasks.road import restore
from tests.elsewhere import Elsewhere, living_elsewhere
from tests.flows.bench import Bench
from tests.integrations.puppet.sites import SITES, Site, csr

# The first one on a machine makes a CA.
pytestmark = [pytest.mark.usefixtures("bare"), pytest.mark.timeout(600)]

SAMPLES = Path(__file__).parents[2].parent / "shared" / "contracts" / "puppet-samples"
_NUMBERS = count(1)


@pytest.fixture(
    scope="module", params=["double", pytest.param("puppetserver", marks=pytest.mark.servers)]
)
def shared(request: pytest.FixtureRequest) -> Iterator[Elsewhere[Site]]:
    with living_elsewhere(SITES[request.param]()) as site:
        yield site


@dataclass
class Remote:
    """The CA's client, called where it lives."""

    shared: Elsewhere[Site]
    settings: PuppetSettings

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self.shared.site.ca, name)
        return lambda *arguments: self.shared.do(method, *arguments)

    async def of(self, puppet: Puppet) -> Any:
        return self


@dataclass
class Puppeted:
    """The bench with a Puppet, and one host that it is to configure."""

    bench: Bench
    ca: Remote
    name: str
    vardir: Path

    async def asks(self, token: str | None, pem: str = "") -> str:
        """The host asks for a certificate; returns its request."""
        pem = pem or csr(self.name, token=token)
        answer = await self.ca.shared.do(self.ca.shared.site.submit, self.name, pem)
        assert answer.status_code == 200, answer.text
        return pem

    async def token(self) -> str:
        """The right one."""
        build = await self.bench.build(self.name)
        token = desired.build_token(self.bench.means.token_key, build.id)
        async with self.bench.database.sessions.begin() as session:
            await keep_token(session, build, token)
        return certificate_token(token)

    async def state(self) -> CertificateState | None:
        """What the CA has of the host."""
        there = await self.ca.status(self.name)
        return there.state if there else None

    async def told(self, sample: str) -> None:
        """Puppet tells of the host what it once told of another."""
        body = report(sample, self.name)
        async with self.bench.database.sessions.begin() as session:
            host = await hosts.named(session, self.name)
            key = identify(body.encode()).key
            await keep_report(session, host, key, body, source="main", at=now())

    async def has_signed(self) -> None:
        """The host has its certificate."""
        await self.asks(await self.token())
        await settle_certificates.fn()
        assert await self.state() is CertificateState.SIGNED

    async def company(self) -> Company:
        """The host on its own, as a flow run takes it along."""
        return await self.bench.party(self.name)


def report(sample: str, name: str) -> str:
    file = SAMPLES / sample
    if not file.is_file():
        pytest.skip(f"../shared/contracts/puppet-samples/{sample} is missing")
    return file.read_text().replace("n1.lab.test", name).replace("n2.lab.test", name)


@pytest.fixture
async def world(bench: Bench, shared: Elsewhere[Site], tmp_path: Path) -> Puppeted:
    number = next(_NUMBERS)
    vardir = tmp_path / "vardir"
    (vardir / "reports").mkdir(parents=True)
    async with bench.database.sessions.begin() as session:
        puppet = Puppet(
            name="main",
            url="https://puppet.lab.example:8140",
            certname="puppet.lab.example",
            credentials="unused",
            vardir=str(vardir),
        )
        session.add(puppet)
        await session.flush()
        for group in await session.exec(select(HostGroup)):
            group.puppet_id = puppet.id
    ca = Remote(shared, shared.site.ca.settings)
    use(replace(bench.means, puppets=ca))
    return Puppeted(bench, ca, f"web{number:02d}.lab.example", vardir)


async def at(world: Puppeted, state: HostState) -> None:
    """Put the world's host there."""
    number = int(world.name[3:5])
    assert await world.bench.at(number, state) == world.name


@pytest.mark.parametrize("signed", [True, False], ids=["certificate", "request"])
async def test_what_a_former_life_has_left_is_cleaned(world: Puppeted, signed: bool) -> None:
    await at(world, HostState.PREPARING)
    await world.asks(None)
    if signed:
        await world.ca.sign(world.name)
    await clean_certificates.fn(await world.company())
    assert await world.state() is None
    (made,) = await world.bench.effects(world.name)
    assert (made.system, made.key, made.after) == ("Puppet CA", world.name, None)
    assert made.before is not None
    assert made.before["state"] == ("signed" if signed else "requested")
    # Again, after a crash: nothing is there, which is what is wanted.
    await clean_certificates.fn(await world.company())


async def test_a_plan_says_what_would_be_cleaned_and_cleans_nothing(world: Puppeted) -> None:
    await at(world, HostState.SELECTED)

    async def planned() -> Line:
        (plan,) = await plan_hosts.fn([world.name], "", "")
        (line,) = (one for one in plan.lines if one.system == "Puppet CA")
        return line

    line = await planned()
    assert (line.change, line.key) == (Change.LEAVE, world.name)
    await world.asks(None)
    await world.ca.sign(world.name)
    line = await planned()
    assert line.change is Change.REMOVE
    assert "former life" in line.words
    assert await world.state() is CertificateState.SIGNED


async def test_what_the_host_has_asked_for_in_this_life_is_left_alone(world: Puppeted) -> None:
    await at(world, HostState.INSTALLING)
    await world.asks(await world.token())
    await clean_certificates.fn(await world.company())
    assert await world.state() is CertificateState.REQUESTED


@pytest.mark.parametrize("signed", [True, False], ids=["certificate", "request"])
async def test_a_host_that_is_given_up_leaves_nothing_at_the_ca(
    world: Puppeted, signed: bool
) -> None:
    await at(world, HostState.PREPARING)
    await clean_certificates.fn(await world.company())
    await world.bench.advance(world.name, HostState.INSTALLING)
    if signed:
        await world.has_signed()
    else:
        await world.asks(await world.token())
    async with world.bench.database.sessions.begin() as session:
        await session.exec(sa.update(Claim).values(ended_at=now()))
        host = await hosts.named(session, world.name)
        await orders.cancel(session, host, why="the test", at=now())
    await cancel.fn(hosts=[world.name])
    assert (await world.bench.host(world.name)).state is HostState.CANCELLED
    assert await world.state() is None


async def test_the_puppet_servers_own_certificate_is_never_touched(world: Puppeted) -> None:
    await at(world, HostState.PREPARING)
    await world.bench.change(Puppet, certname=world.name)
    await world.asks(None)
    with pytest.raises(NothingDone, match="is the Puppet server main itself"):
        await clean_certificates.fn(await world.company())
    assert await world.state() is CertificateState.REQUESTED


async def test_a_ca_that_is_down_fails_the_step_and_is_worth_a_retry(world: Puppeted) -> None:
    await at(world, HostState.PREPARING)
    settings = world.ca.settings.model_copy(update={"url": "https://127.0.0.1:1"})
    # The double has no certificate; its own transport would not fail.
    transport = None if settings.certificate else httpx.AsyncHTTPTransport()
    async with PuppetCa(settings, transport=transport) as away:
        use(replace(world.bench.means, puppets=Only(away)))
        with pytest.raises(NothingDone, match=r"Puppet CA at https://127\.0\.0\.1:1") as caught:
            await clean_certificates.fn(await world.company())
    assert caught.value.retriable
    use(replace(world.bench.means, puppets=world.ca))
    await clean_certificates.fn(await world.company())


async def test_a_request_that_autosign_missed_is_signed_by_its_token(world: Puppeted) -> None:
    await at(world, HostState.INSTALLING)
    await world.asks(await world.token())
    await settle_certificates.fn()
    assert await world.state() is CertificateState.SIGNED
    step = (await world.bench.steps(world.name))[24]
    assert step.state is StepState.DONE
    assert step.seen.startswith("signed until 2")
    assert [one.system for one in await world.bench.effects(world.name)] == ["Puppet CA"]


async def test_a_wrong_token_is_taken_away_so_that_the_right_one_can_come(
    world: Puppeted,
) -> None:
    await at(world, HostState.INSTALLING)
    right = await world.token()
    await world.asks("wrong")
    await settle_certificates.fn()
    assert await world.state() is None
    step = (await world.bench.steps(world.name))[24]
    assert "does not have the token of its build" in step.seen
    await world.asks(right)
    await settle_certificates.fn()
    assert await world.state() is CertificateState.SIGNED


async def test_a_host_that_installs_anew_is_signed_anew(world: Puppeted) -> None:
    await at(world, HostState.INSTALLING)
    await world.has_signed()
    first = await world.ca.status(world.name)
    async with world.bench.database.sessions.begin() as session:
        build = await session.merge(await world.bench.build(world.name))
        await release_key(session, build)  # it has fetched its kickstart once more
    await settle_certificates.fn()
    assert await world.state() is None
    await world.asks(await world.token())
    await settle_certificates.fn()
    second = await world.ca.status(world.name)
    assert second.state is CertificateState.SIGNED
    assert second.fingerprint != first.fingerprint


async def test_a_host_that_is_not_being_built_is_not_signed(world: Puppeted) -> None:
    await at(world, HostState.PREPARING)
    await world.asks(await world.token())
    await settle_certificates.fn()
    assert await world.state() is CertificateState.REQUESTED


async def test_a_host_that_puppet_has_configured_is_in_operation(world: Puppeted) -> None:
    await at(world, HostState.FIRST_BOOT)
    await world.has_signed()
    await told_first(world)
    await world.told("report.changed.n1.yaml")
    async with world.bench.database.sessions.begin() as session:
        host = await hosts.named(session, world.name)
        await keep_puppet_facts(session, host, {"a": 1}, collected=None, source="x", at=now())
    await first_boot.fn(hosts=[world.name])
    assert (await world.bench.host(world.name)).state is HostState.IN_OPERATION
    arrows = await world.bench.steps(world.name)
    assert {arrows[n].state for n in (24, 31, 32, 33, 34)} == {StepState.DONE}
    assert {arrows[n].evidence for n in (24, 31, 32, 33, 34)} == {"observed"}


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ("report.failed.n1.http.yaml", "Exec[break-me]"),
        ("report.compilefail-cachedcatalog.n1.http.yaml", "Could not retrieve catalog"),
    ],
)
async def test_a_host_that_puppet_could_not_configure_is_held_with_the_reason(
    world: Puppeted, sample: str, words: str
) -> None:
    await at(world, HostState.FIRST_BOOT)
    await world.has_signed()
    await told_first(world)
    await world.told(sample)
    with pytest.raises(NothingDone):
        await first_boot.fn(hosts=[world.name])
    build = await world.bench.build(world.name)
    assert (await world.bench.host(world.name)).state is HostState.HELD
    assert build.held_step == 33
    assert words in (build.held_reason or "")
    # The manifests are mended, the agent has run again.
    await world.told("report.changed.n2.http.yaml")
    assert await world.bench.retry(world.name) is Phase.FIRST_BOOT
    await first_boot.fn(hosts=[world.name], company=await world.bench.company(world.name))
    assert (await world.bench.host(world.name)).state is HostState.IN_OPERATION


async def test_a_host_without_certificate_is_held(world: Puppeted) -> None:
    await at(world, HostState.FIRST_BOOT)
    await told_first(world)
    await world.told("report.changed.n1.yaml")
    with pytest.raises(NothingDone):
        await first_boot.fn(hosts=[world.name])
    build = await world.bench.build(world.name)
    assert build.held_step == 24
    assert f"has nothing of {world.name}" in (build.held_reason or "")
    # The installer's part of it is over: only the first boot would find it signed.
    assert await world.bench.retry(world.name) is Phase.FIRST_BOOT


async def test_the_first_boot_is_due_when_host_and_puppet_have_spoken(world: Puppeted) -> None:
    await at(world, HostState.FIRST_BOOT)
    assert await phases(world) == []
    await told_first(world)
    assert await phases(world) == []
    await world.told("report.changed.n1.yaml")
    assert await phases(world) == ["first-boot"]


async def test_what_was_told_while_nobody_listened_is_found_at_the_server(
    world: Puppeted,
) -> None:
    await at(world, HostState.FIRST_BOOT)
    await told_first(world)
    kept = world.vardir / "reports" / world.name
    kept.mkdir()
    (kept / "202611270001.yaml").write_text(report("report.changed.n1.yaml", world.name))
    (kept / "202611270002.yaml").write_text("no report")
    facts = world.vardir / "server_data/facts"
    facts.mkdir(parents=True)
    (facts / f"{world.name}.json").write_text(f'{{"name": "{world.name}", "values": {{"a": 1}}}}')
    await world.bench.change(Build, deadline=now() - timedelta(seconds=1))
    await attend.fn()
    assert await phases(world) == ["first-boot"]
    arrows = await world.bench.steps(world.name)
    assert arrows[31].seen == "1 facts from what Puppet main has kept"
    assert await collect_reports.fn() == 0, "it is known now"


async def test_what_a_former_life_has_left_at_the_server_is_no_word_of_this_one(
    world: Puppeted,
) -> None:
    await at(world, HostState.FIRST_BOOT)
    await told_first(world)
    kept = world.vardir / "reports" / world.name
    kept.mkdir()
    old = kept / "202611260001.yaml"
    old.write_text(report("report.changed.n1.yaml", world.name))
    hours_ago = (now() - timedelta(hours=3)).timestamp()
    os.utime(old, (hours_ago, hours_ago))
    assert await collect_reports.fn() == 1
    assert await phases(world) == []
    async with world.bench.database.sessions.begin() as session:
        host = await hosts.named(session, world.name)
        long_ago = now() - timedelta(days=1)
        await keep_puppet_facts(session, host, {"a": 1}, collected=long_ago, source="x", at=now())
    assert (await world.bench.steps(world.name))[31].state is StepState.PENDING


async def test_a_ca_that_is_away_is_waited_for_once_and_not_for_each_host(
    world: Puppeted,
) -> None:
    await at(world, HostState.INSTALLING)
    for number in range(60, 80):  # beyond those that are at the shared CA
        await world.bench.at(number, HostState.INSTALLING)
    away = Away()
    use(replace(world.bench.means, puppets=away))
    await settle_certificates.fn()
    assert 1 <= away.asked <= 16, "those that were under way together"


async def test_silence_of_puppet_holds_the_host(world: Puppeted) -> None:
    await at(world, HostState.FIRST_BOOT)
    await world.has_signed()
    await told_first(world)
    await world.bench.change(Build, deadline=now() - timedelta(seconds=1))
    (said,) = await hold_overdue.fn()
    assert f"{world.name} is overdue: 31 Host → Puppet: sends initial facts did not come" in said
    assert await world.bench.retry(world.name) is None, "it is waited for anew"


async def test_old_reports_are_forgotten_but_for_the_newest(world: Puppeted) -> None:
    await at(world, HostState.FIRST_BOOT)
    for sample in ("report.changed.n1.yaml", "report.failed.n1.http.yaml"):
        await world.told(sample)
    async with world.bench.database.sessions.begin() as session:
        assert await forget_reports(session, now() + timedelta(days=1)) == 0, "nobody has read them"
    await world.bench.change(Callback, handled_at=now())
    async with world.bench.database.sessions.begin() as session:
        assert await forget_reports(session, now() - timedelta(days=1)) == 0
        assert await forget_reports(session, now() + timedelta(days=1)) == 1


@dataclass
class Only:
    """Gives one client for every Puppet."""

    ca: PuppetCa

    async def of(self, puppet: Puppet) -> PuppetCa:
        return self.ca


@dataclass
class Away:
    """A CA that does not answer."""

    asked: int = 0

    async def of(self, puppet: Puppet) -> PuppetCa:
        self.asked += 1
        await asyncio.sleep(0.05)
        raise Unavailable(system="Puppet CA", address=puppet.url, operation="answer", said="no")


async def told_first(world: Puppeted) -> None:
    number = int(world.name[3:5])
    await world.bench.told(world.name, CallbackKind.REPORT, remote=f"192.0.2.{19 + number}")


async def phases(world: Puppeted) -> list[str]:
    async with world.bench.database.sessions.begin() as session:
        return [one.phase for one in await due(session, 10)]


async def test_a_look_that_is_old_cleans_no_certificate_of_the_present(
    world: Puppeted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another flow has cleaned the former one, and the host has got its new one meanwhile."""
    await at(world, HostState.INSTALLING)
    await world.has_signed()
    before = await world.ca.status(world.name)

    async def old(session: AsyncSession, ids: Iterable[UUID]) -> dict[UUID, BuildContext]:
        found = await contexts(session, ids)
        for context in found.values():
            session.expunge(context.build)
            context.build.certificate_stale = True
        return found

    monkeypatch.setattr(certificates, "contexts", old)
    await certificates.look_at_certificates.fn(await world.company())
    assert await world.ca.status(world.name) == before


async def test_a_name_that_another_host_has_taken_keeps_its_certificate(world: Puppeted) -> None:
    """Signed by hand, so that its own effect still says no more than that the name was cleaned."""
    bench, name = world.bench, world.name
    await at(world, HostState.INSTALLING)
    await world.has_signed()
    made = [one for one in await bench.effects(name) if one.system == "Puppet CA"]
    second = await bench.selected(int(name[3:5]) + 40)
    async with bench.database.sessions.begin() as session:
        await hosts.take_name(session, await hosts.named(session, name), "db01.lab.example")
        await hosts.take_name(session, await hosts.named(session, second), name)
    await clean_certificates.fn(await world.company())
    assert await world.state() is None
    await world.asks(None)
    await world.ca.sign(name)
    ca: Any = world.ca
    restored = await restore(None, CertificateKeeper(ca, made[-1].place), made)
    assert (restored.left, restored.words) == (True, f"{name} is left: {name} has it now")
    assert await world.state() is CertificateState.SIGNED
