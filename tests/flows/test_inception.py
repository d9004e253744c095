"""Inception against doubles: each record once, verified, and nobody else's touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.inception import inception
from integrations.smart_proxy import SmartProxy, SmartProxySettings
from inventory.arrows import Evidence, Phase
from inventory.life import HostState
from inventory.models import EffectState, HostGroup, Step, StepState, Subnet
from lab.doubles.dns import DnsFault
from lab.doubles.smart_proxy import Lies, QuirkySmartProxy
from tasks.company import NothingDone
from tests.flows.bench import Bench

FOREIGN_MAC = "52:54:00:ff:ff:ff"


async def fails(bench: Bench, name: str, *, at: int, saying: str) -> None:
    """Run inception, which must leave the host held at an arrow, with reason and advice."""
    with pytest.raises(NothingDone):
        await inception(hosts=[name])
    assert (await bench.host(name)).state is HostState.HELD
    build = await bench.build(name)
    assert build.held_step == at
    assert saying in (build.held_reason or "")
    assert "retry" in (build.held_advice or "")
    step = (await bench.steps(name))[at]
    assert step.state is StepState.FAILED
    assert step.error == build.held_reason
    assert not bench.images.reboots or at in (16, 17)


async def goes_on(bench: Bench, name: str) -> None:
    """After the cause is gone: a person's retry, which must end well."""
    assert await bench.retry(name) is Phase.INCEPTION
    await inception(hosts=[name], company=await bench.company(name))
    assert (await bench.host(name)).state is HostState.REBOOTING


async def test_every_record_is_made_once_and_verified(bench: Bench) -> None:
    name = await bench.selected(1)
    await inception(hosts=[name])
    assert (await bench.host(name)).state is HostState.REBOOTING
    made = await bench.effects(name)
    assert {one.state for one in made} == {EffectState.VERIFIED}
    systems = ["TFTP", "boot file", "boot file", "DHCP", "DNS", "DNS", "power"]
    assert [one.system for one in made] == systems
    arrows = await bench.steps(name)
    assert [arrows[n].evidence for n in range(6, 18)] == [Evidence.OBSERVED] * 12
    assert all(arrows[n].state is StepState.DONE for n in range(6, 18))
    assert len(bench.dhcp.reservations) == 1
    assert bench.images.reboots == ["192.0.2.100"]


async def test_the_identical_run_again_makes_no_second_change(bench: Bench) -> None:
    name = await bench.selected(1)
    await inception(hosts=[name])
    before = await world(bench)
    steps = await bench.steps(name)
    await inception(hosts=[name])
    assert await world(bench) == before
    assert await bench.steps(name) == steps
    assert bench.images.reboots == ["192.0.2.100"]


async def test_a_lost_memory_of_what_was_done_makes_no_second_change(bench: Bench) -> None:
    name = await bench.selected(1)
    await inception(hosts=[name])
    before = await world(bench)
    made = {one.key: one.before for one in await bench.effects(name)}
    await bench.change(Step, state=StepState.PENDING)
    await inception(hosts=[name])
    assert await world(bench) == before
    assert {one.key: one.before for one in await bench.effects(name)} == made
    assert {one.state for one in await bench.effects(name)} == {EffectState.VERIFIED}
    assert bench.images.reboots == ["192.0.2.100"]


