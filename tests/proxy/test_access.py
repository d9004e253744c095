"""Who may call what, over real sockets and real TLS on loopback (contract, section 2.2)."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from integrations.errors import Refused, Unavailable
from integrations.smart_proxy import SmartProxy, SmartProxySettings
from lab.authority import Authority, Pair
from proxy.access import reverse_name_of
from proxy.serve import Listening, listening, serve
from proxy.settings import FeatureSettings, ListenerSettings
from tests.proxy.site import Site, site

NO_CERTIFICATE = "could not read client cert from environment"
NOT_FOUND = "Requested url was not found"


def untrusted(name: str, path: str) -> str:
    said = f"Untrusted client {name} attempted to access {path}. "
    return said + "Check :trusted_hosts: in settings.yml"


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


@asynccontextmanager
async def served(
    root: Path, ca: Authority, **settings: Any
) -> AsyncIterator[tuple[Site, Listening]]:
    own = ca.sign("proxy.test")
    chosen: dict[str, Any] = {"features": FeatureSettings(), **settings}
    at = site(
        root,
        listen=ListenerSettings(
            http_port=0, https_port=0, certificate=own.certificate, key=own.key, ca=ca.file
        ),
        **chosen,
    )
    async with listening(at.settings, at.app) as where:
        yield at, where


def client(ca: Authority, pair: Pair | None = None) -> httpx.AsyncClient:
    context = ssl.create_default_context(cafile=ca.file)
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
    return httpx.AsyncClient(verify=context, trust_env=False)


async def said(ca: Authority, url: str, pair: Pair | None = None, method: str = "GET") -> Any:
    async with client(ca, pair) as http:
        answer = await http.request(method, url)
    return answer.status_code, answer.text


async def test_a_trusted_certificate_may(tmp_path: Path, ca: Authority) -> None:
    async with served(tmp_path, ca, trusted_hosts=("Foreman.test",)) as (_, at):
        status, _ = await said(ca, f"{at.https_url}/dhcp", ca.sign("FOREMAN.test"))
        assert status == 200


GUARDED = [
    ("/v2/features", "GET", "/features"),
    ("/dhcp/192.0.2.0", "GET", "/192.0.2.0"),
    ("/discovery/127.0.0.1/power/reboot", "PUT", "/127.0.0.1/power/reboot"),
    ("/tftp/serverName", "GET", "/serverName"),
    ("/dns/a.test.lan", "DELETE", "/a.test.lan"),
    ("/bmc/192.0.2.9/chassis/power/off", "PUT", "/192.0.2.9/chassis/power/off"),
    ("/logs", "GET", "/"),
]


async def test_others_may_not(tmp_path: Path, ca: Authority) -> None:
    evil = ca.sign("evil.test", other_name="foreman.test")
    nameless = ca.sign(None)
    async with served(tmp_path, ca, trusted_hosts=("foreman.test",)) as (site_, at):
        for path, method, inside in GUARDED:
            url = at.https_url + path
            assert await said(ca, url, None, method) == (403, NO_CERTIFICATE)
            assert await said(ca, url, evil, method) == (403, untrusted("evil.test", inside))
            assert await said(ca, url, nameless, method) == (403, NO_CERTIFICATE)
    assert (site_.to_nodes, site_.power.told) == ([], [])


async def test_without_a_list_any_certificate_of_the_authority_may(
    tmp_path: Path, ca: Authority
) -> None:
    async with served(tmp_path, ca) as (_, at):
        url = f"{at.https_url}/dhcp"
        assert (await said(ca, url, ca.sign("anybody")))[0] == 200
        assert await said(ca, url) == (403, "No client SSL certificate supplied")


async def test_an_empty_list_denies_everyone(tmp_path: Path, ca: Authority) -> None:
    async with served(tmp_path, ca, trusted_hosts=()) as (_, at):
        status, _ = await said(ca, f"{at.https_url}/dhcp", ca.sign("foreman.test"))
        assert status == 403


async def test_another_authoritys_certificate_ends_in_the_handshake(
    tmp_path: Path, ca: Authority
) -> None:
    foreign = Authority(tmp_path, "foreign").sign("foreman.test")
    async with served(tmp_path, ca, trusted_hosts=("foreman.test",)) as (_, at):
        settings = SmartProxySettings(
            url=at.https_url,
            client_cert=foreign.certificate,
            client_key=foreign.key,
            ca=ca.file,
            timeout=5,
        )
        async with SmartProxy(settings) as proxy:
            # Whether the alert or the closed connection is seen first is the network's choice.
            with pytest.raises((Refused, Unavailable)):
                await proxy.version()


async def test_our_client_comes_through_with_its_certificate(tmp_path: Path, ca: Authority) -> None:
    pair = ca.sign("rackrise.test")
    async with served(tmp_path, ca, trusted_hosts=("rackrise.test",)) as (_, at):
        settings = SmartProxySettings(
            url=at.https_url,
            boot_url=at.http_url,
            client_cert=pair.certificate,
            client_key=pair.key,
            ca=ca.file,
        )
        async with SmartProxy(settings) as proxy:
            assert [str(subnet.network) for subnet in await proxy.subnets()] == ["192.0.2.0/24"]
            assert await proxy.boot_file_state("nothing") is None


OPEN = [
    ("GET", "/features"),
    ("GET", "/version"),
    ("GET", "/unattended/templateServer"),
    ("GET", "/unattended/provision?token=x"),
    ("GET", "/userdata/user-data"),
    ("GET", "/httpboot/file"),
    ("GET", "/EFI/file"),
    ("POST", "/discovery/create"),
]


async def test_hosts_need_no_certificate_on_either_listener(tmp_path: Path, ca: Authority) -> None:
    (tmp_path / "file").write_text("x")
    async with served(tmp_path, ca, trusted_hosts=()) as (_, at):
        for method, path in OPEN:
            for url in (at.http_url, at.https_url):
                assert (await said(ca, url + path, None, method))[0] == 200, (method, path)


async def test_what_changes_servers_is_not_served_in_plain(tmp_path: Path, ca: Authority) -> None:
    async with served(tmp_path, ca) as (_, at):
        for path, method, _inside in GUARDED:
            if not path.startswith(("/v2", "/discovery")):
                assert await said(ca, at.http_url + path, None, method) == (404, NOT_FOUND)


async def test_plain_http_goes_by_the_verified_name(tmp_path: Path, ca: Authority) -> None:
    features = FeatureSettings(dhcp="true")
    trusted = {"features": features, "trusted_hosts": ("localhost",)}
    async with served(tmp_path, ca, **trusted) as (_, at):
        assert (await said(ca, f"{at.http_url}/dhcp"))[0] == 200
    async with served(tmp_path, ca, **trusted, name="evil.test") as (_, at):
        assert await said(ca, f"{at.http_url}/dhcp") == (403, untrusted("evil.test", "/"))
    async with served(tmp_path, ca, **trusted, name=None) as (_, at):
        assert await said(ca, f"{at.http_url}/dhcp") == (403, untrusted("127.0.0.1", "/"))


async def test_no_header_makes_anyone_trusted(tmp_path: Path, ca: Authority) -> None:
    spoofed = {
        "X-Forwarded-For": "127.0.0.1",
        "X-Client-Cert": "foreman.test",
        "SSL_CLIENT_CERT": "foreman.test",
        "rackrise.arrival": "in-process",
    }
    async with served(tmp_path, ca, trusted_hosts=("foreman.test",)) as (_, at), client(ca) as http:
        answer = await http.get(f"{at.https_url}/dhcp", headers=spoofed)
    assert (answer.status_code, answer.text) == (403, NO_CERTIFICATE)


async def test_orders_to_machines_over_plain_http_need_a_list(
    tmp_path: Path, ca: Authority
) -> None:
    async with served(tmp_path, ca) as (site_, at):
        url = f"{at.http_url}/discovery/127.0.0.1/power/reboot"
        status, text = await said(ca, url, None, "PUT")
    assert (status, "trusted_hosts" in text, site_.to_nodes) == (403, True, [])


async def test_an_app_without_a_listener_counts_as_plain_http(tmp_path: Path) -> None:
    at = site(tmp_path, features=FeatureSettings(), trusted_hosts=("foreman.test",))
    async with at.plain() as http:
        assert (await http.get("/dhcp")).status_code == 404
        assert (await http.get("/v2/features")).status_code == 403
    async with at.trusted() as http:
        assert (await http.get("/dhcp")).status_code == 200
        assert (await http.get("/v2/features")).status_code == 200


async def test_what_is_switched_off_is_off_for_everyone(tmp_path: Path) -> None:
    at = site(tmp_path, features=FeatureSettings(dhcp="false", templates="false"))
    async with at.trusted() as http:
        for path in ("/dhcp", "/unattended/provision"):
            assert (await http.get(path)).text == NOT_FOUND
        assert "dhcp" not in (await http.get("/features")).json()


async def test_the_systems_own_names_are_verified_forward() -> None:
    assert await reverse_name_of(forward_verify=True)("192.0.2.255") is None
    assert await reverse_name_of(forward_verify=True)("127.0.0.1") is not None


async def test_a_port_in_use_is_said_at_once(tmp_path: Path, ca: Authority) -> None:
    async with served(tmp_path, ca) as (_, at):
        port = httpx.URL(at.http_url).port
        again = site(tmp_path, listen=ListenerSettings(http_port=port))
        with pytest.raises(OSError, match="in use"):
            async with listening(again.settings, again.app):
                pass


async def test_serving_ends_when_it_is_cancelled_and_frees_its_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = site(tmp_path, listen=ListenerSettings(http_port=port)).settings
    serving = asyncio.create_task(serve(settings))
    async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(10):
        while True:
            try:
                assert (await http.get(f"http://127.0.0.1:{port}/version")).status_code == 200
                break
            except httpx.ConnectError:
                await asyncio.sleep(0.01)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    socket.create_server(("127.0.0.1", port)).close()
