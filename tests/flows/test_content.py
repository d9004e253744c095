"""Install trees from Pulp, the real one and its double: pinned, kept up to date, tidied away."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from flows.first_boot import first_boot
from flows.inception import inception
from flows.sync_content import sync_content
from integrations.pulp import Distribution, Publication, Pulp
from inventory import builds, hosts, repositories
from inventory.life import HostState
from inventory.models import (
    Build,
    BuildOutcome,
    CallbackKind,
    HostGroup,
    InstallTree,
    Step,
    StepState,
    Subnet,
    now,
)
from inventory.models import Pulp as PulpRow
from inventory.reports import Repository
from lab.process import until
from tasks.company import NothingDone, Problem
from tasks.content import remove_unneeded_pins
from tasks.credentials import PulpCredentials
from tasks.doctor.checked import Outcome
from tasks.doctor.content import examine_pulps
from tasks.means import Pulps, use
from tasks.plan import Change, plan_hosts
from tests.elsewhere import Elsewhere, living_elsewhere
from tests.flows.bench import Bench
from tests.integrations.pulp.sites import SITES, STRANGER, Site, create_repository, new_name

# The first one on a machine installs Pulp and migrates its database.
pytestmark = pytest.mark.timeout(900)

TRIES = 5
"""Of each task: the first, and four more."""


@pytest.fixture(scope="module", params=["double", pytest.param("pulp", marks=pytest.mark.servers)])
def served(request: pytest.FixtureRequest) -> Iterator[Elsewhere[Site]]:
    with living_elsewhere(SITES[request.param]()) as site:
        yield site


@dataclass
class Content:
    """The bench's tree, in Pulp instead of on a plain server."""

    bench: Bench
    served: Elsewhere[Site]
    name: str
    """Of the tree upstream, new for each test; it is served at ks/NAME."""

    @property
    def site(self) -> Site:
        """The Pulp's levers."""
        return self.served.site

    @property
    def tree(self) -> Path:
        """The tree as upstream has it."""
        return self.site.upstream.root / self.name

    async def pulp(self) -> Pulp:
        """The worker's own client."""
        async with self.bench.database.sessions() as session:
            row = (await session.exec(select(PulpRow).where(PulpRow.name == "pulp"))).one()
        return await self.bench.means.pulps.of(row)

    async def pins(self) -> dict[str, Distribution]:
        """The pins of this tree."""
        found = await (await self.pulp()).pins()
        return {one.base_path: one for one in found if f"/ks/{self.name}/" in one.base_path}

    async def speak_as(self, user: str, password: str) -> None:
        """Who the workers are in Pulp from now on."""
        await PulpCredentials(user=user, password=password).asave("test-pulp", overwrite=True)

    async def held(self, name: str) -> Build:
        """A host that must be held; why is in its build."""
        async with self.bench.database.sessions() as session:
            host = await hosts.named(session, name)
            assert host.state is HostState.HELD
        return await self.bench.build(name)

    async def close(self, name: str) -> None:
        """End a host's build, as its first report would."""
        async with self.bench.database.sessions.begin() as session:
            build = await self.bench.build(name)
            await builds.close_build(session, build, BuildOutcome.IN_OPERATION, now())

    async def another_tree(self) -> str:
        """A second tree in the same Pulp; its name."""
        other = new_name()
        self.site.upstream.tree(other)
        async with self.bench.database.sessions.begin() as session:
            tree = (await session.exec(select(InstallTree))).one()
            same = tree.model_dump(exclude={"id", "name", "base_path", "remote"})
            remote = f"{self.site.upstream.url}{other}/"
            session.add(InstallTree(name=other, base_path=f"ks/{other}", remote=remote, **same))
        return other

    def boot_files(self) -> list[Path]:
        """What the boot server holds below ``boot``, locks apart."""
        return sorted(one for one in self.bench.root.glob("boot/*") if one.name[0] != ".")


