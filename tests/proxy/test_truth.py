"""Where upstream would say 200, and what is behind us says no; and the API's traps."""

import base64
import hashlib
import os
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import httpx
import pytest

from integrations.errors import Conflict, Unavailable, Unverified
from integrations.power import PowerState
from integrations.records import (
    BootConfig,
    BootFile,
    DnsRecord,
    Loader,
    Outcome,
    Reservation,
)
from integrations.smart_proxy import BmcAccess, SmartProxy, SmartProxySettings
from proxy.app import in_process
from tests.proxy.site import Site, site, streamed

NET = IPv4Network("192.0.2.0/24")
MAC = "52:54:00:aa:bb:01"
WEB01 = Reservation(
    mac=MAC,
    ip=IPv4Address("192.0.2.50"),
    name="web01.example.org",
    hostname="web01.example.org",
    next_server="192.0.2.2",
    filename="pxelinux.0",
    network=NET,
)
A = DnsRecord(name="web01.example.org", type="A", value="192.0.2.50")
KERNEL = BootFile(
    path="boot/labos-1-vmlinuz",
    url="http://tree.example.org/vmlinuz",
    sha256=hashlib.sha256(b"kernel").hexdigest(),
    size=6,
)
BMC = BmcAccess(host="192.0.2.9", user="admin", password="secret")
AUTH = httpx.BasicAuth("admin", "secret")
_WANT_DIGEST = {"Want-Repr-Digest": "sha-256=1"}


def client(at: Site) -> SmartProxy:
    return SmartProxy(SmartProxySettings(url="http://proxy"), transport=in_process(at.app))


# Our client through our proxy: every outcome is what really happened


async def test_a_reservation_comes_and_goes(tmp_path: Path) -> None:
    at = site(tmp_path)
    async with client(at) as proxy:
        assert await proxy.reserve(WEB01) is Outcome.CREATED
        assert await proxy.reserve(WEB01) is Outcome.ALREADY
        assert at.dhcp.kept == [WEB01]
        assert await proxy.network(NET) == ([WEB01], [])
        other = WEB01.model_copy(update={"mac": "52:54:00:aa:bb:02", "name": "db01.example.org"})
        with pytest.raises(Conflict, match=r"web01\.example\.org"):
            await proxy.reserve(other)
        assert await proxy.release(WEB01) is Outcome.REMOVED
    assert at.dhcp.kept == []


async def test_a_dead_dhcp_server_is_worth_another_try(tmp_path: Path) -> None:
    at = site(tmp_path)
    at.dhcp.down = True
    async with client(at) as proxy:
        with pytest.raises(Unavailable, match="No response from DHCP server"):
            await proxy.reserve(WEB01)


async def test_a_dead_name_server_is_no_200(tmp_path: Path) -> None:
    at = site(tmp_path)
    at.dns.down = True
    async with client(at) as proxy:
        with pytest.raises(Unavailable, match="No response from DNS server"):
            await proxy.add_dns(A)
        with pytest.raises(Unavailable, match="No response from DNS server"):
            await proxy.remove_dns(A)


async def test_records_come_and_go(tmp_path: Path) -> None:
    at = site(tmp_path)
    ptr = DnsRecord(name="50.2.0.192.in-addr.arpa", type="PTR", value="web01.example.org")
    async with client(at) as proxy:
        for record in (A, ptr):
            await proxy.add_dns(record)
            await proxy.add_dns(record)
        assert at.dns.kept == [A, ptr]
        with pytest.raises(Conflict):
            await proxy.add_dns(A.model_copy(update={"value": "192.0.2.51"}))
        for record in (A, ptr):
            await proxy.remove_dns(record)
    assert at.dns.kept == []


async def test_a_boot_file_is_whole_or_an_error(tmp_path: Path) -> None:
    async with client(site(tmp_path)) as proxy:
        await proxy.fetch_boot_file(KERNEL)
        assert (await proxy.verify_boot_file(KERNEL)).size == 6
    assert (tmp_path / KERNEL.path).read_bytes() == b"kernel"


async def test_a_boot_file_is_proven_whole_where_it_lies_and_not_carried_over(
    tmp_path: Path,
) -> None:
    at = site(tmp_path)
    async with client(at) as proxy, at.plain() as http:
        await proxy.fetch_boot_file(KERNEL)
        head = await http.head(f"/httpboot/{KERNEL.path}", headers=_WANT_DIGEST)
        unasked = await http.head(f"/httpboot/{KERNEL.path}")
        digest = base64.b64encode(hashlib.sha256(b"kernel").digest()).decode()
        assert head.headers["repr-digest"] == f"sha-256=:{digest}:"
        assert "repr-digest" not in unasked.headers
        # As it is now, not as it was when it was fetched: same length, same time.
        at_rest = (tmp_path / KERNEL.path).stat()
        (tmp_path / KERNEL.path).write_bytes(b"kernal")
        os.utime(tmp_path / KERNEL.path, ns=(at_rest.st_atime_ns, at_rest.st_mtime_ns))
        with pytest.raises(Unverified, match="found 6 bytes"):
            await proxy.verify_boot_file(KERNEL)
        (tmp_path / KERNEL.path).unlink()
        assert await proxy.boot_file_state(KERNEL.path) is None


