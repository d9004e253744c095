"""The Pulps that the contract is tried on, each with the few levers that its tests need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from integrations.pulp import (
    Distribution,
    Publication,
    Pulp,
    PulpSettings,
    Remote,
    Synced,
    Version,
)
from lab.doubles.pulp import PulpFaults, pulp_double
from lab.doubles.serve import served
from lab.process import until
from lab.servers.pulp import pulp
from tests.integrations.pulp.upstream import (
    Upstream,
    build_tree,
    describe,
    sha256,
    simulate_tree,
)

STRANGER = {"user": "stranger", "password": "knows-nobody-here"}
"""A user without any role."""
_NUMBERS = count(1)


@dataclass
class Site:
    """One Pulp and its upstream."""

    settings: Callable[..., PulpSettings]
    upstream: Upstream
    expire_logins: Callable[[], Awaitable[None]]
    kill_worker: Callable[[], Awaitable[str]]
    """Kills the only worker with what it does; gives the name that Pulp knows it by."""
    start_worker: Callable[[], Awaitable[object]]
    give_up: Callable[[str], Awaitable[None]]
    """Has Pulp notice at once that a worker is lost."""
    stop_content: Callable[[], Awaitable[None]]
    start_content: Callable[[], Awaitable[None]]
    sent: Callable[[], list[str]]
    """Files that the content app was asked for and had."""
    spoil: Callable[[Path], None]
    """Has the content app send other bytes for a file of an upstream tree; for good."""
    second_tree: Callable[[str], Awaitable[None]]
    """Synchronises another tree, with the variant Second, on top of what is served at ks/NAME."""
    mend: Callable[[], None]
    """Ends what would go wrong with other trees too."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    """Awaited between looks at a task."""


@dataclass
class Served:
    """A tree on its way from upstream to a path of Pulp's content app."""

    name: str
    tree: Path
    synced: Synced
    publication: Publication
    distribution: Distribution


def new_name() -> str:
    return f"toy-{next(_NUMBERS)}"


async def sync(site: Site, pulp: Pulp, name: str) -> Synced:
    remote = await pulp.ensure_remote(name, f"{site.upstream.url}{name}/")
    return await pulp.sync(await pulp.ensure_repository(name, keep_versions=1), remote)


async def serve(site: Site, pulp: Pulp, name: str) -> Served:
    """Bring a tree that is upstream already to ks/NAME."""
    synced = await sync(site, pulp, name)
    publication = await pulp.ensure_publication(synced.version)
    distribution = await pulp.ensure_distribution(name, f"ks/{name}", publication)
    return Served(name, site.upstream.root / name, synced, publication, distribution)


async def _hurry(seconds: float) -> None:
    """The double has nothing to do that takes time."""
    await asyncio.sleep(seconds / 20)


@asynccontextmanager
async def _upstream(build: Callable[[Path], Awaitable[None]]) -> AsyncIterator[Upstream]:
    with TemporaryDirectory() as scratch:
        directory = Path(scratch)
        await build(directory / "pattern")
        (directory / "served").mkdir()
        upstream = Upstream(directory / "served", directory / "pattern")
        async with served(upstream.app) as upstream.url:
            yield upstream
            upstream.held.set()


@asynccontextmanager
async def double_site() -> AsyncIterator[Site]:
    async with _upstream(simulate_tree) as upstream, pulp_double() as double:
        double.users["stranger"] = (STRANGER["password"], "none")

        async def kill_worker() -> str:
            (worker,) = double.queue.workers
            double.queue.kill(worker)
            return worker

        async def start_worker() -> None:
            double.queue.add_worker()

        async def give_up(worker: str) -> None:
            double.queue.give_up(worker)

        async def second_tree(name: str) -> None:
            await _add_tree(double.settings(), upstream, name)

        def mend() -> None:
            double.faults = PulpFaults()

        yield Site(
            mend=mend,
            sent=lambda: list(double.sent),
            spoil=lambda file: double.faults.wrong.add(f"images/pxeboot/{file.name}"),
            second_tree=second_tree,
            settings=double.settings,
            upstream=upstream,
            expire_logins=double.expire_logins,
            kill_worker=kill_worker,
            start_worker=start_worker,
            give_up=give_up,
            stop_content=double.stop_content,
            start_content=double.start_content,
            sleep=_hurry,
        )


