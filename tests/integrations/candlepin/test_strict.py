"""That the judge of Candlepin's exchanges can say no, and that nothing is judged by memory."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lab.doubles.candlepin import CandlepinDouble
from lab.doubles.candlepin_consumers import ROUTES as CONSUMERS
from lab.doubles.candlepin_organizations import ROUTES as ORGANIZATIONS
from tests.integrations.candlepin.sites import double_site
from tests.integrations.candlepin.strict import (
    AMENDMENTS,
    ANYWHERE,
    DOCUMENT,
    MISSING,
    Judge,
    Judged,
)

ROUTES = [*ORGANIZATIONS, *CONSUMERS]
pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason=MISSING)


async def judged(
    method: str, path: str, *, asked: Any = None, status: int = 200, said: Any = None
) -> list[str]:
    """What the judge says of one exchange."""

    async def answer(request: Request) -> Response:
        return JSONResponse(said, status, headers={"X-Version": "1"})

    judge = Judge()
    app = Judged(Starlette(routes=[Route("/{path:path}", answer, methods=[method])]), judge)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
        await http.request(method, f"https://candlepin/candlepin{path}", json=asked)
    assert judge.judged == 1
    return judge.violations


async def test_what_is_right_is_right() -> None:
    assert await judged("POST", "/owners", asked={"key": "A"}, said={"key": "A"}) == []
    assert await judged("GET", "/status/", said={"mode": "NORMAL", "modeReason": None}) == []
    owner = {"key": "A", "parentOwner": None, "created": "2026-04-27T19:32:05+0000"}
    assert await judged("GET", "/owners/A", said=owner) == []
    gone = {"displayMessage": "gone", "deletedId": "u"}
    assert await judged("GET", "/consumers/u/owner", status=410, said=gone) == []


@pytest.mark.parametrize(
    ("method", "path", "asked", "status", "said"),
    [
        ("POST", "/owners", {"nokey": 1}, 200, {"key": "A"}),
        ("POST", "/owners", {"key": "A"}, 201, {"key": "A"}),
        ("POST", "/owners", {"key": 7}, 200, {"key": "A"}),
        ("POST", "/owners", {"key": "A"}, 200, {"key": "A", "href": "/owners/A"}),
        ("POST", "/owners", {"key": "A"}, 200, {"key": "A", "created": "yesterday"}),
        ("POST", "/owners", {"key": "A"}, 500, {"displayMessage": "x"}),
        ("POST", "/owners/A/activation_keys", {"environments": []}, 200, {}),
        ("PATCH", "/owners/A", {}, 200, {}),
        ("GET", "/owner/A", None, 200, {}),
        ("GET", "/consumers/u/certificates", None, 200, [{"serial": {"collected": True}}]),
    ],
)
async def test_what_is_wrong_is_wrong(
    method: str, path: str, asked: Any, status: int, said: Any
) -> None:
    assert await judged(method, path, asked=asked, status=status, said=said)


def test_each_amendment_has_a_reason_and_changes_something() -> None:
    assert all(one.reason for one in AMENDMENTS)
    original = json.loads(json.dumps(yaml.safe_load(DOCUMENT.read_text())))
    for one in AMENDMENTS:
        amended = json.loads(json.dumps(original))
        one.apply(amended)
        assert amended != original, f"needed no more: {one.reason}"


async def test_whatever_the_double_is_asked_it_answers_as_the_document_says() -> None:
    """Each of its routes, with a consumer that is there and without one, by a user and by it."""
    async with double_site() as site:
        double = site.double
        assert isinstance(double, CandlepinDouble)
        there = await _filled(double)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(Judged(double.app, site.judge)), auth=("admin", "admin")
        ) as http:
            for method, pattern in sorted(ROUTES, key=lambda one: one[0] == "DELETE"):
                for known in (False, True):
                    path = _path(pattern, there if known else None)
                    body = _BODIES.get((method, pattern), lambda _: None)(there)
                    query = {"content": "c"} if method == "DELETE" and "content" in path else {}
                    answer = await http.request(
                        method, f"{double.url}/{path}", params=query, json=body
                    )
                    assert answer.status_code < 500 or answer.status_code == 501, path
                    assert answer.status_code not in ANYWHERE or answer.status_code in (401, 410)
            assert site.judge.judged >= 2 * len(ROUTES)
        assert site.judge.violations == [], "\n".join(site.judge.violations)


_BODIES: dict[tuple[str, str], Any] = {
    ("POST", "owners"): lambda _: {"key": uuid4().hex},
    ("POST", "owners/*/environments"): lambda _: {"id": uuid4().hex, "name": "n"},
    ("POST", "owners/*/activation_keys"): lambda _: {"name": uuid4().hex},
    ("POST", "owners/*/content"): lambda _: {"id": uuid4().hex, "name": "n", "label": "l"},
    ("POST", "consumers"): lambda _: {"name": "host", "facts": {"a": "b"}},
    ("POST", "environments/*/consumers"): lambda _: {"name": "host"},
    ("POST", "environments/*/content"): lambda _: [{"contentId": uuid4().hex}],
    ("PUT", "consumers/*"): lambda _: {"facts": {"a": "b"}},
}


async def _filled(double: CandlepinDouble) -> dict[str, str]:
    async with double_site_client(double) as http:
        await http.post("/owners", json={"key": "A", "contentAccessMode": "org_environment"})
        await http.post("/owners/A/environments", json={"id": "e", "name": "e"})
        key = (await http.post("/owners/A/activation_keys", json={"name": "k"})).json()["id"]
        await http.post("/owners/A/content", json={"id": "c", "name": "c", "label": "c"})
        job = (await http.post("/environments/e/content", json=[{"contentId": "c"}])).json()["id"]
        made = await http.post("/consumers?owner=A&activation_keys=k", json={"name": "h"})
    return {
        "owners": "A",
        "environments": "e",
        "activation_keys": key,
        "content": "c",
        "jobs": job,
        "consumers": made.json()["uuid"],
    }


def double_site_client(double: CandlepinDouble) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(double.app)
    return httpx.AsyncClient(transport=transport, base_url=double.url, auth=("admin", "admin"))


def _path(pattern: str, there: dict[str, str] | None) -> str:
    parts, made = pattern.split("/"), list[str]()
    for before, part in zip(["", *parts], parts, strict=False):
        made.append(part if part != "*" else (there or {}).get(before, "nobody"))
    return "/".join(made)
