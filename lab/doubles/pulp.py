"""Pulp's double: the parts of API and content app that Rackrise uses, in this process.

It synchronises from a real upstream and serves what it fetched, so that a simulated site installs
from it; it passes the contract tests of the real one (``tests/integrations/pulp``). It differs
where nobody may rely on the real one: packages stay at upstream's paths.
"""

from __future__ import annotations

import asyncio
import base64
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID

import httpx
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from integrations.pulp import PulpSettings
from lab.doubles.pulp_content import Content, fetch
from lab.doubles.pulp_tasks import PulpTask, TaskQueue
from lab.doubles.serve import served

__all__ = ["PulpDouble", "PulpFaults", "pulp_double"]

_API = "/pulp/api/v3/"
_CONTENT = "/pulp/content/"
_SYNC = "pulp_rpm.app.tasks.synchronizing.synchronize"
_KINDS = ("remotes", "repositories", "publications", "distributions")
_FILTERS = {"name", "base_path", "repository_version", "repository"}
_NOT_FILTERS = {"limit", "offset", "ordering", "pulp_label_select"}
_UNIQUE = {"remotes": ("name",), "repositories": ("name",), "distributions": ("name", "base_path")}
_PAGE = 100
_FORBIDDEN = "You do not have permission to perform this action."

Object = dict[str, Any]


@dataclass
class PulpFaults:
    """What goes wrong, each switchable at any time."""

    busy: int = 0
    """So many requests to the API are answered with 503."""
    wrong: set[str] = field(default_factory=set)
    """Files that the content app serves with other bytes, by path in their tree."""
    cut: set[str] = field(default_factory=set)
    """Files of which it sends only the first half before it hangs up."""
    second_tree: bool = False
    """Versions hold two distribution trees: the real one of today never does."""


@dataclass
class _Refusal(Exception):
    status: int
    body: object


