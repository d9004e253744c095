"""What the client does when Pulp is slow, away, or answers otherwise than it should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from starlette.staticfiles import StaticFiles

from integrations.errors import Busy, Refused, Unavailable, Unverified
from integrations.pulp import Publication, Pulp, PulpSettings, Remote, Repository
from integrations.pulp.resources import LABEL
from lab.doubles.pulp import PulpDouble, pulp_double
from tests.integrations.pulp.upstream import simulate_tree

URL = "http://pulp.example.test:24817"
TASK = "/pulp/api/v3/tasks/1/"
NOW = datetime(2026, 11, 23, tzinfo=UTC)


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


@pytest.fixture
async def double(tmp_path: Path) -> AsyncIterator[PulpDouble]:
    double = PulpDouble(transport=httpx.ASGITransport(StaticFiles(directory=tmp_path)))
    double.url = URL
    double.content_url = "http://pulp.example.test:24816/pulp/content/"
    double.queue.add_worker()
    yield double
    await double.close()


def client_of(double: PulpDouble, **changes: object) -> Pulp:
    transport = httpx.ASGITransport(double.api)
    return Pulp(double.settings(**changes), transport=transport)


def answering(handler: Callable[[httpx.Request], httpx.Response], **changes: object) -> Pulp:
    settings = PulpSettings.model_validate({"url": URL, **changes})
    return Pulp(settings, transport=httpx.MockTransport(handler))


async def test_many_requests_cost_one_login(double: PulpDouble) -> None:
    async with client_of(double) as pulp:
        await asyncio.gather(*(pulp.distributions() for _ in range(50)))
        assert double.logins == 1
        await double.expire_logins()
        await asyncio.gather(*(pulp.distributions() for _ in range(50)))
        assert double.logins == 2


async def test_a_password_that_was_changed_is_tried_once_and_not_for_ever(
    double: PulpDouble,
) -> None:
    async with client_of(double) as pulp:
        await pulp.distributions()
        double.users["admin"] = ("another", "admin")
        await double.expire_logins()
        with pytest.raises(Refused, match="Invalid username/password"):
            await pulp.distributions()


async def test_the_password_is_in_no_error(double: PulpDouble) -> None:
    async with client_of(double, password="planted-secret") as pulp:
        with pytest.raises(Refused) as caught:
            await pulp.distributions()
    assert "planted-secret" not in repr(caught.value)
    assert "planted-secret" not in repr(pulp.settings)


async def test_all_pages_are_read_although_pulp_names_itself_otherwise() -> None:
    asked: list[httpx.URL] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        offset = int(request.url.params.get("offset", 0))
        following = f"http://inside:1{request.url.path}?offset={offset + 100}"
        page = [shown_distribution(f"d{offset}")]
        return httpx.Response(
            200, json={"next": following if offset < 200 else None, "results": page}
        )

    found = await answering(handler).distributions()
    assert [one.name for one in found] == ["d0", "d100", "d200"]
    assert {url.host for url in asked} == {"pulp.example.test"}


async def test_the_double_pages_as_well(double: PulpDouble, tmp_path: Path) -> None:
    async with client_of(double) as pulp:
        publication = await _published(pulp, tmp_path)
        for number in range(101):
            await pulp.ensure_distribution(f"d{number}", f"ks/d{number}", publication)
        assert len(await pulp.distributions()) == 101


async def test_a_lost_race_for_a_name_ends_with_the_others_object() -> None:
    remote = {"pulp_href": "/r/", "name": "r", "url": "http://x/", "policy": "immediate"}
    there: list[object] = []

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"next": None, "results": there})
        there.append(remote)  # by somebody else, between our look and our creation
        return httpx.Response(400, json={"name": ["This field must be unique."]})

    assert (await answering(handler).ensure_remote("r", "http://x/")).href == "/r/"


async def test_a_race_that_is_lost_in_the_task_ends_with_the_others_distribution() -> None:
    theirs = shown_distribution("d") | {"publication": "/p/"}
    there: list[object] = []

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(202, json={"task": TASK})
        if request.url.path == TASK:
            there.append(theirs)
            said = "{'name': [ErrorDetail(string='This field must be unique.', code='unique')]}"
            return httpx.Response(200, json=task("failed", error={"description": said}))
        return httpx.Response(200, json={"next": None, "results": there})

    pulp = answering(handler)
    made = await pulp.ensure_distribution("d", "ks/d", Publication(href="/p/", version="/v/"))
    assert made.href == "/d/"


async def test_of_two_trees_one_must_be_chosen(double: PulpDouble, tmp_path: Path) -> None:
    double.faults.second_tree = True
    async with client_of(double) as pulp:
        publication = await _published(pulp, tmp_path)
        distribution = await pulp.ensure_distribution("toy", "ks/toy", publication)
        with pytest.raises(Refused, match=r"2 trees are for x86_64 any variant; there are: .*Sec"):
            await pulp.boot_tree(distribution, architecture="x86_64")
        chosen = await pulp.boot_tree(distribution, architecture="x86_64", variant="Second")
        assert chosen.variants == ("Second",)


async def _published(pulp: Pulp, upstream: Path) -> Publication:
    await simulate_tree(upstream / "tree")
    remote = await pulp.ensure_remote("toy", "http://mirror.example.test/tree/")
    synced = await pulp.sync(await pulp.ensure_repository("toy"), remote)
    return await pulp.ensure_publication(synced.version)


def shown_distribution(name: str) -> dict[str, object]:
    return {
        "pulp_href": f"/{name}/",
        "name": name,
        "base_path": f"ks/{name}",
        "base_url": f"http://pulp.example.test:24816/pulp/content/ks/{name}/",
        "pulp_created": NOW.isoformat(),
    }


def task(state: str, **more: object) -> dict[str, object]:
    return {"pulp_href": TASK, "state": state, "started_at": NOW.isoformat(), **more}


def waiting_for(
    shown: Callable[[], dict[str, object]],
    clock: Clock,
    *,
    workers: int,
    missing: datetime | None,
    admin: bool = True,
) -> Pulp:
    """A client that syncs, on a Pulp with that many workers and perhaps a missing one."""

    def handler(request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/pulp/api/v3/")
        if request.method == "POST":
            return httpx.Response(202, json={"task": TASK})
        if path == "status/":
            alive = [{"name": "1@pulp", "last_heartbeat": NOW.isoformat()}] * workers
            return httpx.Response(200, json={"online_workers": alive, "online_content_apps": alive})
        if path == "workers/" and not admin:
            return httpx.Response(403, json={"detail": "You do not have permission."})
        if path == "workers/":
            lost = [{"name": "2@pulp", "last_heartbeat": missing.isoformat()}] if missing else []
            return httpx.Response(200, json={"next": None, "results": lost})
        if path == "tasks/":
            return httpx.Response(200, json={"next": None, "results": []})
        return httpx.Response(200, json=shown())

    settings = PulpSettings(url=URL, patience=60, sync_timeout=600)
    transport = httpx.MockTransport(handler)
    return Pulp(settings, transport=transport, sleep=clock.sleep, clock=clock)


async def _sync(pulp: Pulp) -> None:
    repository = Repository.model_validate(
        {
            "pulp_href": "/r/",
            "name": "toy",
            "latest_version_href": "/r/versions/0/",
            "pulp_labels": {LABEL: "managed"},
        }
    )
    remote = Remote(href="/m/", name="toy", url="http://mirror.example.test/", policy="immediate")
    await pulp.sync(repository, remote)


async def test_a_task_that_does_not_end_is_given_up_with_what_it_did() -> None:
    clock = Clock()
    line = {"message": "Downloading Artifacts", "code": "x", "state": "running", "done": 3}
    shown = task("running", progress_reports=[{**line, "total": 7}])
    with pytest.raises(Unavailable, match=r"running, Downloading Artifacts 3/7: not ended within"):
        await _sync(waiting_for(lambda: shown, clock, workers=1, missing=None))
    assert 600 <= clock.now < 610


async def test_looks_at_a_task_become_rarer() -> None:
    clock = Clock()
    with pytest.raises(Unavailable):
        await _sync(waiting_for(lambda: task("running"), clock, workers=1, missing=None))
    assert clock.sleeps[0] == 0.25
    assert max(clock.sleeps) == 5
    assert len(clock.sleeps) < 150


async def test_a_missing_worker_is_named_after_patience_and_not_after_the_deadline() -> None:
    clock = Clock()
    pulp = waiting_for(lambda: task("running"), clock, workers=1, missing=NOW)
    with pytest.raises(Unavailable, match=r"no progress for 6. s, and missing is worker 2@pulp"):
        await _sync(pulp)
    assert clock.now < 70


async def test_a_worker_that_was_missing_before_is_not_blamed() -> None:
    clock = Clock()
    long_ago = NOW - timedelta(hours=1)
    pulp = waiting_for(lambda: task("running"), clock, workers=1, missing=long_ago)
    with pytest.raises(Unavailable, match="not ended within"):
        await _sync(pulp)


async def test_a_user_who_is_not_told_of_lost_workers_waits_for_the_deadline() -> None:
    clock = Clock()
    pulp = waiting_for(lambda: task("running"), clock, workers=1, missing=NOW, admin=False)
    with pytest.raises(Unavailable, match="not ended within"):
        await _sync(pulp)
    assert clock.now >= 600


async def test_without_workers_it_is_said_so() -> None:
    clock = Clock()
    shown = {**task("waiting"), "started_at": None}
    with pytest.raises(Unavailable, match="is waiting: no pulpcore-worker runs: start one"):
        await _sync(waiting_for(lambda: shown, clock, workers=0, missing=None))


async def test_progress_resets_patience() -> None:
    clock = Clock()

    def shown() -> dict[str, object]:
        done = {"message": "x", "code": "x", "state": "running", "done": int(clock.now / 50)}
        return task("running", progress_reports=[done | {"total": None}])

    with pytest.raises(Unavailable, match="not ended within"):
        await _sync(waiting_for(shown, clock, workers=1, missing=NOW))


@pytest.mark.parametrize("state", ["canceled", "skipped"])
async def test_a_task_that_ends_otherwise_is_an_error(state: str) -> None:
    pulp = waiting_for(lambda: task(state), Clock(), workers=1, missing=None)
    with pytest.raises(Unverified, match=f"the task was {state}"):
        await _sync(pulp)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (httpx.Response(502, html="<title>Bad Gateway</title>"), Unavailable, "502, Bad Gateway"),
        (httpx.Response(503, text="later"), Busy, "503, later"),
        (httpx.Response(429), Busy, "429"),
        (httpx.Response(500, text=""), Unavailable, "500, no words"),
        (httpx.Response(200, text="<html>a portal</html>"), Unverified, "another shape"),
        (httpx.Response(200, json={"results": [{"x": 1}], "next": None}), Unverified, "another"),
    ],
)
async def test_other_answers_have_their_branch(
    answer: httpx.Response, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        await answering(lambda _: answer).distributions()


async def test_an_upstream_that_is_away_is_unavailable() -> None:
    # The real one says the same, after ten seconds (sample 60).
    async with pulp_double() as double, Pulp(double.settings()) as pulp:
        away = await pulp.ensure_remote("away", "http://127.0.0.1:1/")
        with pytest.raises(Unavailable, match=r"Cannot connect to host 127\.0\.0\.1:1"):
            await pulp.sync(await pulp.ensure_repository("away"), away)


async def test_nobody_there_is_unavailable() -> None:
    async with Pulp(PulpSettings(url="http://127.0.0.1:1")) as pulp:
        with pytest.raises(Unavailable, match="could not tell how it is"):
            await pulp.status()


@pytest.mark.parametrize("root", ["pulp/lab/api/v3", "/pulp/lab/api/v3/", "/pulp/lab/api/v3"])
async def test_the_root_of_the_api_is_configurable(root: str) -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json={"next": None, "results": []})

    await answering(handler, api_root=root).distributions()
    assert asked == ["/pulp/lab/api/v3/distributions/rpm/rpm/"]


def test_settings_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="'pulp' is not an http or https URL"):
        PulpSettings(url="pulp")
