"""The Pulp client against the recorded exchanges of a real server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from integrations.errors import (
    Conflict,
    OutsideError,
    Refused,
    Unavailable,
    Unsupported,
)
from integrations.pulp import (
    Distribution,
    Publication,
    Pulp,
    PulpSettings,
    Remote,
    Repository,
    Version,
)
from integrations.pulp.refusals import refusal, said
from integrations.pulp.resources import LABEL
from integrations.treeinfo import TreeFile

SAMPLES = Path(__file__).parents[3].parent / "shared" / "contracts" / "pulp-samples.jsonl"
URL = "http://pulp.example.test:24817"
UPSTREAM = "http://mirror.example.test/"
NONE = 3
"""The sample of an empty list."""
NO_TASKS = 70


def sample(number: int) -> dict[str, Any]:
    if not SAMPLES.is_file():
        pytest.skip("../shared/contracts/pulp-samples.jsonl is missing")
    found: dict[str, Any] = json.loads(SAMPLES.read_text().splitlines()[number - 1])
    assert found["n"] == number
    return found


def answer(recorded: dict[str, Any]) -> httpx.Response:
    body = recorded["body"]
    content = body if isinstance(body, str) else json.dumps(body)
    headers = {"content-type": recorded["content_type"] or "application/json"}
    return httpx.Response(recorded["status"], content=content, headers=headers)


class Replay(httpx.AsyncBaseTransport):
    """Answers with samples, one after the other.

    A sample that was asked for elsewhere is given as ``(path, number)``, and a single object of a
    list as ``(path, number, index)``.
    """

    def __init__(self, *numbers: int | tuple[str, int] | tuple[str, int, int]) -> None:
        self._left = list(numbers)
        self.bodies: list[object] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert self._left, f"one request too many: {request.method} {request.url}"
        wanted = self._left.pop(0)
        number = wanted if isinstance(wanted, int) else wanted[1]
        recorded = sample(number)
        path = httpx.URL(recorded["url"]).path if isinstance(wanted, int) else wanted[0]
        assert (request.method, request.url.path) == (recorded["method"], path)
        if isinstance(wanted, tuple) and len(wanted) == 3:
            recorded["body"] = recorded["body"]["results"][wanted[2]]
        if isinstance(wanted, int) and recorded["request"] is not None:
            self.bodies.append((json.loads(request.content), recorded["request"]))
        return answer(recorded)

    @property
    def is_used_up(self) -> bool:
        return not self._left


async def _no_sleep(_: float) -> None:
    pass


def replayed(*numbers: int | tuple[str, int] | tuple[str, int, int]) -> tuple[Pulp, Replay]:
    replay = Replay(*numbers)
    return Pulp(PulpSettings(url=URL), transport=replay, sleep=_no_sleep), replay


def remote() -> Remote:
    return Remote.model_validate(sample(4)["body"])


def repository() -> Repository:
    return Repository.model_validate(sample(6)["body"])


def ours(number: int = 6) -> Repository:
    """A recorded repository with our mark, which none had when it was recorded."""
    found = Repository.model_validate(sample(number)["body"])
    return found.model_copy(update={"labels": {LABEL: "managed"}})


def publication() -> Publication:
    return Publication.model_validate(sample(15)["body"])


def distribution() -> Distribution:
    return Distribution.model_validate(sample(19)["body"]["results"][0])


PUBLICATIONS = "/pulp/api/v3/publications/rpm/rpm/"


async def test_a_remote_and_a_repository_are_created() -> None:
    pulp, replay = replayed(3, 4, 5, 6)
    assert await pulp.ensure_remote("toy-el9", UPSTREAM) == remote()
    assert await pulp.ensure_repository("toy-el9") == repository()
    assert replay.is_used_up


async def test_a_remote_and_a_repository_are_found() -> None:
    pulp, replay = replayed(21, 22)
    assert await pulp.ensure_remote("toy-el9", UPSTREAM) == remote()
    assert (await pulp.ensure_repository("toy-el9")).latest_version.endswith("/versions/1/")
    assert replay.is_used_up


async def test_a_sync_ends_with_its_version_though_first_it_is_not_available() -> None:
    pulp, replay = replayed(NO_TASKS, 7, 8, 9, 10, 11, 12)
    told: list[Sequence[str]] = []

    async def on_progress(lines: Sequence[Any]) -> None:
        told.append([f"{line.code} {line.done}" for line in lines])

    synced = await pulp.sync(ours(), remote(), on_progress)
    assert (synced.version.number, synced.changed) == (1, True)
    assert "sync.downloading.artifacts 3" in told[0]
    assert "sync.downloading.artifacts 7" in told[1]
    assert replay.is_used_up


async def test_a_sync_without_news_makes_no_version() -> None:
    pulp, replay = replayed(NO_TASKS, 23, 24, 25, 26)
    synced = await pulp.sync(ours(), remote())
    assert (synced.version.number, synced.changed) == (1, False)
    assert replay.is_used_up


async def test_a_version_is_published_and_distributed() -> None:
    version = sample(12)["body"]
    pulp, replay = replayed(
        (PUBLICATIONS, NONE), 13, 14, 15, 16, 17, 18, (httpx.URL(distribution().href).path, 19, 0)
    )
    published = await pulp.ensure_publication(Version.model_validate(version))
    assert published == publication()
    made = await pulp.ensure_distribution("toy-el9", "ks/toy-el9", published)
    assert made.base_url == "http://pulp.example.test:24816/pulp/content/ks/toy-el9/"
    assert replay.is_used_up


async def test_a_tree_is_found_with_nested_artifacts() -> None:
    pulp, replay = replayed(15, 20)
    tree = await pulp.boot_tree(distribution(), architecture="x86_64", variant="BaseOS")
    assert tree.kernel == TreeFile(
        path="images/pxeboot/vmlinuz",
        sha256="824cca8757edfe71c8f162d500db994a9ce7c35f89aafa2789c961e92ec6bb72",
    )
    assert tree.initrd.sha256.startswith("0e01d1e5")
    assert tree.stage2 == "images/install.img"
    assert tree.stage2_sha256 is not None
    assert tree.stage2_sha256.startswith("84072c5b")
    assert replay.is_used_up


@pytest.mark.parametrize("artifact", [None, "/pulp/api/v3/artifacts/01a2037d/"])
async def test_a_tree_is_found_with_other_forms_of_artifacts(artifact: str | None) -> None:
    trees = sample(20)["body"]
    for image in trees["results"][0]["images"]:
        image["artifact"] = artifact

    async def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("distribution_trees/"):
            return httpx.Response(200, json=trees)
        return answer(sample(15))

    pulp = Pulp(PulpSettings(url=URL), transport=httpx.MockTransport(handler))
    tree = await pulp.boot_tree(distribution(), architecture="x86_64")
    assert tree.kernel.sha256.startswith("824cca87")


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (1, Refused, "Authentication credentials were not provided. (asked as user who)"),
        (2, Refused, "Invalid username/password. (asked as user who)"),
        (35, Conflict, "name: This field must be unique."),
        (36, Conflict, "name: This field must be unique."),
        (37, Conflict, "name: This field must be unique."),
        (38, Conflict, "base_path: This field must be unique."),
        (39, Conflict, "base_path: Overlaps with an existing distribution."),
        (40, Refused, "base_path: Relative path is not in canonical form. /ks2/"),
        (41, Refused, "url: This field is required."),
        (42, Refused, "url: The url 'nonsense' is not valid."),
        (43, Refused, "nonsense: Unexpected field"),
        (44, Refused, "HTTP 400, JSON parse error"),
        (45, Refused, "No RpmRepository matches the given query. (it is not there, or user who"),
        (46, Refused, "Not found. (it is not there, or user who has no right to see it"),
        (47, Unsupported, "HTTP 404, Not Found (is the API root right"),
        (48, Unsupported, "HTTP 301"),
        (49, Refused, "HTTP 400, Invalid Filter: 'nme'"),
        (50, Refused, "HTTP 400, URI not valid: /x/"),
        (51, Unsupported, "HTTP 405"),
        (55, Refused, "remote: This field is required since a remote is not set"),
        (66, Refused, "state: The only acceptable value for 'state' is 'canceled'."),
        (71, Refused, "repository: Invalid hyperlink - Object does not exist."),
    ],
)
def test_a_refusal_is_read(number: int, kind: type[OutsideError], words: str) -> None:
    error = refusal(answer(sample(number)), user="who", address=URL, operation="do it")
    assert isinstance(error, kind), repr(error)
    assert words in str(error)


def test_an_error_page_is_read_by_its_title() -> None:
    assert said(answer(sample(47))) == "Not Found"


@pytest.mark.parametrize(
    ("started", "ended", "kind", "words"),
    [
        (58, (59, 60), Unavailable, "Cannot connect to host dead.example.test:1"),
        (63, (64,), Refused, "404, message='File not found'"),
    ],
)
async def test_a_failed_upstream_is_told_without_its_traceback(
    started: int, ended: Sequence[int], kind: type[OutsideError], words: str
) -> None:
    pulp, replay = replayed(NO_TASKS, started, *ended)
    there = ours(54)
    with pytest.raises(kind) as caught:
        await pulp.sync(there, remote())
    assert words in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert "site-packages" not in str(caught.value)
    assert replay.is_used_up


async def test_the_status_is_read_without_login() -> None:
    pulp, _ = replayed(74)
    status = await pulp.status()
    assert [worker.name for worker in status.workers] == ["23317@pulp", "23316@pulp"]