class PulpDouble:
    """State and handlers; ``api`` and ``content`` are ASGI apps.

    Args:
        seed: of the delays.
        latency: shortest and longest time in seconds that the API takes for an answer.
        work: likewise for a task.
        transport: asks upstream; None: the network.

    Attributes:
        users: name to password and role: ``admin``, ``viewer`` or ``none``.
        logins: how often somebody logged in.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        latency: tuple[float, float] = (0, 0),
        work: tuple[float, float] = (0, 0),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.faults = PulpFaults()
        self.users = {"admin": ("lab-only", "admin")}
        self.logins = 0
        self.sent: list[str] = []
        """Files that the content app was asked for and had, by path below its prefix."""
        self.queue = TaskQueue()
        self.url = self.content_url = ""
        self._random = random.Random(f"Pulp {seed}")
        self._latency, self._work = latency, work
        self._upstream = httpx.AsyncClient(transport=transport, trust_env=False)
        self._sessions: dict[str, str] = {}
        self._objects: dict[str, dict[str, Object]] = {kind: {} for kind in _KINDS}
        self._versions: dict[str, Content] = {}
        self._numbers = count(1)
        self._content_server = AsyncExitStack()
        methods = ["GET", "POST", "PATCH", "DELETE"]
        self.api = Starlette(routes=[Route("/{path:path}", self._answer, methods=methods)])
        self.content = Starlette(routes=[Route(_CONTENT + "{path:path}", self._file)])

    def settings(self, **changes: object) -> PulpSettings:
        """How its administrator reaches it."""
        admin = {"user": "admin", "password": SecretStr(self.users["admin"][0])}
        return PulpSettings.model_validate({"url": self.url, **admin, **changes})

    async def expire_logins(self) -> None:
        """End all logins."""
        self._sessions.clear()

    async def start_content(self) -> None:
        """Serve content, also again after ``stop_content``."""
        place = httpx.URL(self.content_url)
        await self._content_server.enter_async_context(
            served(self.content, place.host, place.port or 0)
        )

    async def stop_content(self) -> None:
        """Refuse connections to the content app."""
        await self._content_server.aclose()

    async def close(self) -> None:
        """End tasks and servers."""
        await self.queue.stop()
        await self._content_server.aclose()
        await self._upstream.aclose()

    async def _answer(self, request: Request) -> Response:
        await asyncio.sleep(self._random.uniform(*self._latency))
        if self.faults.busy > 0:
            self.faults.busy -= 1
            return PlainTextResponse("no worker is free", 503)
        path = request.url.path
        if not path.endswith("/"):
            return HTMLResponse("", 301, {"location": f"{path}/"})
        try:
            return await self._routed(request, path.removeprefix(_API))
        except _Refusal as refusal:
            return JSONResponse(refusal.body, refusal.status)

    async def _routed(self, request: Request, path: str) -> Response:
        if path == "status/":
            return JSONResponse(self._status())
        if path == "login/":
            return self._log_in(request)
        role = self._role(request)
        if request.method != "GET" and role != "admin":
            raise _Refusal(403, {"detail": _FORBIDDEN})
        if path == "workers/":
            if role != "admin":
                raise _Refusal(403, {"detail": _FORBIDDEN})
            beats = self.queue.missing.items()
            return _page([{"name": name, "last_heartbeat": beat} for name, beat in beats])
        if path == "tasks/":
            return _page(self._tasks(request) if role == "admin" else [])
        if path == "content/rpm/distribution_trees/":
            version = request.query_params.get("repository_version", "")
            if version not in self._versions:
                raise _Refusal(400, [f"URI not valid: {version}"])
            return _page([dict(tree) for tree in self._trees(version)] if role != "none" else [])
        kind = path.split("/", 1)[0]
        if path == f"{kind}/rpm/rpm/" and kind in _KINDS:
            if request.method == "POST":
                return await self._create(kind, await request.json())
            return _page(self._found(kind, request) if role != "none" else [], request)
        if path.endswith("/sync/"):
            return self._sync(_API + path.removesuffix("sync/"), await request.json())
        return await self._one(request, kind, _API + path, hidden=role == "none")

    async def _one(self, request: Request, kind: str, href: str, *, hidden: bool) -> Response:
        if href in self.queue.tasks and not hidden:
            return JSONResponse(self.queue.tasks[href].shown())
        if href in self._versions and not hidden:
            repository, number = re.split(r"versions/", href)
            shown = {"pulp_href": href, "number": int(number[:-1]), "repository": repository}
            return JSONResponse(shown)
        if kind not in (*_KINDS, "tasks"):
            return HTMLResponse("<html><head><title>Not Found</title></head></html>", 404)
        found = self._objects.get(kind, {}).get(href)
        if found is None or hidden:
            raise _Refusal(404, {"detail": f"No {kind} matches the given query."})
        if request.method == "GET":
            return JSONResponse(found)
        if request.method == "DELETE":
            return await self._immediately(href, lambda: self._delete(kind, href))
        body = await request.json()
        self._check(kind, body, besides=href)
        if kind == "distributions":
            return await self._immediately(href, lambda: self._change(found, body))
        self._change(found, body)
        return JSONResponse(found)

    def _role(self, request: Request) -> str:
        user = self._sessions.get(request.cookies.get("sessionid", ""))
        if user is None:
            if "authorization" in request.headers:
                return self.users[self._checked_user(request)][1]
            raise _Refusal(401, {"detail": "Authentication credentials were not provided."})
        token = request.cookies.get("csrftoken")
        if request.method != "GET" and request.headers.get("x-csrftoken") != token:
            raise _Refusal(403, {"detail": "CSRF Failed: CSRF token missing."})
        return self.users[user][1]

    def _checked_user(self, request: Request) -> str:
        given = request.headers.get("authorization", "").removeprefix("Basic ")
        user, _, password = base64.b64decode(given).decode().partition(":")
        if self.users.get(user, ("", ""))[0] != password or not password:
            raise _Refusal(401, {"detail": "Invalid username/password."})
        return user

    def _log_in(self, request: Request) -> Response:
        user = self._checked_user(request)
        self.logins += 1
        session = self._id()
        self._sessions[session] = user
        answer = JSONResponse({"username": user}, 201)
        answer.set_cookie("sessionid", session)
        answer.set_cookie("csrftoken", self._id())
        return answer

    def _status(self) -> Object:
        def alive(names: set[str]) -> list[Object]:
            return [{"name": name, "last_heartbeat": _now()} for name in sorted(names)]

        return {
            "online_workers": alive(self.queue.workers),
            "online_api_apps": alive({"api@double"}),
            "online_content_apps": alive({"content@double"}),
        }

    def _tasks(self, request: Request) -> list[Object]:
        states = request.query_params.get("state__in", "").split(",")
        names = {"name", "exclusive_resources"} & request.query_params.keys()
        return [
            shown
            for shown in (task.shown() for task in self.queue.tasks.values())
            if shown["state"] in states
            and all(shown[name] == request.query_params[name] for name in names)
        ]

    def _found(self, kind: str, request: Request) -> list[Object]:
        query = request.query_params
        for name in query:
            if name not in _FILTERS | _NOT_FILTERS:
                raise _Refusal(400, {"errors": [f"Invalid Filter: {name!r}"]})
        label, _, value = query.get("pulp_label_select", "").partition("=")
        found = [
            one
            for one in self._objects[kind].values()
            if all(one.get(name) == query[name] for name in query if name in _FILTERS)
            and (not label or one["pulp_labels"].get(label) == value)
        ]
        return found[::-1] if query.get("ordering") == "-pulp_created" else found

    async def _create(self, kind: str, body: Object) -> Response:
        self._check(kind, body)
        if kind == "publications":
            return self._publish(body)
        if kind == "distributions":
            return await self._immediately("", lambda: [self._add(kind, body)["pulp_href"]])
        return JSONResponse(self._add(kind, body), 201)

    def _add(self, kind: str, body: Object) -> Object:
        href = f"{_API}{kind}/rpm/rpm/{self._id()}/"
        made: Object = {"pulp_href": href, "pulp_created": _now(), "pulp_labels": {}, **body}
        if kind == "repositories":
            made["latest_version_href"] = f"{href}versions/0/"
            self._versions[made["latest_version_href"]] = Content({}, ())
        if kind == "distributions":
            made["base_url"] = f"{self.content_url}{body['base_path']}/"
        self._objects[kind][href] = made
        return made

    def _check(self, kind: str, body: Object, besides: str = "") -> None:
        others = [one for href, one in self._objects[kind].items() if href != besides]
        for name in _UNIQUE.get(kind, ()):
            if name in body and any(one[name] == body[name] for one in others):
                raise _Refusal(400, {name: ["This field must be unique."]})
        path = body.get("base_path")
        if path and any(_overlap(path, one["base_path"]) for one in others):
            said = {"base_path": "Overlaps with an existing distribution."}
            raise _Refusal(400, {"base_path": said})

    def _change(self, found: Object, body: Object) -> list[str]:
        found.update(body)
        return []

    def _delete(self, kind: str, href: str) -> list[str]:
        del self._objects[kind][href]
        return []

    async def _immediately(self, resource: str, change: Callable[[], list[str]]) -> Response:
        async def work(_: PulpTask) -> list[str]:
            return change()

        task = PulpTask(f"{_API}tasks/{self._id()}/", "general", resource, work)
        await self.queue.do_now(task)
        return JSONResponse({"task": task.href}, 202)

    def _queued(
        self, name: str, resource: str, work: Callable[[PulpTask], Awaitable[list[str]]]
    ) -> Response:
        async def delayed(task: PulpTask) -> list[str]:
            await asyncio.sleep(self._random.uniform(*self._work))
            return await work(task)

        task = PulpTask(f"{_API}tasks/{self._id()}/", name, resource, delayed)
        self.queue.add(task)
        return JSONResponse({"task": task.href}, 202)

    def _publish(self, body: Object) -> Response:
        if body.get("repository_version") not in self._versions:
            said = "Invalid hyperlink - Object does not exist."
            raise _Refusal(400, {"repository_version": [said]})

        async def work(_: PulpTask) -> list[str]:
            repository = body["repository_version"].split("versions/")[0]
            return [self._add("publications", {**body, "repository": repository})["pulp_href"]]

        return self._queued("pulp_rpm.app.tasks.publishing.publish", "", work)

    def _sync(self, href: str, body: Object) -> Response:
        repository = self._objects["repositories"].get(href)
        remote = self._objects["remotes"].get(body.get("remote", ""))
        if repository is None:
            raise _Refusal(404, {"detail": "No RpmRepository matches the given query."})
        if remote is None:
            said = "This field is required since a remote is not set on the repository."
            raise _Refusal(400, {"remote": [said]})

        async def work(task: PulpTask) -> list[str]:
            before = self._versions[repository["latest_version_href"]]
            after = await fetch(self._upstream, remote["url"], task, before)
            if after is before:
                return []
            if body.get("sync_policy") == "additive":
                # Of trees a version holds the newest only, as the real one.
                after = replace(after, files={**before.files, **after.files})
            number = sum(version.startswith(href) for version in self._versions)
            version = f"{href}versions/{number}/"
            self._versions[version] = after
            repository["latest_version_href"] = version
            return [version]

        return self._queued(_SYNC, href, work)

    def _trees(self, version: str) -> list[Object]:
        trees = [dict(tree) for tree in self._versions[version].trees]
        if self.faults.second_tree:
            trees += [{**tree, "variants": [{"variant_id": "Second"}]} for tree in trees]
        return trees

    async def _file(self, request: Request) -> Response:
        path = request.path_params["path"]
        for one in self._objects["distributions"].values():
            if path.startswith(f"{one['base_path']}/"):
                publication = self._objects["publications"].get(one["publication"], {})
                content = self._versions.get(publication.get("repository_version", ""))
                inside = path.removeprefix(f"{one['base_path']}/")
                if content and inside in content.files:
                    self.sent.append(path)
                    return self._sent(inside, content.files[inside], request)
        return PlainTextResponse("404: Not Found", 404)

    def _sent(self, path: str, content: bytes, request: Request) -> Response:
        if path in self.faults.wrong:
            content = bytes(len(content))
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        status, headers = 200, {"accept-ranges": "bytes"}
        if asked and int(asked[1]) < len(content):
            first, last = int(asked[1]), len(content) - 1
            status, headers["content-range"] = 206, f"bytes {first}-{last}/{len(content)}"
            content = content[first:]
        if path in self.faults.cut:
            headers["content-length"] = str(len(content))
            return Response(content[: len(content) // 2], status, headers)
        return Response(content, status, headers)

    def _id(self) -> str:
        return str(UUID(int=next(self._numbers)))


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _page(found: list[Object], request: Request | None = None) -> Response:
    query = request.query_params if request else {}
    offset = int(query.get("offset", 0))
    rest = found[offset + _PAGE :]
    following = None
    if request and rest:
        following = str(request.url.include_query_params(offset=offset + _PAGE))
    page = {"count": len(found), "next": following, "results": found[offset : offset + _PAGE]}
    return JSONResponse(page)


@asynccontextmanager
async def pulp_double(
    host: str = "127.0.0.1",
    *,
    workers: int = 1,
    seed: int = 0,
    latency: tuple[float, float] = (0, 0),
    work: tuple[float, float] = (0, 0),
) -> AsyncIterator[PulpDouble]:
    """Serve a double while the block lasts, API and content app on a port each.

    Args:
        host: an address of the loopback.
        workers: how many run tasks.
        seed: of the delays.
        latency: seconds that the API takes for an answer, from and to.
        work: likewise for a task.
    """
    double = PulpDouble(seed=seed, latency=latency, work=work)
    for _ in range(workers):
        double.queue.add_worker()
    async with served(double.api, host) as api:
        async with served(double.content, host) as content:
            # Only asks which port is free; it is served again at each start.
            double.content_url = content.rstrip("/") + _CONTENT
        double.url = api.rstrip("/")
        await double.start_content()
        try:
            yield double
        finally:
            await double.close()