@pytest.fixture
async def content(bench: Bench, served: Elsewhere[Site]) -> AsyncIterator[Content]:
    name = new_name()
    upstream, settings = served.site.upstream, served.site.settings()
    upstream.tree(name)
    content = Content(bench, served, name)
    await content.speak_as(settings.user, settings.password.get_secret_value())
    async with bench.database.sessions.begin() as session:
        row = PulpRow(name="pulp", url=settings.url, credentials="test-pulp")
        session.add(row)
        await session.flush()
        tree = (await session.exec(select(InstallTree))).one()
        tree.name, tree.url, tree.pulp_id = name, None, row.id
        tree.base_path, tree.remote = f"ks/{name}", f"{upstream.url}{name}/"
    yield content
    served.site.mend()
    await served.do(upstream.held.set)
    await bench.means.pulps.close()  # type: ignore[attr-defined]


async def test_a_plan_says_what_would_be_pinned_and_pins_nothing(content: Content) -> None:
    await sync_content()
    name = await content.bench.discovered(2)

    async def planned() -> tuple[Change, str]:
        (plan,) = await plan_hosts.fn([name], "plain", "web02")
        (line,) = (one for one in plan.lines if one.system == "Pulp")
        assert f"rackrise-pins/ks/{content.name}/" in plan.kickstart
        return line.change, line.words

    change, words = await planned()
    assert change is Change.LEAVE
    assert "to be pinned at rackrise-pins/" in words
    assert await content.pins() == {}
    await inception(hosts=[await content.bench.selected(1)])
    before = await content.pins()
    assert "pinned already" in (await planned())[1]
    assert await content.pins() == before


async def test_a_plan_of_a_tree_that_pulp_does_not_have_says_so(content: Content) -> None:
    name = await content.bench.discovered(1)
    (plan,) = await plan_hosts.fn([name], "plain", "web01")
    assert plan.lines[0].change is Change.UNKNOWN
    assert f"ks/{content.name}" in plan.lines[0].words
    assert not plan.can_be_done


async def test_a_build_installs_from_a_pin_on_what_is_published(content: Content) -> None:
    await sync_content()
    name = await content.bench.selected(1)
    await inception(hosts=[name])
    build = await content.bench.build(name)
    (pin,) = (await content.pins()).values()
    assert build.tree_pin == pin.base_path
    assert pin.base_path.startswith(f"rackrise-pins/ks/{content.name}/")
    assert build.tree_url == pin.base_url.rstrip("/")
    (config,) = content.bench.boot_configs()
    assert f"inst.stage2={build.tree_url}/images/install.img" in config.read_text()
    assert len(content.boot_files()) == 2


async def test_a_sync_in_the_middle_of_a_build_changes_nothing_for_it(content: Content) -> None:
    await sync_content()
    first, second = await content.bench.selected(1), await content.bench.selected(2)
    await inception(hosts=[first])
    before = await content.bench.build(first)
    content.site.upstream.edit(content.name, "1763800000", "1763800001")
    await sync_content([content.name])
    await inception(hosts=[second])
    after = await content.bench.build(second)
    assert (await content.bench.build(first)).tree_pin == before.tree_pin
    assert after.tree_pin != before.tree_pin
    assert set(await content.pins()) == {before.tree_pin, after.tree_pin}


async def test_unchanged_content_makes_no_new_version(content: Content) -> None:
    await sync_content()
    pulp = await content.pulp()
    served_before = (await pulp.distribution(f"ks/{content.name}")).publication
    await sync_content()
    assert (await pulp.distribution(f"ks/{content.name}")).publication == served_before


async def test_fifty_hosts_of_one_tree_cause_one_download(content: Content) -> None:
    await sync_content()
    await content.bench.change(Subnet, range_to="192.0.2.99")
    names = [await content.bench.selected(number) for number in range(1, 51)]
    await inception(hosts=names)
    assert len(content.bench.images.reboots) == 50
    asked = [path for path in content.site.sent() if f"/{content.name}/" in path]
    fetched = [path for path in asked if path.endswith(("vmlinuz", "initrd.img"))]
    assert len(fetched) == 2


async def test_what_no_build_needs_is_taken_away(content: Content) -> None:
    await sync_content()
    first, second = await content.bench.selected(1), await content.bench.selected(2)
    await inception(hosts=[first, second])
    await content.close(first)
    await sync_content()
    assert len(content.boot_files()) == 2, "the second host still needs them"
    await content.close(second)
    await sync_content()
    assert content.boot_files() == []
    assert len(await content.pins()) == 1, "a build may be choosing it just now"
    use(replace(content.bench.means, clock=lambda: now() + timedelta(hours=2)))
    await sync_content()
    assert await content.pins() == {}


