"""The doctor finds each kind of failure, says what to do, and leaves everything as it was."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from prefect import Task
from pydantic import SecretStr

from integrations.dns import DnsSettings
from integrations.records import BootConfig, DnsRecord, Loader, Reservation
from integrations.smart_proxy import SmartProxy, SmartProxySettings
from inventory.models import Bmc, Domain, InstallTree, Proxy, Site, Subnet
from lab.doubles.dhcp import Fault
from lab.doubles.dns import DnsFault
from lab.doubles.tftp import TftpFault
from lab.tsig import OWNER
from proxy.app import create_app, in_process
from tasks.dns import DnsKeeper
from tasks.doctor.boot import examine_tftp
from tasks.doctor.checked import Checked, Outcome
from tasks.doctor.content import examine_trees
from tasks.doctor.dhcp import examine_dhcp
from tasks.doctor.dns import examine_dns, reverse_probe_address
from tasks.doctor.examination import alone
from tasks.doctor.probing import mark_of
from tasks.doctor.reach import examine_gateways, examine_power
from tests.flows.bench import NETWORK, Bench
from tests.lab.real_world import boot_files

Examine = Task[[], Any]


@pytest.fixture
def whole(bench: Bench) -> Bench:
    """A bench where everything is there that hosts load."""
    (bench.root / "boot" / "fdi-image").mkdir(parents=True)
    (bench.root / "pxelinux.cfg").mkdir()
    (bench.root / "grub2").mkdir()
    for name in ("pxelinux.0", "boot/fdi-image/vmlinuz0", "boot/fdi-image/initrd0.img"):
        (bench.root / name).write_bytes(b"boots" * 1000)
    return bench


def outside(bench: Bench) -> object:
    """All that the doubles hold."""
    return (
        bench.dhcp.reservations,
        bench.dns_records("A"),
        bench.dns_records("PTR"),
        boot_files(bench.root),
    )


async def examined(bench: Bench, task: Examine) -> list[Checked]:
    """What a task finds; it must leave the site as it is."""
    before = outside(bench)
    found: list[Checked] = await task.fn()
    assert outside(bench) == before
    return found


def failures(found: list[Checked]) -> list[Checked]:
    return [one for one in found if one.outcome is Outcome.FAILED]


def told(found: list[Checked]) -> str:
    return "\n".join(f"{one.outcome} {one.check}: {one.seen} → {one.advice}" for one in found)


@pytest.mark.parametrize("task", [examine_dhcp, examine_tftp, examine_dns, examine_trees])
async def test_a_site_that_is_well_is_called_so_and_left_as_it_was(
    whole: Bench, task: Examine
) -> None:
    found = await examined(whole, task)
    assert found
    assert {one.outcome for one in found} == {Outcome.OK}, told(found)
    assert not any(one.advice for one in found)


async def test_probes_are_really_made_at_every_kind_of_system(whole: Bench) -> None:
    found = [one for task in (examine_dhcp, examine_tftp, examine_dns) for one in await task.fn()]
    proved = [one for one in found if "removed and seen gone" in one.seen]
    # One reservation, three loaders, a name and its way back.
    assert len(proved) == 6, told(found)
    assert whole.dhcp.commands["config-set"] >= 2
    assert any("is free for others" in one.seen for one in found)


async def test_the_address_of_a_probe_is_given_back(whole: Bench) -> None:
    await whole.change(Subnet, range_to="192.0.2.20")
    assert not failures(await examined(whole, examine_dhcp))
    first = await whole.proxy.unused_ip(
        NETWORK, "52:54:00:aa:bb:09", *[NETWORK.network_address + 20] * 2
    )
    assert str(first) == "192.0.2.20"


async def test_an_address_that_is_promised_to_a_host_is_not_taken_for_a_probe(whole: Bench) -> None:
    name = await whole.selected(1)
    await whole.promise(name, "192.0.2.20")
    await whole.change(Subnet, range_to="192.0.2.20")
    found = await examined(whole, examine_dhcp)
    (one,) = failures(found)
    assert "promised to hosts" in one.seen
    assert "Widen range_from" in one.advice
    skipped = next(one for one in found if one.outcome is Outcome.NOT_TRIED)
    assert skipped.seen == "no free address was found"


async def test_a_dhcp_server_that_is_down_hides_nothing_and_is_told(whole: Bench) -> None:
    whole.dhcp.fault = Fault.OFFLINE
    found = await examined(whole, examine_dhcp)
    (one,) = failures(found)
    assert "See that the DHCP server runs" in one.advice
    skipped = [one for one in found if one.outcome is Outcome.NOT_TRIED]
    assert len(skipped) == 4
    assert all("the feature dhcp of proxy p does not work" in one.seen for one in skipped)
    # The others are as well as ever.
    assert not failures(await examined(whole, examine_dns))


async def test_a_server_that_says_yes_and_does_nothing_is_caught(whole: Bench) -> None:
    whole.dhcp.fault = Fault.LIES
    (one,) = failures(await examined(whole, examine_dhcp))
    assert "can be made and removed" in one.check
    assert one.advice


async def test_a_subnet_that_dhcp_does_not_serve_is_told(whole: Bench) -> None:
    await whole.change(Subnet, network="198.51.100.0/24", range_from="198.51.100.20",
                       range_to="198.51.100.29")  # fmt: skip
    (one,) = failures(await examined(whole, examine_dhcp))
    assert "it serves: 192.0.2.0/24" in one.seen
    assert "Declare the subnet" in one.advice


async def test_a_range_that_dhcp_gives_out_itself_is_told(whole: Bench) -> None:
    await whole.change(Subnet, range_to="192.0.2.150")
    (one,) = failures(await examined(whole, examine_dhcp))
    assert "reaches into it" in one.seen
    assert "Part the two ranges" in one.advice


async def test_a_key_that_the_name_server_does_not_know_is_told(whole: Bench) -> None:
    wrong = DnsSettings(
        address=IPv4Address(whole.dns.address),
        port=whole.dns.port,
        key_name=OWNER.name,
        secret=SecretStr("d3Jvbmc="),
        zones=("lab.example", "2.0.192.in-addr.arpa"),
    )
    await _exchange_dns(whole, wrong)
    found = await examined(whole, examine_dns)
    assert failures(found), told(found)
    assert all("TSIG" in one.seen and "tsig-keygen" in one.advice for one in failures(found))
    # The name servers themselves are well, and that is said.
    assert len([one for one in found if one.outcome is Outcome.OK]) == 2


async def _exchange_dns(bench: Bench, settings: DnsSettings) -> None:
    changed = bench.settings.model_copy(update={"dns": (settings,)})
    app = create_app(changed, boot=bench.boot_root, nodes=bench.nodes)
    client = SmartProxy(SmartProxySettings(url="http://proxy.test"), transport=in_process(app))
    bench.clients.client = client


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (DnsFault.SILENT, "See that the name server runs"),
        (DnsFault.REFUSED, "update-policy { grant KEY zonesub ANY; };"),
        (DnsFault.SERVFAIL, "it fails by itself"),
        (DnsFault.LAME, "Name only servers that are authoritative"),
    ],
)
async def test_each_way_of_a_name_server_to_fail_has_its_advice(
    whole: Bench, fault: DnsFault, advice: str
) -> None:
    whole.dns.fault = fault
    found = await examined(whole, examine_dns)
    assert any(advice in one.advice for one in failures(found)), told(found)


async def test_updates_that_the_name_server_forgets_are_caught(whole: Bench) -> None:
    whole.dns.fault = DnsFault.LIES
    found = await examined(whole, examine_dns)
    assert {one.check for one in failures(found)} == {
        "an A record can be made and removed",
        "a PTR record in 192.0.2.0/24 can be made and removed",
    }


async def test_a_domain_without_name_servers_is_told(whole: Bench) -> None:
    await whole.change(Domain, name_servers=[])
    found = await examined(whole, examine_dns)
    assert all("Name only servers" in one.advice for one in failures(found))
    assert failures(found)


async def test_a_tftp_server_that_is_silent_is_told(whole: Bench) -> None:
    whole.tftp.fault = TftpFault.SILENT
    found = await examined(whole, examine_tftp)
    advices = {one.advice.split(" at ")[0] for one in failures(found)}
    assert any("See that the TFTP server runs" in one for one in advices), told(found)
    # What the proxy itself can say is well.
    assert any(one.outcome is Outcome.OK for one in found)


async def test_a_proxy_that_writes_elsewhere_is_told(whole: Bench, tmp_path_factory: Any) -> None:
    other = tmp_path_factory.mktemp("other")
    shutil.copytree(whole.root, other, dirs_exist_ok=True)
    whole.tftp._root = other.resolve()
    found = await examined(whole, examine_tftp)
    assert len(failures(found)) == 3
    assert all("compare [tftp] root" in one.advice for one in failures(found)), told(found)


async def test_a_loader_that_is_not_there_is_told(whole: Bench) -> None:
    (whole.root / "pxelinux.0").unlink()
    (whole.root / "boot" / "fdi-image" / "initrd0.img").unlink()
    found = failures(await examined(whole, examine_tftp))
    assert {one.check for one in found} == {
        "the loader pxelinux.0 is there",
        "the discovery image's initrd is there",
    }
    assert all("Copy it into the directory" in one.advice for one in found)


async def test_a_tree_without_its_kernel_is_told(whole: Bench) -> None:
    (whole.tree / "images" / "pxeboot" / "vmlinuz").unlink()
    (one,) = failures(await examined(whole, examine_trees))
    assert one.check == "its kernel is there"
    assert "Correct the URL" in one.advice


async def test_a_tree_that_is_not_there_leaves_its_files_untried(whole: Bench) -> None:
    await whole.change(InstallTree, url="http://127.0.0.1:1/tree")
    found = await examined(whole, examine_trees)
    assert "See that the web server" in failures(found)[0].advice
    assert [one.outcome for one in found].count(Outcome.NOT_TRIED) == 2


async def test_a_gateway_that_nobody_answers_at_is_told(whole: Bench) -> None:
    await whole.change(Site, gateway_url="http://127.0.0.1:1")
    (one,) = failures(await examined(whole, examine_gateways))
    assert "rackrise gateway" in one.advice


async def test_a_bmc_without_credentials_is_told(whole: Bench) -> None:
    async with whole.database.sessions.begin() as session:
        session.add(
            Bmc(name="b1", mac="52:54:00:aa:bb:01", kind="ipmi", credentials="none-such",
                settings={"host": "192.0.2.9"})
        )  # fmt: skip
    found = await examined(whole, examine_power)
    assert [one.outcome for one in found] == [Outcome.FAILED, Outcome.NOT_TRIED]
    assert "rackrise bmc credentials" in found[0].advice


async def test_what_a_killed_doctor_has_left_is_removed_by_the_next(whole: Bench) -> None:
    before = outside(whole)
    async with whole.database.sessions() as session:
        mark = await mark_of(session)
    name = f"{mark.label}.lab.example"
    await whole.proxy.reserve(
        Reservation(mac=mark.mac("DHCP 192.0.2.0/24"), ip=IPv4Address("192.0.2.25"),
                    name=f"{mark.label}-192-0-2-0", network=NETWORK)
    )  # fmt: skip
    await whole.proxy.add_dns(DnsRecord(name=name, type="A", value="192.0.2.77"))
    await whole.proxy.add_dns(DnsRecord(name="255.2.0.192.in-addr.arpa", type="PTR", value=name))
    mac = mark.mac(f"TFTP 192.0.2.0/24 {Loader.PXELINUX}")
    text = "# A probe of `rackrise doctor`; it may be removed.\n# older"
    await whole.proxy.write_boot_config(BootConfig(loader=Loader.PXELINUX, mac=mac, text=text))
    assert outside(whole) != before
    tasks = (examine_dhcp, examine_dns, examine_tftp)
    found = [one for task in tasks for one in await task.fn()]
    assert not failures(found), told(found)
    assert len([one for one in found if "an earlier doctor" in one.seen]) == 4, told(found)
    assert outside(whole) == before


async def test_somebody_elses_record_in_the_probes_place_is_left(whole: Bench) -> None:
    whole.put_dns("255.2.0.192.in-addr.arpa", "PTR", "broadcast.lab.example.")
    (one,) = failures(await examined(whole, examine_dns))
    assert "there is something already" in one.seen
    assert "broadcast.lab.example" in one.advice


async def test_a_doctor_that_is_cancelled_takes_its_probes_away(
    whole: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = outside(whole)
    written, read = asyncio.Event(), DnsKeeper.read

    async def hangs(self: DnsKeeper, record: DnsRecord) -> DnsRecord | None:
        there = await read(self, record)
        if there is not None and not written.is_set():
            written.set()
            await asyncio.Event().wait()
        return there

    monkeypatch.setattr(DnsKeeper, "read", hangs)
    doctor = asyncio.create_task(examine_dns.fn())
    async with asyncio.timeout(20):
        await written.wait()
        assert outside(whole) != before
        doctor.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doctor
    assert outside(whole) == before


async def test_a_check_that_takes_too_long_is_ended_and_leaves_nothing(
    whole: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.doctor.dns.PROBE_SECONDS", 1.0)
    add = SmartProxy.add_dns

    async def slow(self: SmartProxy, record: DnsRecord) -> None:
        await asyncio.sleep(1.5)
        await add(self, record)

    monkeypatch.setattr(SmartProxy, "add_dns", slow)
    found = await examined(whole, examine_dns)
    assert [one.seen for one in failures(found)] == ["not done within 1 s"] * 2


async def test_two_doctors_wait_for_each_other(
    whole: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.doctor.examination._WAIT", "100ms")
    async with alone():
        with pytest.raises(Exception, match="another doctor is under way"):
            async with alone():
                pass
    async with alone():
        pass


def test_a_reverse_probe_never_has_an_address_that_a_host_may_get() -> None:
    def of(network: str, first: str, last: str) -> str:
        ends = IPv4Address(first), IPv4Address(last)
        return str(reverse_probe_address(IPv4Network(network), *ends))

    assert of("192.0.2.0/24", "192.0.2.20", "192.0.2.29") == "192.0.2.255"
    assert of("10.1.0.0/16", "10.1.7.10", "10.1.7.99") == "10.1.7.255"
    assert of("10.1.0.0/16", "10.1.0.1", "10.1.255.254") == "10.1.0.0"
    assert of("10.1.0.0/30", "10.1.0.0", "10.1.0.3") == "None"


async def test_a_proxy_of_the_site_that_this_worker_has_not_is_told(
    whole: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_: Proxy) -> SmartProxy:
        raise ValueError("proxy p is to run in this process, and has no settings")

    monkeypatch.setattr(whole.clients, "of", none)
    tasks: list[Callable[[], Awaitable[list[Checked]]]] = [examine_dhcp.fn, examine_dns.fn]
    for task in tasks:
        found = await task()
        assert "has no settings" in failures(found)[0].seen
        assert "RACKRISE_PROXY_FILE" in failures(found)[0].advice