@asynccontextmanager
async def real_site() -> AsyncIterator[Site]:
    with TemporaryDirectory(prefix="pulp-") as directory:
        async with _upstream(build_tree) as upstream, pulp(Path(directory), worker_ttl=9) as server:
            user = {"username": STRANGER["user"], "password": STRANGER["password"]}
            await _created(server.settings(), "users/", user)

            async def kill_worker() -> str:
                (worker,) = server.workers
                return await server.kill_worker(worker)

            async def second_tree(name: str) -> None:
                await _add_tree(server.settings(), upstream, name)

            yield Site(
                mend=lambda: None,
                sent=server.sent,
                spoil=lambda file: server.spoil(sha256(file)),
                second_tree=second_tree,
                settings=server.settings,
                upstream=upstream,
                expire_logins=server.expire_logins,
                kill_worker=kill_worker,
                start_worker=server.start_worker,
                give_up=server.give_up,
                stop_content=server.stop_content,
                start_content=server.start_content,
            )


async def create_remote(site: Site, name: str, url: str, retries: int | None = None) -> Remote:
    """Make a remote as somebody else would.

    Args:
        site: where.
        name: of the remote.
        url: of its upstream.
        retries: of a download that fails; None and 0: three, which take up to 15 s.
    """
    body = {"name": name, "url": url, "policy": "immediate", "max_retries": retries}
    return Remote.model_validate(await _created(site.settings(), "remotes/rpm/rpm/", body))


async def create_repository(site: Site, name: str) -> None:
    """Make a repository as somebody else would."""
    await _created(site.settings(), "repositories/rpm/rpm/", {"name": name})


async def _add_tree(settings: PulpSettings, upstream: Upstream, name: str) -> None:
    """Synchronise a second tree into a repository, keeping the first, and serve both."""
    other = new_name()
    describe(upstream.tree(other), content=other)
    upstream.edit(other, "variants = BaseOS", "variants = Second")
    upstream.edit(other, "[variant-BaseOS]", "[variant-Second]")
    upstream.edit(other, "id = BaseOS", "id = Second")
    async with Pulp(settings) as client:
        repository = await client.ensure_repository(name)
        remote = await client.ensure_remote(other, f"{upstream.url}{other}/")
        body = {"remote": remote.href, "sync_policy": "additive"}
        await _started(settings, f"{repository.href}sync/", body)
        now = await client.ensure_repository(name)
        version = Version.model_validate(await _shown(settings, now.latest_version))
        publication = await client.ensure_publication(version)
        await client.ensure_distribution(name, f"ks/{name}", publication)


async def _started(settings: PulpSettings, href: str, body: object) -> None:
    """Start a task as somebody else would, and wait for its end."""
    auth = (settings.user, settings.password.get_secret_value())
    async with httpx.AsyncClient(base_url=settings.url, auth=auth, timeout=60) as http:
        answer = await http.post(href, json=body)
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        task = answer.json()["task"]

        async def completed() -> bool:
            state = (await http.get(task)).json()
            assert state["state"] != "failed", state["error"]
            return bool(state["state"] == "completed")

        await until(completed, what=f"{href} has ended", deadline=60, every=0.3)


async def _shown(settings: PulpSettings, href: str) -> object:
    auth = (settings.user, settings.password.get_secret_value())
    async with httpx.AsyncClient(base_url=settings.url, auth=auth, timeout=60) as http:
        return (await http.get(href)).json()


async def _created(settings: PulpSettings, mount: str, body: object) -> object:
    auth = (settings.user, settings.password.get_secret_value())
    async with httpx.AsyncClient(auth=auth, timeout=60) as http:
        answer = await http.post(f"{settings.url}/pulp/api/v3/{mount}", json=body)
    assert answer.status_code == httpx.codes.CREATED, answer.text
    return answer.json()


SITES = {"double": double_site, "pulp": real_site}