async def test_a_pin_that_somebody_has_removed_is_made_again(content: Content) -> None:
    await sync_content()
    name = await content.bench.selected(1)
    content.bench.images.off.add(str(content.bench.temporary("52:54:00:aa:bb:01")))
    with pytest.raises(NothingDone):
        await inception(hosts=[name])  # its boot files are there, and it does not answer
    build = await content.bench.build(name)
    assert build.tree_pin is not None
    await (await content.pulp()).unpin(build.tree_pin)
    for file in content.boot_files():
        file.unlink()
    content.bench.images.off.clear()
    async with content.bench.database.sessions.begin() as session:
        await session.exec(forget_step(build, 11))
    await inception(hosts=[name])
    assert set(await content.pins()) == {build.tree_pin}
    assert len(content.boot_files()) == 2


async def test_a_pin_that_is_chosen_while_it_is_removed_is_there_in_the_end(
    content: Content,
) -> None:
    await sync_content()
    first, second = await content.bench.selected(1), await content.bench.selected(2)
    await inception(hosts=[first])
    await content.close(first)
    pin = (await content.bench.build(first)).tree_pin
    slow = Slow(content.bench.means.pulps, pin or "")
    later = replace(content.bench.means, clock=lambda: now() + timedelta(hours=2), pulps=slow)
    use(later)
    removal = asyncio.create_task(remove_unneeded_pins("pulp"))
    await asyncio.wait_for(slow.removing.wait(), 30)
    build = asyncio.create_task(inception(hosts=[second]))

    async def chosen() -> bool:
        return slow.publications_asked > 0

    await until(chosen, what="the build has chosen the pin", deadline=30, every=0.05)
    await asyncio.sleep(0.5)  # it would have looked for the pin by now, and found it
    assert (await content.bench.build(second)).tree_pin is None, "it waits for the removal"
    slow.go_on.set()
    assert await removal >= 1  # other tests have left pins in the same Pulp
    await build
    assert set(await content.pins()) == {pin} == {(await content.bench.build(second)).tree_pin}


async def test_a_content_app_that_is_down_is_tried_again_then_the_host_is_held(
    content: Content,
) -> None:
    await sync_content()
    name = await content.bench.selected(1)
    await content.served.do(content.site.stop_content)
    with pytest.raises(NothingDone):
        await inception(hosts=[name])
    build = await content.held(name)
    assert build.held_step == 11
    assert "No response from" in (build.held_reason or "")
    assert (await content.bench.steps(name))[11].attempts == TRIES
    assert content.bench.images.reboots == []
    await content.served.do(content.site.start_content)
    await inception(hosts=[name])
    assert len(content.boot_files()) == 2
    assert content.bench.images.reboots != []


async def test_a_kernel_with_another_checksum_is_found_before_the_reboot(content: Content) -> None:
    await sync_content()
    content.site.spoil(content.tree / "images/pxeboot/vmlinuz")
    name = await content.bench.selected(1)
    with pytest.raises(NothingDone):
        await inception(hosts=[name])
    build = await content.held(name)
    assert build.held_step == 11
    assert "SHA-256" in (build.held_reason or "")
    assert content.bench.images.reboots == []
    assert [one for one in content.boot_files() if "vmlinuz" in one.name] == []


async def test_a_tree_without_initrd_holds_the_host_with_the_reason(content: Content) -> None:
    content.site.upstream.edit(content.name, "initrd = images/pxeboot/initrd.img\n", "")
    await sync_content()
    name = await content.bench.selected(1)
    with pytest.raises(NothingDone):
        await inception(hosts=[name])
    build = await content.held(name)
    assert build.held_step == 9
    assert "no image is its initrd for x86_64" in (build.held_reason or "")
    assert (await content.bench.steps(name))[9].attempts == 1, "asking again would not help"


async def test_a_tree_that_another_has_replaced_is_not_taken_for_it(content: Content) -> None:
    """A version holds one tree: a sync of a second one into the same repository replaces it."""
    await sync_content()
    await content.bench.change(InstallTree, variant="BaseOS")
    await content.served.do(content.site.second_tree, content.name)
    name = await content.bench.selected(1)
    with pytest.raises(NothingDone):
        await inception(hosts=[name])
    build = await content.held(name)
    assert build.held_step == 9
    assert "no tree is for x86_64 BaseOS; there are: Toy Linux 9 x86_64 Second" in (
        build.held_reason or ""
    )


