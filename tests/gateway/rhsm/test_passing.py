"""What is passed on to Candlepin, in whose name, and what is not."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from inventory.life import HostState
from lab.doubles.candlepin_ca import CandlepinCa
from tests.gateway.rhsm.conftest import OWNER, Fronted, Identity, name_of


async def test_the_root_and_the_status_need_no_certificate(front: Fronted) -> None:
    for path in ("", "/"):
        listed = (await front.ask("GET", path)).json()
        rels = {one["rel"] for one in listed}
        assert {"consumers", "environments", "packages", "guestids"} <= rels
    for path in ("/status", "/status/"):
        told = (await front.ask("GET", path)).json()
        assert told["mode"] == "NORMAL"
        assert "combined_reporting" in told["managerCapabilities"]
        assert "cores" in told["managerCapabilities"]


async def test_a_suspended_candlepin_says_so_in_its_status(front: Fronted) -> None:
    front.double.faults.suspended = True
    answer = await front.ask("GET", "/status")
    assert (answer.status_code, answer.json()["mode"]) == (200, "SUSPEND")


@pytest.mark.parametrize(
    "path",
    [
        "certificates/serials",
        "certificates?serials=7",
        "accessible_content",
        "content_overrides",
        "release",
        "owner",
        "",
    ],
)
async def test_a_host_hears_what_candlepin_says_of_it(front: Fronted, path: str) -> None:
    identity, _, _ = await front.registered(1)
    answer = await front.ask("GET", f"/consumers/{identity.uuid}/{path}".rstrip("/"), identity)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-version"] == "4.7.4-1"
    asked = front.asked[-1]
    assert asked.headers["cp-consumer"] == identity.uuid
    assert "cp-user" not in asked.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/consumers/{}"),
        ("PUT", "/consumers/{}"),
        ("POST", "/consumers/{}"),
        ("DELETE", "/consumers/{}"),
        ("GET", "/consumers/{}/certificates"),
        ("GET", "/consumers/{}/certificates/serials"),
        ("PUT", "/consumers/{}/profiles"),
        ("PUT", "/consumers/{}/packages"),
        ("PUT", "/consumers/{}/profile"),
        ("PUT", "/consumers/{}/tracer"),
        ("PUT", "/consumers/{}/checkin"),
        ("PUT", "/systems/{}/enabled_repos"),
        ("PUT", "/consumers/{}/content_overrides"),
    ],
)
async def test_the_certificate_of_one_host_is_nothing_for_another(
    front: Fronted, method: str, path: str
) -> None:
    first, _, _ = await front.registered(1)
    second, _, _ = await front.registered(2)
    before = len(front.asked)
    answer = await front.ask(method, path.format(second.uuid), first, json={})
    assert answer.status_code == 403
    said = await front.errors(answer)
    assert said == f"the certificate is that of the consumer {first.uuid}, and not of {second.uuid}"
    without = await front.ask(method, path.format(second.uuid), json={})
    assert without.status_code == 401
    assert len(front.asked) == before
    assert second.uuid in front.double.state.consumers


async def test_an_expired_certificate_gets_no_connection(front: Fronted) -> None:
    identity, _, _ = await front.registered(1)
    expired = front.expired(identity.uuid)
    with pytest.raises(httpx.HTTPError) as caught:
        await front.ask("GET", f"/consumers/{identity.uuid}", expired)
    assert "expired" in str(caught.value).lower() or isinstance(
        caught.value, httpx.ReadError | httpx.RemoteProtocolError
    )


async def test_a_certificate_of_another_authority_gets_no_connection(front: Fronted) -> None:
    identity, _, _ = await front.registered(1)
    issued = CandlepinCa().identity(identity.uuid, name_of(1), OWNER)
    forged = front.kept("forged", {"cert": issued.certificate, "key": issued.key})
    with pytest.raises((httpx.HTTPError, ssl.SSLError)):
        await front.ask("GET", f"/consumers/{identity.uuid}", forged)


async def test_what_opens_content_is_no_identity(front: Fronted) -> None:
    identity, _, _ = await front.registered(1)
    path = f"/consumers/{identity.uuid}/certificates"
    (access,) = (await front.ask("GET", path, identity)).json()
    answer = await front.ask("GET", path, front.kept("content", access))
    assert answer.status_code == 401
    assert "Invalid Certificate Type" in await front.errors(answer)


async def test_a_deleted_consumer_hears_so_from_candlepin_alone(front: Fronted) -> None:
    identity, _, _ = await front.registered(1)
    front.double.state.consumers.clear()
    front.double.state.deleted.add(identity.uuid)
    gone = {"displayMessage": f"Unit {identity.uuid} has been deleted", "deletedId": identity.uuid}
    for method, path in (
        ("GET", "/consumers/{}"),
        ("GET", "/consumers/{}/certificates/serials"),
        ("PUT", "/consumers/{}/checkin"),
    ):
        answer = await front.ask(method, path.format(identity.uuid), identity, json={})
        assert answer.status_code == 410, path
        assert answer.json().items() >= gone.items()


async def test_a_host_unregisters_and_is_gone(front: Fronted) -> None:
    identity, host, _ = await front.registered(1)
    answer = await front.ask("DELETE", f"/consumers/{identity.uuid}", identity)
    assert (answer.status_code, answer.content) == (204, b"")
    assert await front.consumer(host) is None
    again = await front.ask("DELETE", f"/consumers/{identity.uuid}", identity)
    assert again.status_code == 410
    assert again.json()["deletedId"] == identity.uuid


async def test_a_host_that_asks_for_its_serials_or_checks_in_is_there(front: Fronted) -> None:
    identity, host, _ = await front.registered(1)
    before = await front.consumer(host)
    assert before is not None
    assert before.checked_in_at is None
    await front.ask("GET", f"/consumers/{identity.uuid}/certificates/serials", identity)
    first = await front.consumer(host)
    assert front.double.state.consumers[identity.uuid]["lastCheckin"] is not None
    answer = await front.ask("PUT", f"/consumers/{identity.uuid}/checkin", identity, json={})
    assert answer.status_code == 204
    second = await front.consumer(host)
    assert first is not None
    assert second is not None
    assert first.checked_in_at is not None
    assert second.checked_in_at is not None
    assert second.checked_in_at > first.checked_in_at


async def test_a_host_changes_its_facts_and_not_what_its_group_says(front: Fronted) -> None:
    identity, _, _ = await front.registered(1)
    path = f"/consumers/{identity.uuid}"
    answer = await front.ask("PUT", path, identity, json={"facts": {"a": "b"}})
    assert (answer.status_code, answer.content) == (200, b"")
    assert front.double.state.consumers[identity.uuid]["facts"] == {"a": "b"}
    assert (await front.ask("PUT", path, identity, json={"name": name_of(1)})).status_code == 200
    harm: dict[str, Any]
    for harm in (
        {"name": "other.example.org"},
        {"environments": [{"id": "dev"}]},
        {"environments": []},
        {"facts": {}, "owner": {"key": "OTHER"}},
        {"contentAccessMode": "entitlement"},
    ):
        answer = await front.ask("PUT", path, identity, json=harm)
        assert answer.status_code == 403
    assert front.double.state.consumers[identity.uuid]["name"] == name_of(1)
    # Twice in one object: what Candlepin reads is what was judged.
    twice = b'{"environments": [{"id": "dev"}], "environments": null, "facts": {"c": "d"}}'
    assert (await front.ask("PUT", path, identity, content=twice)).status_code == 200
    assert front.asked[-1].content == b'{"environments": null, "facts": {"c": "d"}}'
    for nonsense in (b"{", b"[]", b"7"):
        answer = await front.ask("PUT", path, identity, content=nonsense)
        assert answer.status_code == 400


async def test_a_host_renews_its_certificate(front: Fronted) -> None:
    identity, _, _ = await front.registered(1)
    answer = await front.ask("POST", f"/consumers/{identity.uuid}", identity)
    renewed = front.identity(answer.json())
    path = f"/consumers/{identity.uuid}/release"
    assert (await front.ask("GET", path, renewed)).json() == {"releaseVer": None}


async def test_nothing_else_of_candlepin_is_reached(front: Fronted) -> None:
    identity, _, _ = await front.registered(1)
    before = len(front.asked)
    for path in ("/users", "/admin/init", "/hypervisors/ACME", "/x", "/consumersx/a"):
        answer = await front.ask("GET", path, identity)
        assert answer.status_code == 404, path
    assert len(front.asked) == before
    for path in ("/environments/prod/consumers", "/owners/ACME/consumers/environments", "/jobs/7"):
        assert (await front.ask("POST", path, identity, json={})).status_code == 405
        assert (await front.ask("DELETE", path, identity)).status_code == 405
    assert len(front.asked) == before
    # These are reached, and Candlepin itself says what a consumer may not.
    for path in ("/owners/OTHER/pools", "/jobs/7", "/environments/prod"):
        assert (await front.ask("GET", path, identity)).status_code in (403, 404), path


async def plainly(
    front: Fronted, raw: str, identity: Identity, method: str = "GET", **headers: str
) -> tuple[int, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await asyncio.to_thread(front.ask_plainly, method, raw, identity, named)


@pytest.mark.parametrize(
    "path",
    [
        "/rhsm/consumers/{own}/../{other}",
        "/rhsm/consumers/{own}/../../owners/ACME",
        "/rhsm/consumers/{own}/%2e%2e/{other}",
        "/rhsm/consumers/{own}%2f..%2f{other}",
        "/rhsm/consumers/{own}/..;/{other}",
        "/rhsm/consumers/{own};a=b",
        "/rhsm//consumers/{own}",
        "/rhsm/consumers//{own}",
        "/rhsm/consumers/{own}\\..\\{other}",
        "/rhsm/./consumers/{own}",
        "/rhsm/consumers/%7bown%7d",
        "/rhsm/consumers/{own}/%00",
    ],
)
async def test_a_path_that_can_be_read_in_two_ways_is_refused(front: Fronted, path: str) -> None:
    first, _, _ = await front.registered(1)
    second, _, _ = await front.registered(2)
    before = len(front.asked)
    status, _ = await plainly(front, path.format(own=first.uuid, other=second.uuid), first)
    assert status == 400
    assert len(front.asked) == before


async def test_nobody_says_by_a_header_who_he_is(front: Fronted) -> None:
    first, _, _ = await front.registered(1)
    second, _, _ = await front.registered(2)
    status, body = await plainly(
        front,
        f"/rhsm/consumers/{first.uuid}/owner",
        first,
        cp_user="admin",
        cp_consumer=second.uuid,
        Authorization="Basic YWRtaW46YWRtaW4=",
        X_Forwarded_For="127.0.0.1",
        Cookie="a=b",
        X_Correlation_ID="0815",
        Accept_Language="\xe9",
        Connection="cp-consumer",
    )
    assert status == 200, body
    headers = front.asked[-1].headers
    assert headers.get_list("cp-consumer") == [first.uuid]
    assert headers["authorization"].startswith("OAuth ")
    assert headers["x-correlation-id"] == "0815"
    assert not {"cp-user", "cookie", "x-forwarded-for"} & set(headers)


@pytest.mark.parametrize("host", ["h/rhsm/consumers/{other}?", "x@h", "h#", "h\\x"])
async def test_the_host_header_names_no_path(front: Fronted, host: str) -> None:
    first, _, _ = await front.registered(1)
    second, _, _ = await front.registered(2)
    before = len(front.asked)
    await plainly(
        front, f"/rhsm/consumers/{first.uuid}/release", first, Host=host.format(other=second.uuid)
    )
    asked = [one.url.path for one in front.asked[before:]]
    assert asked in ([], [f"/candlepin/consumers/{first.uuid}/release"])


async def test_no_session_of_candlepin_serves_another(front: Fronted) -> None:
    identity, _, _ = await front.registered(1)

    async def body() -> AsyncIterator[bytes]:
        yield b"{}"

    def answer(_: httpx.Request) -> httpx.Response:
        headers = {"X-Version": "1", "Set-Cookie": "JSESSIONID=1"}
        return httpx.Response(200, content=body(), headers=headers)

    front.instead.append(httpx.MockTransport(answer))
    path = f"/consumers/{identity.uuid}/release"
    for _ in range(2):
        told = await front.ask("GET", path, identity)
        assert "set-cookie" not in told.headers
    assert "cookie" not in front.asked[-1].headers


async def test_a_second_request_within_the_first_does_not_get_through(front: Fronted) -> None:
    identity, _, _ = await front.registered(1)
    before = len(front.asked)
    status, _ = await plainly(
        front,
        f"/rhsm/consumers/{identity.uuid}/release",
        identity,
        method="PUT",
        Content_Length="3",
        Transfer_Encoding="gzip, chunked",
    )
    assert status in (400, 501)
    assert len(front.asked) == before


async def test_what_is_too_large_is_not_passed_on(front: Fronted) -> None:
    identity, _, _ = await front.registered(1)
    before = len(front.asked)
    path = f"/consumers/{identity.uuid}/content_overrides"
    answer = await front.ask("PUT", path, identity, content=b" " * (5 << 20))
    assert answer.status_code == 413
    answer = await front.ask("GET", path, identity, params={"a": "b" * 9000})
    assert answer.status_code == 414
    assert len(front.asked) == before


@pytest.mark.parametrize("settings", [{"answer_bytes": 1000}])
async def test_an_answer_without_end_is_not_passed_on(front: Fronted) -> None:
    identity, _, _ = await front.registered(1)
    path = f"/consumers/{identity.uuid}/certificates"
    # Its length is known before.
    answer = await front.ask("GET", path, identity)
    assert answer.status_code == 502
    assert "which is too much" in await front.errors(answer)
    small = f"/consumers/{identity.uuid}/release"
    assert (await front.ask("GET", small, identity)).status_code == 200


@pytest.mark.parametrize("settings", [{"answer_bytes": 1000}])
async def test_an_answer_of_unknown_length_breaks_off_where_it_is_too_much(
    front: Fronted,
) -> None:
    identity, _, _ = await front.registered(1)
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 1_000_000:
            sent += 500
            yield b"x" * 500

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=endless(), headers={"X-Version": "1"})

    front.instead.append(httpx.MockTransport(answer))
    with pytest.raises(httpx.RemoteProtocolError):
        await front.ask("GET", f"/consumers/{identity.uuid}/release", identity)
    assert sent < 10_000


async def test_candlepin_away_is_worth_another_try(front: Fronted) -> None:
    identity, _, _ = await front.registered(1)
    front.double.faults.down = True
    for method, path in (("GET", "release"), ("PUT", "checkin"), ("GET", "certificates/serials")):
        answer = await front.ask(method, f"/consumers/{identity.uuid}/{path}", identity, json={})
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "10"
        assert await front.errors(answer)


async def test_the_query_reaches_candlepin_as_it_was_and_is_signed(front: Fronted) -> None:
    identity, _, _ = await front.registered(1)
    path = f"/consumers/{identity.uuid}/certificates"
    query = [("serials", "1,2"), ("x", "ä&="), ("x", ""), ("y", "a b+c")]
    answer = await front.ask("GET", path, identity, params=query)
    # The double recomputes the signature over what it gets.
    assert answer.status_code == 200, answer.text
    assert list(front.asked[-1].url.params.multi_items()) == query


async def test_a_host_that_is_not_ours_hears_what_candlepin_says(front: Fronted) -> None:
    """Registered past us; its certificate is as good as any."""
    await front.world.host(1, HostState.INSTALLING)
    double = front.double
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(double.app), auth=("admin", "admin")
    ) as http:
        made = await http.post(
            f"{double.url}/consumers", params={"owner": OWNER}, json={"name": "stranger"}
        )
    identity = front.identity(made.json())
    assert (await front.ask("GET", f"/consumers/{identity.uuid}", identity)).status_code == 200
    answer = await front.ask("PUT", f"/consumers/{identity.uuid}/profiles", identity, json=[])
    assert answer.status_code == 404
    assert "no host of this site" in await front.errors(answer)
    double.state.consumers.clear()
    double.state.deleted.add(identity.uuid)
    answer = await front.ask("PUT", f"/consumers/{identity.uuid}/profiles", identity, json=[])
    assert answer.status_code == 410
    assert json.loads(answer.content)["deletedId"] == identity.uuid
