"""Every recorded exchange, replayed against our proxy; `differences` is the table of exceptions."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from integrations.errors import Refused
from proxy.settings import BmcSettings, FeatureSettings
from serving.arrival import Arrival, Kind, Marked
from tests.proxy.differences import DIFFERENCES, NOT_REPLAYED
from tests.proxy.site import SAMPLES, Site, site, streamed

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Exchange:
    """One recorded exchange, whichever file it is from."""

    key: str
    method: str
    path: str
    headers: dict[str, str]
    body: str | None
    arrival: Arrival
    status: int
    content_type: str
    text: str
    cut: bool = False


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()


def recorded_samples() -> Iterator[Exchange]:
    for file in sorted(SAMPLES.glob("[0-9]*.json")):
        about = json.loads(file.read_text())
        asked, answered = about["request"], about["response"]
        yield Exchange(
            key=file.name[:2],
            method=asked["method"],
            path=asked["path"],
            headers=asked["headers"],
            body=asked["body"],
            arrival=Arrival(Kind.IN_PROCESS),
            status=answered["status"],
            content_type=answered["headers"]["Content-Type"],
            text=answered["body"],
        )


def recorded_transcript() -> Iterator[Exchange]:
    about = json.loads((SAMPLES / "transcript-3.11.json").read_text())
    for place, one in enumerate(about["exchanges"]):
        headers = dict(one.get("headers", {}))
        if "Authorization" in headers:
            headers["Authorization"] = basic("wrong" if "wrong" in str(headers) else "right")
        body = one.get("raw")
        if "form" in one:
            headers["Content-Type"] = FORM
            body = str(httpx.QueryParams(one["form"]))
        if "json" in one:
            headers["Content-Type"] = "application/json"
            body = json.dumps(one["json"])
        kind = Kind(one["listener"])
        yield Exchange(
            key=f"t{place}",
            method=one["method"],
            # The client would walk the dots away before we see them.
            path=one["path"].replace("/../", "/%2e%2e/"),
            headers=headers,
            body=body,
            arrival=Arrival(kind, one.get("client_cert_cn") if kind is Kind.HTTPS else None),
            status=one["status"],
            content_type=one["content_type"],
            text=one["body"],
            cut=one.get("body_truncated", False),
        )


async def play(one: Exchange, at: Site) -> httpx.Response:
    transport = httpx.ASGITransport(Marked(at.app, one.arrival))
    async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
        return await client.request(one.method, one.path, headers=one.headers, content=one.body)


def comparable(text: str) -> Any:
    """JSON by its meaning, without the option that one provider adds; the rest word by word."""
    try:
        return json.loads(text, object_hook=lambda o: {**o, "hardware_type": None})
    except ValueError:
        return text


def mismatch(one: Exchange, got: httpx.Response) -> str | None:
    label = got.headers["content-type"].partition(";")[0]
    same_body = comparable(got.text) == comparable(one.text) or (
        one.cut and got.text.startswith(one.text)
    )
    same = (
        got.status_code == one.status and same_body and label == one.content_type.partition(";")[0]
    )
    ours = f"{one.key} {one.method} {one.path}: {got.status_code} {label} {got.text!r}"
    different = DIFFERENCES.get(one.key)
    if different is None:
        return None if same else f"{ours}, upstream {one.status} {one.text!r}"
    if same:
        return f"{ours}: is no difference any more"
    told = got.status_code == different.status and got.text.startswith(different.text or "")
    return None if told else f"{ours}, the table says {different.status} {different.text!r}"


def standing_in(request: httpx.Request) -> httpx.Response:
    """The Foreman behind the recorded proxies."""
    if request.url.path == "/api/v2/discovered_hosts/facts":
        if json.loads(request.content)["facts"]:
            return httpx.Response(201, json={"id": 1})
        return httpx.Response(422, json={"message": "Expected discovery_fact missing"})
    if request.url.params.get("token") == "bad":
        return httpx.Response(404, text="no such host")
    if request.url.params.get("token") == "unauth":
        return httpx.Response(401, text="token has expired")
    if request.url.path == "/unattended/built":
        return httpx.Response(201)
    return httpx.Response(200, text="#rendered\n")


def source(request: httpx.Request) -> httpx.Response:
    if request.url.port == 1:
        raise httpx.ConnectError("refused", request=request)
    if request.url.path.endswith("404"):
        return httpx.Response(404)
    return streamed(b"kernel")


def no_node(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("Connection refused", request=request)


@pytest.fixture(autouse=True)
def _recordings() -> None:
    if not SAMPLES.is_dir():
        pytest.skip("../shared/contracts/smart-proxy-samples is missing")


async def test_every_sample_is_answered_as_upstream_or_as_the_table_says(tmp_path: Path) -> None:
    at = site(
        tmp_path,
        network="10.77.0.0/16",
        range_=("10.77.200.1", "10.77.200.250"),
        zones=("lab.example", "77.10.in-addr.arpa"),
        gateway=lambda r: (
            httpx.Response(201, json={})
            if "discovered" in r.url.path
            else httpx.Response(200, text="#!kickstart stand-in\n")
        ),
        node=no_node,
        source=source,
        template_url="http://10.77.0.1:8000",
        tftp={"root": tmp_path, "server_name": "10.77.0.1"},
        bmc=BmcSettings(default_provider="redfish"),
    )
    wrong = []
    for one in recorded_samples():
        if one.key in NOT_REPLAYED:
            continue
        at.dns.down = one.key in ("92", "93")
        at.dhcp.down = one.key in ("94", "95")
        wrong.append(mismatch(one, await play(one, at)))
    assert [line for line in wrong if line] == []


async def test_the_transcript_is_answered_as_upstream_or_as_the_table_says(tmp_path: Path) -> None:
    def fresh() -> Site:
        return site(
            tmp_path,
            gateway=standing_in,
            node=lambda _: httpx.Response(404, text="Requested url was not found"),
            source=source,
            features=FeatureSettings(),
            trusted_hosts=("foreman.test",),
            zones=("test.lan", "2.0.192.in-addr.arpa"),
        )

    at, wrong = fresh(), []
    at.dhcp.served[0] = at.dhcp.served[0].model_copy(
        update={"name_servers": (at.dhcp.served[0].network[53],)}
    )
    for one in recorded_transcript():
        if one.key in NOT_REPLAYED:
            continue
        if one.key in ("t68", "t139"):
            at = fresh()
        if one.key == "t94":
            (tmp_path / "ztp.cfg").mkdir(exist_ok=True)
        at.power.fails = (
            Refused(system="Redfish", address="", operation="", said="auth")
            if one.key == "t163"
            else None
        )
        wrong.append(mismatch(one, await play(one, at)))
    assert [line for line in wrong if line] == []


async def test_what_is_forwarded_is_what_upstream_forwards(tmp_path: Path) -> None:
    at = site(tmp_path, gateway=standing_in, template_url="http://10.77.0.1:8000")
    forwarded = json.loads((SAMPLES / "forwarded-to-foreman.json").read_text())
    for one in recorded_samples():
        if one.key in ("66", "67", "68", "69", "70"):
            await play(one, at)
    assert len(at.to_gateway) == len(forwarded)
    for ours, theirs in zip(at.to_gateway, forwarded, strict=True):
        url = httpx.URL("http://f" + theirs["path"])
        assert (ours.method, ours.url.path) == (theirs["method"], url.path)
        # Upstream's own header strays into the query of a POST; ours does not.
        assert dict(ours.url.params) == {
            key: value for key, value in url.params.items() if key != "Content-Type"
        }
        assert ours.content.decode() == theirs["body"]
        assert ours.headers["content-type"] == theirs["headers"]["Content-Type"]
        # Upstream leaves it out where facts are concerned; ours always says who sent them.
        expected = theirs["headers"].get("X-Forwarded-For", "127.0.0.1")
        assert ours.headers["x-forwarded-for"] == expected


def test_the_table_names_recorded_exchanges_only() -> None:
    keys = {one.key for one in (*recorded_samples(), *recorded_transcript())}
    assert set(DIFFERENCES) | set(NOT_REPLAYED) <= keys
    assert not set(DIFFERENCES) & set(NOT_REPLAYED)
