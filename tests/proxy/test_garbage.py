"""Whatever comes in, the answer is a sentence: never a traceback, never a fault of our own."""

import atexit
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.arrival import Arrival, Kind, Marked
from tests.hostile.sending import Sent, listening, send
from tests.proxy.site import Site, site

TEXT = st.text(max_size=40) | st.sampled_from(
    ["192.0.2.0", "192.0.2.50", "52:54:00:aa:bb:01", "A", "PTR", "web01.example.org", "\0", "../.."]
)
SEGMENT = TEXT.map(lambda text: quote(text, safe="") or "%20")
MOUNTS = (
    *("/dhcp", "/dns", "/tftp", "/tftp/pxelinux", "/bmc", "/httpboot", "/EFI", "/logs"),
    *("/dhcp/192.0.2.0", "/dhcp/192.0.2.0/mac", "/dhcp/192.0.2.0/ip", "/unattended"),
    "/discovery",
)
FIELDS = (
    *("mac", "ip", "name", "hostname", "nextServer", "filename", "related_macs[]", "fqdn"),
    *("type", "pxeconfig", "menu", "prefix", "path", "sha256", "size", "_method", "value"),
    *("from", "to"),
)
PATHS = st.builds(
    lambda mount, parts: "/".join((mount, *parts)),
    st.sampled_from(MOUNTS),
    st.lists(SEGMENT, max_size=3),
)
FORMS = st.dictionaries(st.sampled_from(FIELDS), TEXT, max_size=8)
TYPES = st.sampled_from(
    (
        *("application/x-www-form-urlencoded", "application/json", "multipart/form-data"),
        *("multipart/form-data; boundary=x", "text/plain", "x/y; charset=nonsense"),
    )
)


@cache
def shared() -> Site:
    """One for all examples: none of them can do harm to another that matters here."""
    root = TemporaryDirectory()
    atexit.register(root.cleanup)
    return site(Path(root.name))


async def answered(request: httpx.Request) -> httpx.Response:
    async with shared().trusted() as http:
        return await http.send(request)


def checked(answer: httpx.Response) -> None:
    assert answer.status_code < 500 or answer.status_code == 501, answer.text
    assert "Traceback" not in answer.text
    if answer.status_code >= 400:
        assert answer.text.strip()


@settings(max_examples=70, deadline=None, derandomize=True)
@given(st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"]), PATHS, FORMS)
async def test_any_form_on_any_path(method: str, path: str, form: dict[str, str]) -> None:
    answer = await answered(httpx.Request(method, f"http://proxy{path}", data=form, params=form))
    if method != "HEAD":
        checked(answer)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.sampled_from(["/dhcp/192.0.2.0", "/dns/", "/tftp/pxelinux/52:54:00:aa:bb:01"])
    | st.sampled_from(["/tftp/fetch_boot_file", "/tftp/create_default", "/unattended/built"]),
    TYPES,
    st.binary(max_size=200),
)
async def test_any_body_of_any_type(path: str, kind: str, body: bytes) -> None:
    url = f"http://proxy{path}"
    asked = httpx.Request("POST", url, headers={"Content-Type": kind}, content=body)
    checked(await answered(asked))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(TYPES, st.binary(max_size=200), st.text(max_size=30))
async def test_any_body_to_a_controller(kind: str, body: bytes, credentials: str) -> None:
    url = "http://proxy/bmc/192.0.2.9/chassis/config/bootdevice/pxe"
    authorization = f"Basic {credentials}".encode()
    headers = {b"Content-Type": kind.encode(), b"Authorization": authorization}
    checked(await answered(httpx.Request("PUT", url, headers=headers, content=body)))


async def test_a_megabyte_of_garbage(tmp_path: Path) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with site(tmp_path).trusted() as http:
        for path in ("/dhcp/192.0.2.0", "/dns/", "/tftp/fetch_boot_file"):
            checked(await http.post(path, content=b"&=\xff" * 350_000, headers=headers))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 'a" { } host b {'),
        ("filename", 'x"; option domain-name "evil'),
        ("nextServer", "evil.example.org; }"),
        ("hostname", "a\nb"),
        ("ip", "192.0.2.0"),
        ("ip", "192.0.2.255"),
        ("mac", "01:00:5e:00:00:01"),
    ],
)
async def test_nothing_that_could_become_configuration_comes_through(
    tmp_path: Path, field: str, value: str
) -> None:
    at = site(tmp_path)
    form = {"mac": "52:54:00:aa:bb:01", "ip": "192.0.2.50", "name": "a.example.org", field: value}
    async with at.trusted() as http:
        answer = await http.post("/dhcp/192.0.2.0", data=form)
    assert answer.status_code == 400
    assert at.dhcp.kept == []


async def test_json_of_any_depth_to_a_controller(tmp_path: Path) -> None:
    headers = {"Content-Type": "application/json", "Authorization": "Basic YTpi"}
    async with site(tmp_path).trusted() as http:
        url = "/bmc/192.0.2.9/chassis/power/on"
        answer = await http.put(url, content=b'{"a":' * 100_000, headers=headers)
    assert (answer.status_code, answer.text) == (400, "the body is not JSON")


@pytest.mark.parametrize("path", ["/dhcp/192.0.2.0", "/discovery/create", "/unattended/built"])
async def test_a_sender_that_goes_away_is_no_fault_of_ours(tmp_path: Path, path: str) -> None:
    app = Marked(site(tmp_path).app, Arrival(Kind.IN_PROCESS))
    kind = (b"content-type", b"application/x-www-form-urlencoded")
    gone = Sent("POST", path.encode(), headers=[kind], parts=[b"mac="], cut=True)
    with listening():
        outcome = await send(app, gone)
    assert (outcome.status, outcome.tracebacks) == (400, [])