async def test_two_trees_in_one_pulp_go_each_to_its_hosts(content: Content) -> None:
    other = await content.another_tree()
    async with content.bench.database.sessions.begin() as session:
        group = (await session.exec(select(HostGroup).where(HostGroup.name == "grub"))).one()
        tree = (await session.exec(select(InstallTree).where(InstallTree.name == other))).one()
        group.install_tree_id = tree.id
    await sync_content()
    first = await content.bench.selected(1)
    second = await content.bench.selected(2, "grub")
    await inception(hosts=[first, second])
    urls = [(await content.bench.build(one)).tree_url or "" for one in (first, second)]
    assert f"/ks/{content.name}/" in urls[0]
    assert f"/ks/{other}/" in urls[1]
    assert len(content.boot_files()) == 4


async def test_a_login_that_ended_is_made_anew(content: Content) -> None:
    await sync_content()
    await content.served.do(content.site.expire_logins)
    name = await content.bench.selected(1)
    await inception(hosts=[name])
    assert (await content.bench.build(name)).tree_pin is not None


async def test_a_user_without_rights_is_told_that_missing_may_mean_hidden(
    content: Content,
) -> None:
    await sync_content()
    await content.speak_as(**STRANGER)
    name = await content.bench.selected(1)
    with pytest.raises(NothingDone):
        await inception(hosts=[name])
    build = await content.held(name)
    assert build.held_step == 9
    assert "or user stranger has no right to see it" in (build.held_reason or "")
    settings = content.site.settings()
    await content.speak_as(settings.user, settings.password.get_secret_value())
    await inception(hosts=[name])
    assert len(content.boot_files()) == 2


async def test_a_tree_without_a_remote_is_named(content: Content) -> None:
    with pytest.raises(Problem, match="no remote in Pulp: nothing-known"):
        await sync_content(["nothing-known"])


async def test_without_a_distribution_the_host_is_held_with_the_reason(content: Content) -> None:
    name = await content.bench.selected(1)
    with pytest.raises(NothingDone):
        await inception(hosts=[name])
    build = await content.held(name)
    assert build.held_step == 9
    assert f"ks/{content.name}" in (build.held_reason or "")


async def test_what_is_somebody_elses_is_left_alone_and_the_rest_is_done(content: Content) -> None:
    await create_repository(content.site, content.name)
    other = await content.another_tree()
    async with content.bench.database.sessions.begin() as session:
        session.add(PulpRow(name="away", url="http://127.0.0.1:1", credentials="nothing-there"))
    with pytest.raises(Problem) as caught:
        await sync_content()
    assert f"tree {content.name}: " in str(caught.value)
    assert "lacks the label rackrise=managed" in str(caught.value)
    assert "pins in Pulp away: there are no Pulp credentials 'nothing-there'" in str(caught.value)
    pulp = await content.pulp()
    assert (await pulp.distribution(f"ks/{other}")).publication is not None


async def test_a_worker_killed_in_mid_sync_fails_the_run_with_the_reason_and_it_goes_on(
    content: Content,
) -> None:
    site, bench = content.site, content.bench
    async with Pulp(site.settings(patience=1), sleep=site.sleep) as impatient:
        use(replace(bench.means, pulps=Only(impatient)))
        await content.served.do(site.upstream.held.clear)
        running = asyncio.create_task(sync_content())
        await until(content_asked(content), what="Pulp asks for the initrd", deadline=60, every=0.1)
        worker = await content.served.do(site.kill_worker)
        with pytest.raises(Problem, match=rf"tree {content.name}: .*no pulpcore-worker runs"):
            await running
        await content.served.do(site.upstream.held.set)
        await content.served.do(site.start_worker)
        await content.served.do(site.give_up, worker)

        async def synchronised() -> bool:
            try:
                await sync_content()
            except Problem:
                return False
            return True

        await until(synchronised, what="the next run goes through", deadline=90, every=1)
        assert (await impatient.distribution(f"ks/{content.name}")).publication is not None


