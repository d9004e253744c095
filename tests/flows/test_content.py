"""Install trees from Pulp's double: pinned for each build, kept up to date, tidied away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from flows.inception import inception
from flows.sync_content import sync_content
from integrations.pulp import Pulp
from inventory import builds, hosts
from inventory.life import HostState
from inventory.models import Build, BuildOutcome, InstallTree, now
from inventory.models import Pulp as PulpRow
from lab.doubles.pulp import PulpDouble, pulp_double
from lab.doubles.serve import served
from tasks.company import NothingDone, Problem
from tasks.credentials import PulpCredentials
from tasks.means import use
from tests.flows.bench import Bench
from tests.integrations.pulp.upstream import Upstream, simulate_tree

TREE = "labos"


@dataclass
class Content:
    """The bench's tree, in Pulp instead of on a plain server."""

    bench: Bench
    double: PulpDouble
    upstream: Upstream

    async def pulp(self) -> Pulp:
        """The worker's own client."""
        async with self.bench.database.sessions() as session:
            row = (await session.exec(select(PulpRow))).one()
        return await self.bench.means.pulps.of(row)

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

    def boot_files(self) -> list[Path]:
        """What the boot server holds below ``boot``, locks apart."""
        return sorted(one for one in self.bench.root.glob("boot/*") if one.name[0] != ".")


@pytest.fixture
async def content(bench: Bench, tmp_path: Path) -> AsyncIterator[Content]:
    for part in ("upstream", "pattern-of"):
        (tmp_path / part).mkdir()
    await simulate_tree(tmp_path / "pattern-of" / "pattern")
    upstream = Upstream(tmp_path / "upstream", tmp_path / "pattern-of" / "pattern")
    upstream.tree(TREE)
    async with served(upstream.app) as upstream.url, pulp_double() as double:
        settings = double.settings()
        await PulpCredentials(user=settings.user, password=settings.password).asave(
            "test-pulp", overwrite=True
        )
        async with bench.database.sessions.begin() as session:
            row = PulpRow(name="pulp", url=settings.url, credentials="test-pulp")
            session.add(row)
            await session.flush()
            tree = (await session.exec(select(InstallTree))).one()
            tree.url, tree.pulp_id, tree.base_path = None, row.id, "ks/labos"
            tree.remote = f"{upstream.url}{TREE}/"
        yield Content(bench, double, upstream)
        upstream.held.set()


async def test_a_build_installs_from_a_pin_on_what_is_published(content: Content) -> None:
    await sync_content()
    name = await content.bench.selected(1)
    await inception(hosts=[name])
    build = await content.bench.build(name)
    assert build.tree_pin is not None
    assert build.tree_pin.startswith("rackrise-pins/ks/labos/")
    assert build.tree_url == f"{content.double.content_url}{build.tree_pin}"
    (config,) = content.bench.boot_configs()
    assert f"inst.stage2={build.tree_url}/images/install.img" in config.read_text()
    assert len(content.boot_files()) == 2


async def test_a_sync_in_the_middle_of_a_build_changes_nothing_for_it(content: Content) -> None:
    await sync_content()
    first, second = await content.bench.selected(1), await content.bench.selected(2)
    await inception(hosts=[first])
    before = await content.bench.build(first)
    content.upstream.edit(TREE, "1763800000", "1763800001")
    await sync_content([TREE])
    await inception(hosts=[second])
    after = await content.bench.build(second)
    assert (await content.bench.build(first)).tree_pin == before.tree_pin
    assert after.tree_pin != before.tree_pin
    pins = {one.base_path for one in await (await content.pulp()).pins()}
    assert pins == {before.tree_pin, after.tree_pin}


async def test_unchanged_content_makes_no_new_version(content: Content) -> None:
    await sync_content()
    pulp = await content.pulp()
    served_before = (await pulp.distribution("ks/labos")).publication
    await sync_content()
    assert (await pulp.distribution("ks/labos")).publication == served_before


async def test_many_hosts_of_one_tree_cause_one_download(content: Content) -> None:
    await sync_content()
    content.bench.images.deaf.clear()
    names = [await content.bench.selected(number) for number in range(1, 11)]
    await inception(hosts=names)
    fetched = [path for path in content.double.sent if path.endswith(("vmlinuz", "initrd.img"))]
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
    assert len(await (await content.pulp()).pins()) == 1, "a build may be choosing it just now"
    use(replace(content.bench.means, clock=lambda: now() + timedelta(hours=2)))
    await sync_content()
    assert await (await content.pulp()).pins() == []


async def test_a_content_app_that_is_down_holds_the_host_and_it_goes_on_afterwards(
    content: Content,
) -> None:
    await sync_content()
    name = await content.bench.selected(1)
    await content.double.stop_content()
    with pytest.raises(NothingDone):
        await inception(hosts=[name])
    build = await content.held(name)
    assert build.held_step == 11
    assert "No response" in (build.held_reason or "") or "Connect" in (build.held_reason or "")
    assert content.bench.images.reboots == []
    await content.double.start_content()
    await inception(hosts=[name])
    assert len(content.boot_files()) == 2
    assert content.bench.images.reboots != []


async def test_a_kernel_with_another_checksum_is_found_before_the_reboot(content: Content) -> None:
    await sync_content()
    content.double.faults.wrong.add("images/pxeboot/vmlinuz")
    name = await content.bench.selected(1)
    with pytest.raises(NothingDone):
        await inception(hosts=[name])
    assert (await content.held(name)).held_step == 11
    assert content.bench.images.reboots == []
    assert [one for one in content.boot_files() if "vmlinuz" in one.name] == []


async def test_a_repository_with_two_trees_asks_for_the_variant(content: Content) -> None:
    await sync_content()
    content.double.faults.second_tree = True
    name = await content.bench.selected(1)
    with pytest.raises(NothingDone):
        await inception(hosts=[name])
    build = await content.held(name)
    assert build.held_step == 9
    assert "2 trees" in (build.held_reason or "")


async def test_a_login_that_ended_is_made_anew(content: Content) -> None:
    await sync_content()
    await content.double.expire_logins()
    name = await content.bench.selected(1)
    await inception(hosts=[name])
    assert (await content.bench.build(name)).tree_pin is not None


async def test_a_tree_without_a_remote_is_named(content: Content) -> None:
    with pytest.raises(Problem, match="no remote in Pulp: nothing-known"):
        await sync_content(["nothing-known"])


async def test_without_a_distribution_the_host_is_held_with_the_reason(content: Content) -> None:
    name = await content.bench.selected(1)
    with pytest.raises(NothingDone):
        await inception(hosts=[name])
    build = await content.held(name)
    assert build.held_step == 9
    assert "ks/labos" in (build.held_reason or "")