async def test_a_boot_file_with_another_checksum_is_unverified(tmp_path: Path) -> None:
    at = site(tmp_path, source=lambda _: streamed(b"kernal"))
    async with client(at) as proxy:
        with pytest.raises(Unverified):
            await proxy.fetch_boot_file(KERNEL)
    assert not (tmp_path / KERNEL.path).exists()


async def test_a_source_that_does_not_answer_is_worth_another_try(tmp_path: Path) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with client(site(tmp_path, source=fail)) as proxy:
        with pytest.raises(Unavailable, match=r"No response from http://tree\.example\.org"):
            await proxy.fetch_boot_file(KERNEL)


@pytest.mark.parametrize("loader", Loader)
async def test_boot_configurations_come_and_go(tmp_path: Path, loader: Loader) -> None:
    async with client(site(tmp_path)) as proxy:
        config = BootConfig(loader=loader, mac=MAC, text="Größe & 100 %\r\n+x\n")
        assert await proxy.write_boot_config(config) is Outcome.CREATED
        assert await proxy.remove_boot_config(loader, MAC) is Outcome.REMOVED
        await proxy.write_default(loader, "local\n")
        assert await proxy.read_default(loader) == "local\n"


async def test_machines_are_switched(tmp_path: Path) -> None:
    at = site(tmp_path)
    async with client(at) as proxy:
        await proxy.bmc_power(BMC, "off")
        assert await proxy.bmc_state(BMC) is PowerState.OFF
        await proxy.bmc_power(BMC, "cycle")
        await proxy.discovery_reboot(IPv4Address("192.0.2.7"))
    assert at.power.told == ["off", "reboot"]
    assert [str(one.url) for one in at.to_nodes] == ["https://192.0.2.7:8443/power/reboot"]


# Traps of the API


@pytest.mark.parametrize("false", ["false", "0", "", "FALSE"])
async def test_false_is_false_in_a_boot_override(tmp_path: Path, false: str) -> None:
    at = site(tmp_path)
    path = "/bmc/192.0.2.9/chassis/config/bootdevice/pxe"
    async with at.trusted() as http:
        form = {"reboot": false, "persistent": false}
        assert (await http.put(path, data=form, auth=AUTH)).status_code == 200
        assert at.power.told == ["boot pxe"]
        assert (await http.put(path, json={"reboot": True}, auth=AUTH)).status_code == 200
    assert at.power.told == ["boot pxe", "boot pxe", "reboot"]


async def test_a_lasting_override_is_refused_and_not_made_once(tmp_path: Path) -> None:
    at = site(tmp_path)
    async with at.trusted() as http:
        answer = await http.put(
            "/bmc/192.0.2.9/chassis/config/bootdevice/pxe", data={"persistent": "1"}, auth=AUTH
        )
    assert (answer.status_code, at.power.told) == (501, [])


async def test_arrays_are_read_with_and_without_brackets(tmp_path: Path) -> None:
    at = site(tmp_path)
    form = {"mac[]": MAC, "name": "x.example.org", "ip": "192.0.2.50", "related_macs[]": [MAC, MAC]}
    async with at.trusted() as http:
        assert (await http.post("/dhcp/192.0.2.0", data=form)).status_code == 200
    assert [one.mac for one in at.dhcp.kept] == [MAC]


async def test_removing_a_name_takes_all_its_records_of_that_type_only(tmp_path: Path) -> None:
    at = site(tmp_path)
    six = DnsRecord(name=A.name, type="AAAA", value="2001:db8::1")
    at.dns.kept = [A, A.model_copy(update={"value": "192.0.2.51"}), six]
    async with at.trusted() as http:
        assert (await http.delete(f"/dns/{A.name}/A")).status_code == 200
        assert (await http.delete(f"/dns/{A.name}/A")).status_code == 200
    assert at.dns.kept == [six]


@pytest.mark.parametrize("ip", ["203.0.113.5", "8.8.8.8", "::1", "localhost", "169.254.169.254"])
async def test_only_discovery_networks_are_called(tmp_path: Path, ip: str) -> None:
    at = site(tmp_path)
    async with at.trusted() as http:
        answer = await http.put(f"/discovery/{ip}/power/reboot")
    assert answer.status_code in (400, 403)
    assert at.to_nodes == []