async def world(bench: Bench) -> tuple[object, ...]:
    """Everything outside that a second change would show in."""
    files = {
        str(path.relative_to(bench.root)): path.stat().st_mtime_ns
        for path in bench.root.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    reservations = bench.dhcp.commands["config-set"]
    records = bench.dns_records("A"), bench.dns_records("PTR")
    return reservations, files, bench.dns.updates, *records


async def test_a_foreign_reservation_of_the_interface_is_a_conflict(bench: Bench) -> None:
    name = await bench.selected(1)
    foreign = {
        "hw-address": "52:54:00:aa:bb:01",
        "ip-address": "192.0.2.77",
        "hostname": "theirs.lab.example",
    }
    bench.dhcp.reservations.append(dict(foreign))
    await fails(bench, name, at=12, saying="theirs.lab.example")
    assert bench.dhcp.reservations == [foreign]
    bench.dhcp.reservations.clear()
    await goes_on(bench, name)


async def test_a_foreign_reservation_of_the_address_is_a_conflict(bench: Bench) -> None:
    name = await bench.selected(1)
    foreign = {
        "hw-address": FOREIGN_MAC,
        "ip-address": "192.0.2.20",
        "hostname": "theirs.lab.example",
    }
    await bench.promise(name, "192.0.2.20")
    bench.dhcp.reservations.append(dict(foreign))
    await fails(bench, name, at=7, saying="theirs.lab.example")
    assert bench.dhcp.reservations == [foreign]


async def test_a_foreign_name_in_dns_is_a_conflict(bench: Bench) -> None:
    name = await bench.selected(1)
    bench.put_dns(name, "A", "192.0.2.77")
    await fails(bench, name, at=14, saying="192.0.2.77")
    assert bench.dns_records("A") == {name: ["192.0.2.77"]}


async def test_a_foreign_address_in_dns_is_a_conflict(bench: Bench) -> None:
    await bench.change(Subnet, range_to="192.0.2.20")
    name = await bench.selected(1)
    bench.put_dns("20.2.0.192.in-addr.arpa", "PTR", "theirs.lab.example.")
    await fails(bench, name, at=14, saying="theirs.lab.example")
    assert bench.dns_records("PTR") == {"20.2.0.192.in-addr.arpa": ["theirs.lab.example"]}


async def test_a_name_with_several_foreign_records_keeps_them_all(bench: Bench) -> None:
    name = await bench.selected(1)
    for value in ("192.0.2.77", "192.0.2.78"):
        bench.put_dns(name, "A", value)
    await fails(bench, name, at=14, saying="192.0.2.78")
    assert sorted(bench.dns_records("A")[name]) == ["192.0.2.77", "192.0.2.78"]


async def test_a_foreign_boot_configuration_is_a_conflict(bench: Bench) -> None:
    name = await bench.selected(1)
    foreign = bench.root / "pxelinux.cfg" / "01-52-54-00-aa-bb-01"
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text("# made by hand\n")
    await fails(bench, name, at=9, saying="a record that is not ours")
    assert "made by hand" in ((await bench.build(name)).held_advice or "")
    assert foreign.read_text() == "# made by hand\n"


async def test_an_exhausted_range_holds_the_host(bench: Bench) -> None:
    await bench.change(Subnet, range_to="192.0.2.21")
    for last in (20, 21):
        bench.dhcp.reservations.append(
            {"hw-address": f"52:54:00:ff:ff:{last}", "ip-address": f"192.0.2.{last}"}
        )
    name = await bench.selected(1)
    await fails(bench, name, at=7, saying="no address is free")
    assert len(bench.dhcp.reservations) == 2


@pytest.mark.parametrize("free", range(20, 25))
async def test_addresses_that_are_promised_to_other_hosts_are_passed_by(
    bench: Bench, free: int
) -> None:
    await bench.change(Subnet, range_to="192.0.2.24")
    for number in {20, 21, 22, 23, 24} - {free}:
        await bench.promise(await bench.discovered(number), f"192.0.2.{number}")
    name = await bench.selected(1)
    await inception(hosts=[name])
    assert [one["ip-address"] for one in bench.dhcp.reservations] == [f"192.0.2.{free}"]


async def test_a_range_that_is_all_promised_says_so(bench: Bench) -> None:
    await bench.change(Subnet, range_to="192.0.2.20")
    await bench.promise(await bench.discovered(2), "192.0.2.20")
    name = await bench.selected(1)
    await fails(bench, name, at=7, saying="promised to other hosts")


async def test_a_silent_name_server_holds_the_host_before_its_reboot(bench: Bench) -> None:
    name = await bench.selected(1)
    bench.dns.fault = DnsFault.SERVFAIL
    await fails(bench, name, at=14, saying="SERVFAIL")
    bench.dns.fault = DnsFault.NONE
    changes, files, *_ = await world(bench)
    await goes_on(bench, name)
    assert (await world(bench))[:2] == (changes, files)


async def test_a_name_server_that_lies_is_found_out(bench: Bench) -> None:
    name = await bench.selected(1)
    bench.dns.fault = DnsFault.LIES
    await fails(bench, name, at=14, saying=name)
    bench.dns.fault = DnsFault.NONE
    await goes_on(bench, name)


class _Files(dict[str, str]):
    """What the upstream double keeps in memory, also where the TFTP double serves it."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def __setitem__(self, path: str, text: str) -> None:
        super().__setitem__(path, text)
        file = self._root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


async def test_dns_that_is_down_behind_a_proxy_that_says_yes_is_found_out(bench: Bench) -> None:
    name = await bench.selected(1, "ipxe")
    base = (await bench.tree_url()).rstrip("/")
    upstream = QuirkySmartProxy(
        network=bench.dhcp.network,
        zone="lab.example",
        lies=Lies(dns_down=True),
        boot=_Files(bench.root),
        sources={
            f"{base}/images/pxeboot/{file}": (bench.tree / "images/pxeboot" / file).read_text()
            for file in ("vmlinuz", "initrd.img")
        },
    )
    settings = SmartProxySettings(url="http://upstream.test")
    async with SmartProxy(settings, transport=upstream.transport()) as bench.clients.client:
        await fails(bench, name, at=14, saying="it answered yes, but")
    assert len(upstream.reservations) == 1
    assert "POST /dns/" in upstream.calls


async def test_a_boot_file_that_is_missing_is_found_before_the_reboot(bench: Bench) -> None:
    name = await bench.selected(1)
    (bench.tree / "images/pxeboot/initrd.img").unlink()
    await fails(bench, name, at=11, saying="404")


async def test_a_boot_file_that_is_truncated_is_found_before_the_reboot(bench: Bench) -> None:
    name = await bench.selected(1)
    file = bench.tree / "images/pxeboot/initrd.img"
    file.write_bytes(file.read_bytes()[:-1])
    await fails(bench, name, at=11, saying="SHA-256")
    assert not list(bench.root.glob("boot/*initrd.img"))


async def test_a_boot_file_of_other_content_is_found_before_the_reboot(bench: Bench) -> None:
    name = await bench.selected(1)
    file = bench.tree / "images/pxeboot/vmlinuz"
    content = file.read_bytes()
    file.write_bytes(b"Kernel" * (len(content) // 6))
    await fails(bench, name, at=11, saying="SHA-256")
    file.write_bytes(content)
    await goes_on(bench, name)


async def test_a_tree_without_checksums_is_refused(bench: Bench) -> None:
    name = await bench.selected(1)
    info = bench.tree / ".treeinfo"
    info.write_text(info.read_text().replace("sha256:", "md5:"))
    await fails(bench, name, at=9, saying="no sha256")


async def test_a_tree_without_an_initrd_is_refused(bench: Bench) -> None:
    name = await bench.selected(1)
    info = bench.tree / ".treeinfo"
    kept = [one for one in info.read_text().splitlines() if not one.startswith("initrd =")]
    info.write_text("\n".join(kept))
    await fails(bench, name, at=9, saying="names no initrd")


async def test_a_host_that_promises_to_restart_and_does_not_is_held(bench: Bench) -> None:
    name = await bench.selected(1)
    bench.images.deaf.add("192.0.2.100")
    await fails(bench, name, at=16, saying="still answers")
    bench.images.deaf.clear()
    bench.images.reboots.clear()
    await goes_on(bench, name)
    assert len(bench.images.reboots) <= 1


async def test_a_host_that_is_gone_before_the_order_is_held_and_not_thought_to_be_on_its_way(
    bench: Bench,
) -> None:
    name = await bench.selected(1)
    bench.images.off.add("192.0.2.100")
    await fails(bench, name, at=16, saying="Failed to open TCP connection")
    bench.images.off.clear()
    await goes_on(bench, name)
    assert bench.images.reboots == ["192.0.2.100"]


async def test_a_kickstart_that_does_not_parse_holds_the_host_before_its_reboot(
    bench: Bench,
) -> None:
    await bench.change(HostGroup, parameters={"partitioning": ["part / --nonsense"]})
    name = await bench.selected(1)
    with pytest.raises(NothingDone):
        await inception(hosts=[name])
    build = await bench.build(name)
    assert "kickstart" in (build.held_reason or "")
    assert "host group plain" in (build.held_advice or "")
    assert not bench.images.reboots
    await bench.change(HostGroup, parameters={})
    await goes_on(bench, name)
