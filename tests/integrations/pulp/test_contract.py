"""One contract for the real Pulp and its double: what the client promises, tried on both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from integrations.bootfetch import FetchLimits, fetch_boot_file, part_of
from integrations.errors import Conflict, Refused, Unavailable, Unverified
from integrations.pulp import Progress, Pulp, pin_path, serving
from integrations.records import BootFile, Outcome
from integrations.treeinfo import TreeFile
from lab.images.treeinfo import IMAGES
from lab.process import until
from tests.integrations.pulp.sites import (
    SITES,
    STRANGER,
    Served,
    Site,
    create_remote,
    create_repository,
    new_name,
    serve,
    sync,
)
from tests.integrations.pulp.upstream import describe, sha256

# The first one on a machine installs Pulp and migrates its database.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=["double", pytest.param("pulp", marks=pytest.mark.servers)],
)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with SITES[request.param]() as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pulp(site: Site) -> AsyncIterator[Pulp]:
    async with Pulp(site.settings(), sleep=site.sleep) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def name(site: Site) -> str:
    """A tree that is upstream and not yet in Pulp."""
    name = new_name()
    site.upstream.tree(name)
    return name


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def toy(site: Site, pulp: Pulp) -> Served:
    """A tree that is served already, for tests that leave it as it is."""
    name = new_name()
    site.upstream.tree(name)
    return await serve(site, pulp, name)


async def test_a_pulp_in_order_has_workers_and_content_apps(pulp: Pulp) -> None:
    status = await pulp.status()
    assert status.workers
    assert status.content_apps


async def test_a_tree_arrives_with_checksums_and_its_files_are_served(
    site: Site, pulp: Pulp, name: str
) -> None:
    served = await serve(site, pulp, name)
    assert served.synced.changed
    assert served.synced.version.number == 1
    found = await pulp.boot_tree(served.distribution, architecture="x86_64", variant="BaseOS")
    expected = {
        kind: TreeFile(path=p, sha256=sha256(served.tree / p)) for kind, p in IMAGES.items()
    }
    assert found.kernel == expected["kernel"]
    assert found.initrd == expected["initrd"]
    assert (found.stage2, found.stage2_sha256) == (
        expected["mainimage"].path,
        expected["mainimage"].sha256,
    )
    base = served.distribution.base_url
    async with httpx.AsyncClient(base_url=base) as http:
        kernel = await http.get(found.kernel.path)
        assert kernel.content == (served.tree / found.kernel.path).read_bytes()
        part = await http.get(found.kernel.path, headers={"range": "bytes=10-"})
        assert (part.status_code, part.content) == (206, kernel.content[10:])
        assert (await http.get("repodata/repomd.xml")).status_code == 200


async def test_unchanged_content_makes_no_version_and_no_publication(
    site: Site, pulp: Pulp, name: str
) -> None:
    first = await serve(site, pulp, name)
    second = await serve(site, pulp, name)
    assert not second.synced.changed
    assert second.synced.version == first.synced.version
    assert second.publication == first.publication
    assert second.distribution == first.distribution


async def test_changed_content_makes_a_version_and_the_distribution_moves_on(
    site: Site, pulp: Pulp, name: str
) -> None:
    first = await serve(site, pulp, name)
    describe(first.tree, content="newer")
    second = await serve(site, pulp, name)
    assert second.synced.changed
    assert second.synced.version.number == 2
    assert await pulp.publication_of(second.distribution) == second.publication
    assert second.publication != first.publication
    assert second.distribution.base_url == first.distribution.base_url


async def test_progress_is_told_while_a_sync_runs(site: Site, pulp: Pulp, name: str) -> None:
    told: list[tuple[Progress, ...]] = []

    async def on_progress(lines: tuple[Progress, ...]) -> None:
        told.append(lines)

    remote = await pulp.ensure_remote(name, f"{site.upstream.url}{name}/")
    repository = await pulp.ensure_repository(name)
    site.upstream.held.clear()
    running = asyncio.create_task(pulp.sync(repository, remote, on_progress))
    await _asked_for(site, f"{name}/images/pxeboot/initrd.img")
    site.upstream.held.set()
    await running
    codes = {line.code for lines in told for line in lines}
    assert "sync.downloading.artifacts" in codes
    assert all(line.total is None or line.done <= line.total for lines in told for line in lines)


async def test_a_sync_that_runs_already_is_joined(site: Site, pulp: Pulp, name: str) -> None:
    site.upstream.held.clear()
    first = asyncio.create_task(sync(site, pulp, name))
    await _asked_for(site, f"{name}/images/pxeboot/initrd.img")
    second = asyncio.create_task(sync(site, pulp, name))
    await asyncio.sleep(0.5)
    site.upstream.held.set()
    assert await first == await second


async def test_a_pin_stays_when_the_distribution_moves_on(
    site: Site, pulp: Pulp, name: str
) -> None:
    first = await serve(site, pulp, name)
    path = pin_path(first.distribution, first.publication)
    pin = await pulp.pin(path, first.publication.href)
    assert pin.base_path == path
    assert await pulp.pin(path, first.publication.href) == pin
    before = await pulp.boot_tree(pin, architecture="x86_64")
    kernel = (first.tree / before.kernel.path).read_bytes()
    describe(first.tree, content="newer")
    # Only one version is kept, so that the first one lives by its pin alone.
    moved = await serve(site, pulp, name)
    assert await pulp.boot_tree(pin, architecture="x86_64") == before
    assert await pulp.boot_tree(moved.distribution, architecture="x86_64") != before
    async with httpx.AsyncClient() as http:
        assert (await http.get(pin.base_url + before.kernel.path)).content == kernel
    assert pin in await pulp.pins()
    await pulp.unpin(pin.base_path)
    await pulp.unpin(pin.base_path)
    assert pin not in await pulp.pins()
    with pytest.raises(Refused, match="none has this base path"):
        await pulp.distribution(pin.base_path)


async def test_only_pins_are_unpinned(pulp: Pulp, toy: Served) -> None:
    with pytest.raises(Conflict, match="lacks the label rackrise=pin"):
        await pulp.unpin(toy.distribution.base_path)
    assert await pulp.distribution(toy.distribution.base_path) == toy.distribution


async def test_reported_repositories_are_known_by_their_path(pulp: Pulp, toy: Served) -> None:
    known = await pulp.distributions()
    assert serving(f"https://other.name/pulp/content/ks/{toy.name}", known) == toy.distribution
    assert serving(f"{toy.distribution.base_url}repodata/", known) == toy.distribution
    assert serving(f"https://other.name/pulp/content/ks/{toy.name}0/", known) is None
    assert serving("https://mirror.example.test/el9/", known) is None


async def test_a_tree_is_chosen_by_architecture_and_variant(pulp: Pulp, toy: Served) -> None:
    with pytest.raises(Refused, match="no tree is for aarch64 any variant; there are: Toy Linux 9"):
        await pulp.boot_tree(toy.distribution, architecture="aarch64")
    with pytest.raises(Refused, match="no tree is for x86_64 AppStream"):
        await pulp.boot_tree(toy.distribution, architecture="x86_64", variant="AppStream")


async def test_a_tree_without_initrd_is_refused(site: Site, pulp: Pulp, name: str) -> None:
    site.upstream.edit(name, "initrd = images/pxeboot/initrd.img\n", "")
    served = await serve(site, pulp, name)
    with pytest.raises(Refused, match="no image is its initrd for x86_64"):
        await pulp.boot_tree(served.distribution, architecture="x86_64")


async def test_a_repository_without_tree_is_refused(site: Site, pulp: Pulp, name: str) -> None:
    (site.upstream.root / name / ".treeinfo").unlink()
    served = await serve(site, pulp, name)
    with pytest.raises(Refused, match=r"shows no tree there; and .*\.treeinfo.* HTTP 404"):
        await pulp.boot_tree(served.distribution, architecture="x86_64")


async def test_a_wrong_checksum_upstream_makes_no_version(
    site: Site, pulp: Pulp, name: str
) -> None:
    kernel = site.upstream.root / name / IMAGES["kernel"]
    site.upstream.edit(name, sha256(kernel), "0" * 64)
    await create_remote(site, name, f"{site.upstream.url}{name}/", retries=1)
    with pytest.raises(Unverified, match="failed validation due to checksum"):
        await sync(site, pulp, name)
    assert (await pulp.ensure_repository(name)).latest_version.endswith("/versions/0/")


async def test_an_upstream_that_has_no_repository_is_refused(site: Site, pulp: Pulp) -> None:
    repository = await pulp.ensure_repository(new_name())
    empty = await pulp.ensure_remote(new_name(), f"{site.upstream.url}nothing/")
    with pytest.raises(Refused, match="404, message='Not Found'"):
        await pulp.sync(repository, empty)


async def test_a_remote_that_changes_is_changed_and_somebody_elses_is_not(
    site: Site, pulp: Pulp
) -> None:
    ours = await pulp.ensure_remote(new_name(), "http://one.example.test/")
    moved = await pulp.ensure_remote(ours.name, "http://two.example.test/")
    assert (moved.href, moved.url) == (ours.href, "http://two.example.test/")
    theirs = new_name()
    await create_remote(site, theirs, "http://three.example.test/")
    same = await pulp.ensure_remote(theirs, "http://three.example.test/")
    assert same.labels == {}
    with pytest.raises(Conflict, match="lacks the label rackrise=managed") as caught:
        await pulp.ensure_remote(theirs, "http://four.example.test/")
    assert caught.value.owner == f"whoever made {theirs} in Pulp"


async def test_somebody_elses_repository_is_never_mirrored_over(
    site: Site, pulp: Pulp, name: str
) -> None:
    await create_repository(site, name)
    with pytest.raises(Conflict, match="lacks the label rackrise=managed") as caught:
        await sync(site, pulp, name)
    assert caught.value.owner == f"whoever made {name} in Pulp"
    left = await pulp.ensure_repository(name)
    assert left.latest_version.endswith("/versions/0/")
    assert left.labels == {}


async def test_many_that_create_the_same_get_the_same(site: Site, pulp: Pulp, toy: Served) -> None:
    race = new_name()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Pulp(site.settings())) for _ in range(3)]
        remotes = await asyncio.gather(
            *(client.ensure_remote(race, "http://one.example.test/") for client in clients * 2)
        )
        distributions = await asyncio.gather(
            *(client.ensure_distribution(race, f"ks/{race}", toy.publication) for client in clients)
        )
    assert len({one.href for one in remotes}) == 1
    assert len({one.href for one in distributions}) == 1


async def test_a_base_path_of_another_distribution_names_its_owner(pulp: Pulp, toy: Served) -> None:
    for path in (f"ks/{toy.name}", f"ks/{toy.name}/below"):
        with pytest.raises(Conflict) as caught:
            await pulp.ensure_distribution(new_name(), path, toy.publication)
        assert caught.value.owner == f"the distribution {toy.name} at ks/{toy.name}"


async def test_an_expired_login_is_renewed_without_anybody_noticing(site: Site) -> None:
    async with Pulp(site.settings()) as pulp:
        await pulp.distributions()
        await site.expire_logins()
        # A creation, because it needs the CSRF token of the new login as well.
        first = await pulp.ensure_remote(new_name(), "http://one.example.test/")
        await site.expire_logins()
        assert await pulp.ensure_remote(first.name, first.url) == first


async def test_a_wrong_password_is_refused(site: Site) -> None:
    async with Pulp(site.settings(password="wrong")) as pulp:
        with pytest.raises(Refused, match=r"log in as admin: HTTP 401, Invalid username/password"):
            await pulp.distributions()


async def test_without_rights_it_is_said_that_missing_may_mean_hidden(
    site: Site, toy: Served
) -> None:
    async with Pulp(site.settings(**STRANGER)) as stranger:
        assert await stranger.distributions() == []
        with pytest.raises(Refused, match="or user stranger has no right to see it"):
            await stranger.distribution(toy.distribution.base_path)
        with pytest.raises(Refused, match="or user stranger has no right to see it"):
            await stranger.publication_of(toy.distribution)
        with pytest.raises(Refused, match=r"HTTP 403.*user stranger lacks the role"):
            await stranger.ensure_remote(new_name(), "http://one.example.test/")


async def test_only_an_administrator_is_told_of_lost_workers(site: Site) -> None:
    settings = site.settings(**STRANGER)
    auth = (STRANGER["user"], STRANGER["password"])
    async with httpx.AsyncClient(auth=auth, timeout=60) as http:
        answer = await http.get(f"{settings.url}/pulp/api/v3/workers/?missing=true")
    assert answer.status_code == httpx.codes.FORBIDDEN, answer.text


async def test_a_tree_is_found_without_any_right(site: Site, pulp: Pulp, toy: Served) -> None:
    known = await pulp.boot_tree(toy.distribution, architecture="x86_64", variant="BaseOS")
    async with Pulp(site.settings(**STRANGER)) as stranger:
        assert known == await stranger.boot_tree(
            toy.distribution, architecture="x86_64", variant="BaseOS"
        )
        with pytest.raises(Refused, match="no variant AppStream; it has: BaseOS"):
            await stranger.boot_tree(toy.distribution, architecture="x86_64", variant="AppStream")


async def test_a_content_app_that_is_down_is_unavailable_and_comes_back(
    site: Site, pulp: Pulp, toy: Served
) -> None:
    known = await pulp.boot_tree(toy.distribution, architecture="x86_64")
    async with Pulp(site.settings(**STRANGER)) as stranger:
        await site.stop_content()
        with pytest.raises(Unavailable, match=r"could not read \.treeinfo"):
            await stranger.boot_tree(toy.distribution, architecture="x86_64")
        assert await pulp.boot_tree(toy.distribution, architecture="x86_64") == known
        await site.start_content()
        assert await stranger.boot_tree(toy.distribution, architecture="x86_64") == known


async def test_a_download_that_broke_off_is_gone_on_with(
    site: Site, pulp: Pulp, toy: Served, tmp_path: Path
) -> None:
    info = await pulp.boot_tree(toy.distribution, architecture="x86_64")
    whole = (toy.tree / info.kernel.path).read_bytes()
    url = toy.distribution.base_url + info.kernel.path
    file = BootFile(path="boot/toy-vmlinuz", url=url, sha256=info.kernel.sha256)
    part = part_of(tmp_path / file.path)
    part.parent.mkdir()
    part.write_bytes(whole[:100])
    asked: list[str | None] = []

    async def note(request: httpx.Request) -> None:
        asked.append(request.headers.get("range"))

    async with httpx.AsyncClient(event_hooks={"request": [note]}) as http:
        assert await fetch_boot_file(http, tmp_path, file, FetchLimits()) is Outcome.CREATED
    assert asked == ["bytes=100-"]
    assert (tmp_path / file.path).read_bytes() == whole


async def test_a_worker_killed_in_mid_sync_is_named_and_the_next_sync_goes_on(
    site: Site, name: str
) -> None:
    async with Pulp(site.settings(patience=1), sleep=site.sleep) as pulp:
        site.upstream.held.clear()
        running = asyncio.create_task(sync(site, pulp, name))
        await _asked_for(site, f"{name}/images/pxeboot/initrd.img")
        worker = await site.kill_worker()
        with pytest.raises(Unavailable, match=r"is running.*no pulpcore-worker runs: start one"):
            await running
        await site.start_worker()
        await until(lambda: _has_worker(pulp), what="the worker is there", deadline=60, every=0.3)
        with pytest.raises(Unavailable, match=f"missing is worker {worker} .last heard of"):
            await sync(site, pulp, name)
        site.upstream.held.set()
        await site.give_up(worker)
        await until(lambda: _synced(site, pulp, name), what="it goes on", deadline=60, every=0.3)
        assert (await sync(site, pulp, name)).version.number == 1


async def _asked_for(site: Site, path: str) -> None:
    async def asked() -> bool:
        return path in site.upstream.asked

    await until(asked, what=f"Pulp asks for {path}", deadline=60)


async def _has_worker(pulp: Pulp) -> bool:
    return len((await pulp.status()).workers) > 0


async def _synced(site: Site, pulp: Pulp, name: str) -> bool:
    try:
        return (await sync(site, pulp, name)).version.number > 0
    except Unavailable:
        return False