async def test_facts_say_who_sent_them(tmp_path: Path) -> None:
    at = site(tmp_path, gateway=lambda _: httpx.Response(201, json={}))
    async with at.plain() as http:
        answer = await http.post(
            "/discovery/create",
            json={"facts": {"discovery_bootif": MAC}},
            headers={"X-Forwarded-For": "10.6.6.6"},
        )
    assert (answer.status_code, answer.text) == (200, "")
    (sent,) = at.to_gateway
    assert sent.headers.get_list("x-forwarded-for") == ["192.0.2.77"]
    assert sent.url.path == "/api/v2/discovered_hosts/facts"


async def test_a_silent_gateway_is_told_in_the_words_of_discovery(tmp_path: Path) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with site(tmp_path, gateway=fail).plain() as http:
        facts = await http.post("/discovery/create", json={"facts": {}})
        template = await http.get("/unattended/provision")
    assert facts.status_code == 500
    assert facts.text == "Discovery failed, code 503, reason: refused"
    assert template.status_code == 503


@pytest.mark.parametrize(("theirs", "ours"), [(422, 422), (415, 415), (500, 500), (503, 500)])
async def test_facts_that_the_gateway_refuses_are_no_fault_of_the_proxy(
    tmp_path: Path, theirs: int, ours: int
) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        return httpx.Response(theirs, json={"message": "no"})

    async with site(tmp_path, gateway=refuse).plain() as http:
        answer = await http.post("/discovery/create", json={"facts": {}})
    said = f"Discovery failed, code {theirs}, reason: no"
    assert (answer.status_code, answer.text) == (ours, said)


async def test_headers_are_passed_on_byte_for_byte(tmp_path: Path) -> None:
    at = site(tmp_path, gateway=lambda _: httpx.Response(201, json={}))
    headers = {b"Content-Type": b"application/json; x=\xff", b"X-Of-Host": b"\xc3\xa9\xff"}
    async with at.plain() as http:
        facts = await http.post("/discovery/create", content=b"{}", headers=headers)
        told = await http.post("/unattended/built", content=b"", headers=headers)
    assert (facts.status_code, told.status_code) == (200, 200)
    sent, relayed = (dict(one.headers.raw) for one in at.to_gateway)
    assert sent[b"Content-Type"] == headers[b"Content-Type"]
    assert relayed[b"x-of-host"] == headers[b"X-Of-Host"]


async def test_a_request_that_is_too_long_for_the_gateway_is_refused(tmp_path: Path) -> None:
    async with site(tmp_path).plain() as http:
        # Each of these becomes three characters when it is quoted anew.
        answer = await http.get("/unattended/provision?token=" + "%ff" * 15_000)
    assert answer.status_code == 414


async def test_the_relay_keeps_macs_and_drops_what_hosts_say_of_their_address(
    tmp_path: Path,
) -> None:
    at = site(tmp_path)
    async with at.plain() as http:
        await http.get(
            "/unattended/provision",
            params={"token": "t", "static": "1"},
            headers={
                "X-RHN-Provisioning-MAC-0": f"eth0 {MAC}",
                "X_Forwarded_For": "10.6.6.6",
                "Forwarded": "for=10.6.6.6",
            },
        )
    (sent,) = at.to_gateway
    assert sent.headers["x-rhn-provisioning-mac-0"] == f"eth0 {MAC}"
    assert "10.6.6.6" not in str(sent.headers.multi_items())
    assert dict(sent.url.params) == {"token": "t", "static": "1", "url": "http://proxy.test:8000"}


async def test_a_redirect_of_the_gateway_is_not_followed(tmp_path: Path) -> None:
    at = site(tmp_path, gateway=lambda _: httpx.Response(302, headers={"Location": "http://x/"}))
    async with at.plain() as http:
        assert (await http.get("/unattended/provision")).status_code == 502
    assert len(at.to_gateway) == 1


async def test_http_boot_serves_ranges_and_heads_and_nothing_outside(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "boot").mkdir(parents=True)
    (root / "boot" / "vmlinuz").write_bytes(b"0123456789")
    (tmp_path / "secret").write_text("secret")
    (root / "link").symlink_to(tmp_path / "secret")
    async with site(root).plain() as http:
        head = await http.head("/httpboot/boot/vmlinuz")
        part = await http.get("/EFI/boot/vmlinuz", headers={"Range": "bytes=2-4"})
        outside = ["%2e%2e/secret", "%2Fetc/passwd", "%00", "x" * 999]
        statuses = [
            (await http.get(f"/httpboot/{path}")).status_code
            for path in ("boot", "nothing", "link", *outside)
        ]
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "10", b"")
    assert (part.status_code, part.content) == (206, b"234")
    assert statuses == [403, 404, 404, 404, 404, 404, 404]


async def test_bodies_have_a_bound(tmp_path: Path) -> None:
    at = site(tmp_path)

    async def endless() -> Any:
        for _ in range(17):
            yield b"x" * 1024 * 1024

    async with at.plain() as http:
        answer = await http.post("/discovery/create", content=endless())
    assert answer.status_code == 413
    assert at.to_gateway == []