async def test_reported_repositories_are_matched_and_unknown_ones_shown_as_such(
    content: Content,
) -> None:
    await sync_content()
    name = await content.bench.at(1, HostState.FIRST_BOOT)
    host = await content.bench.host(name)
    reported = [
        Repository(id="os", url=f"https://other.name/pulp/content/ks/{content.name}/os/"),
        Repository(id="epel", url="https://mirror.example.test/epel/"),
    ]
    async with content.bench.database.sessions.begin() as session:
        await repositories.keep(session, host.id, reported, source="rhsm", at=now())
    await content.bench.told(name, CallbackKind.REPORT)
    await first_boot(hosts=[name])
    async with content.bench.database.sessions() as session:
        found = {one.name: one.known_as for one in await repositories.of_host(session, host.id)}
    assert found == {
        "os": f"ks/{content.name} of Pulp pulp",
        "epel": "unknown: no Pulp of this site serves it",
    }


async def test_repositories_that_could_not_be_compared_are_compared_later(
    content: Content,
) -> None:
    await sync_content()
    name = await content.bench.at(1, HostState.FIRST_BOOT)
    host = await content.bench.host(name)
    reported = [Repository(id="epel", url="https://mirror.example.test/epel/")]
    async with content.bench.database.sessions.begin() as session:
        await repositories.keep(session, host.id, reported, source="rhsm", at=now())
    await content.bench.told(name, CallbackKind.REPORT)
    settings = content.site.settings()
    await content.speak_as(settings.user, "wrong")
    await first_boot(hosts=[name])
    assert (await content.bench.host(name)).state is HostState.IN_OPERATION
    await content.speak_as(settings.user, settings.password.get_secret_value())
    await sync_content()
    async with content.bench.database.sessions() as session:
        (kept,) = await repositories.of_host(session, host.id)
    assert kept.known_as == "unknown: no Pulp of this site serves it"


@dataclass
class Only:
    """Gives one client for every Pulp."""

    client: Pulp

    async def of(self, pulp: PulpRow) -> Pulp:
        return self.client


@dataclass
class Slow:
    """Gives clients that wait in the middle of removing one pin until they are told to go on."""

    pulps: Pulps
    pin: str
    removing: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    publications_asked: int = 0

    async def of(self, pulp: PulpRow) -> Any:
        client = await self.pulps.of(pulp)

        async def unpin(base_path: str) -> None:
            if base_path == self.pin:
                self.removing.set()
                await self.go_on.wait()
            await Pulp.unpin(client, base_path)

        async def publication_of(distribution: Distribution) -> Publication:
            self.publications_asked += 1
            return await Pulp.publication_of(client, distribution)

        changed = copy.copy(client)
        vars(changed).update(unpin=unpin, publication_of=publication_of)
        return changed


def content_asked(content: Content) -> Callable[[], Any]:
    async def asked() -> bool:
        return f"{content.name}/images/pxeboot/initrd.img" in content.site.upstream.asked

    return asked


def forget_step(build: Build, number: int) -> Any:
    mine = (col(Step.build_id) == build.id, col(Step.number) == number)
    return sa.update(Step).where(*mine).values(state=StepState.PENDING)


async def test_the_doctor_finds_a_pulp_well_and_leaves_it_as_it_was(content: Content) -> None:
    await sync_content()
    pulp = await content.pulp()
    before = [one.base_path for one in await pulp.distributions()]
    found = await examine_pulps.fn()
    assert {one.outcome for one in found} == {Outcome.OK}, found
    assert [one.check for one in found if "kernel" in one.check] == ["its kernel is there"]
    assert [one.base_path for one in await pulp.distributions()] == before


async def test_the_doctor_says_what_is_wrong_with_a_pulp(content: Content) -> None:
    (missing,) = (one for one in await examine_pulps.fn() if one.outcome is Outcome.FAILED)
    assert f"the distribution ks/{content.name}" in missing.check
    assert "rackrise content sync" in missing.advice
    await content.speak_as("nobody", "wrong")
    found = await examine_pulps.fn()
    (refused,) = (one for one in found if one.outcome is Outcome.FAILED)
    assert refused.check == "it answers, and lets us log in"
    assert "rackrise content credentials" in refused.advice
    assert found[-1].outcome is Outcome.NOT_TRIED
    await content.bench.change(PulpRow, credentials="no-such-block")
    found = await examine_pulps.fn()
    assert [one.outcome for one in found] == [Outcome.FAILED] + [Outcome.NOT_TRIED] * 3
    assert "rackrise content credentials" in found[0].advice
