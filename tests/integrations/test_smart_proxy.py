"""The Smart Proxy client against a proxy that lies."""

import asyncio
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import httpx
import pytest

from integrations.errors import (
    Conflict,
    Exhausted,
    Refused,
    Unavailable,
    Unverified,
)
from integrations.power import BootDevice, PowerState
from integrations.records import (
    BootConfig,
    BootFile,
    DnsRecord,
    Loader,
    Outcome,
    Reservation,
)
from integrations.smart_proxy import BmcAccess, SmartProxy, SmartProxySettings
from integrations.smart_proxy.tftp import boot_file_prefix
from lab.doubles.smart_proxy import Lies, QuirkySmartProxy

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
VMLINUZ = BootFile(
    path="boot/labos-1-vmlinuz",
    url="http://192.0.2.1/os/vmlinuz",
    sha256="d7439db7e1a6e7ad8da6e3ae9ab2ef1c0d6c7f1f23d4b4e76ed7a6bd17a42c87",
    size=6,
)


class Slept:
    """Takes the place of sleeping and keeps the delays."""

    def __init__(self) -> None:
        self.delays: list[float] = []

    async def __call__(self, delay: float) -> None:
        self.delays.append(delay)


def client(transport: httpx.AsyncBaseTransport, sleep: Slept | None = None) -> SmartProxy:
    settings = SmartProxySettings(url="http://proxy.example.org:8000/")
    return SmartProxy(settings, transport=transport, sleep=sleep or Slept())


def quirky(**lies: Any) -> QuirkySmartProxy:
    return QuirkySmartProxy(lies=Lies(**lies))


# Against the proxy that lies


async def test_reserving_twice_writes_once() -> None:
    double = quirky()
    async with client(double.transport()) as proxy:
        assert await proxy.reserve(WEB01) is Outcome.CREATED
        assert await proxy.reserve(WEB01) is Outcome.ALREADY
    assert double.calls.count("POST /dhcp/192.0.2.0") == 1
    assert "hardware_type" not in double.reservations[0]


async def test_a_repeat_that_isc_calls_a_conflict_is_already_there() -> None:
    double = quirky(isc=True)
    async with client(double.transport()) as proxy:
        await proxy.reserve(WEB01)
        double.forget_for_reads(1)
        assert await proxy.reserve(WEB01) is Outcome.ALREADY
    assert double.calls.count("POST /dhcp/192.0.2.0") == 2
    assert len(double.reservations) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"mac": "52:54:00:aa:bb:02", "name": "db01.example.org"},
        {"ip": IPv4Address("192.0.2.51")},
        {"filename": "grub2/grubx64.efi"},
    ],
)
async def test_another_reservation_in_the_way_is_named_and_left_alone(
    change: dict[str, Any],
) -> None:
    double = quirky()
    async with client(double.transport()) as proxy:
        await proxy.reserve(WEB01)
        before = [dict(record) for record in double.reservations]
        with pytest.raises(Conflict, match=r"web01\.example\.org") as caught:
            await proxy.reserve(WEB01.model_copy(update=change))
    assert MAC in caught.value.owner
    assert double.reservations == before


async def test_a_yes_without_a_reservation_is_unverified_after_ten_seconds() -> None:
    slept = Slept()
    async with client(quirky(dhcp_drops=True).transport(), slept) as proxy:
        with pytest.raises(Unverified, match="cannot be read back"):
            await proxy.reserve(WEB01)
    assert sum(slept.delays) == pytest.approx(10)


async def test_a_stale_read_is_waited_for() -> None:
    slept = Slept()
    async with client(quirky(stale_reads=2).transport(), slept) as proxy:
        assert await proxy.reserve(WEB01) is Outcome.CREATED
    assert slept.delays == [0.1, 0.2]


async def test_an_address_outside_of_its_network_never_leaves() -> None:
    double = quirky()
    async with client(double.transport()) as proxy:
        with pytest.raises(Refused, match=r"10\.9\.9\.9 is not in 192\.0\.2\.0/24"):
            await proxy.reserve(WEB01.model_copy(update={"ip": IPv4Address("10.9.9.9")}))
    assert double.calls == []


async def test_macs_leave_in_lower_case() -> None:
    double = quirky()
    async with client(double.transport()) as proxy:
        await proxy.reservation_by_mac(NET, "52-54-00-AA-BB-01")
        await proxy.remove_boot_config(Loader.PXELINUX, "52-54-00-AA-BB-01")
    assert double.calls == [f"GET /dhcp/192.0.2.0/mac/{MAC}", f"GET /tftp/PXELinux/{MAC}"]


async def test_two_hosts_at_once_for_one_address_is_one_winner() -> None:
    double = quirky()
    other = WEB01.model_copy(update={"mac": "52:54:00:aa:bb:02", "name": "db01.example.org"})
    async with client(double.transport()) as proxy:
        ends = await asyncio.gather(
            proxy.reserve(WEB01), proxy.reserve(other), return_exceptions=True
        )
    assert sorted(type(end).__name__ for end in ends) == ["Conflict", "Outcome"]
    assert len(double.reservations) == 1


async def test_dhcpd_down_is_retriable_though_it_is_a_400() -> None:
    async with client(quirky(dhcpd_down=True).transport()) as proxy:
        with pytest.raises(Unavailable, match="No response from DHCP server"):
            await proxy.reserve(WEB01)


async def test_releasing_twice_ends_the_same() -> None:
    double = quirky()
    async with client(double.transport()) as proxy:
        await proxy.reserve(WEB01)
        assert await proxy.release(WEB01) is Outcome.REMOVED
        assert await proxy.release(WEB01) is Outcome.ABSENT
    assert double.reservations == []


async def test_a_reservation_that_changed_hands_is_not_released() -> None:
    double = quirky()
    async with client(double.transport()) as proxy:
        await proxy.reserve(WEB01.model_copy(update={"name": "db01.example.org"}))
        with pytest.raises(Conflict, match=r"db01\.example\.org"):
            await proxy.release(WEB01)
    assert len(double.reservations) == 1


async def test_a_removal_that_did_not_happen_is_unverified() -> None:
    double = quirky()
    async with client(double.transport()) as proxy:
        await proxy.reserve(WEB01)
        double.lies.dhcp_drops = True
        with pytest.raises(Unverified, match="still there"):
            await proxy.release(WEB01)


async def test_a_range_runs_dry() -> None:
    address = IPv4Address("192.0.2.30")
    async with client(quirky().transport()) as proxy:
        assert await proxy.unused_ip(NET, MAC, address, address) == address
        with pytest.raises(Exhausted):
            await proxy.unused_ip(NET, MAC, address, address)


async def test_ptr_is_sent_with_name_and_value_swapped() -> None:
    double = quirky()
    ptr = DnsRecord(name="50.2.0.192.in-addr.arpa", type="PTR", value="web01.example.org")
    async with client(double.transport()) as proxy:
        await proxy.add_dns(ptr)
        assert double.dns == {(ptr.name, "PTR"): ptr.value}
        await proxy.remove_dns(ptr)
    assert double.dns == {}


async def test_other_data_at_a_name_is_a_conflict() -> None:
    double = quirky()
    async with client(double.transport()) as proxy:
        await proxy.add_dns(DnsRecord(name="web01.example.org", type="A", value="192.0.2.50"))
        with pytest.raises(Conflict, match="already in use") as caught:
            await proxy.add_dns(DnsRecord(name="web01.example.org", type="A", value="192.0.2.51"))
    assert "A record that web01.example.org has" in caught.value.owner


async def test_a_boot_configuration_is_written_once_and_removed_once() -> None:
    config = BootConfig(loader=Loader.GRUB2, mac=MAC, text="set default=0\n")
    async with client(quirky().transport()) as proxy:
        assert await proxy.write_boot_config(config) is Outcome.CREATED
        assert await proxy.write_boot_config(config) is Outcome.ALREADY
        assert await proxy.remove_boot_config(config.loader, MAC) is Outcome.REMOVED
        assert await proxy.remove_boot_config(config.loader, MAC) is Outcome.ABSENT


async def test_a_boot_configuration_that_is_not_there_is_unverified() -> None:
    config = BootConfig(loader=Loader.IPXE, mac=MAC, text="#!ipxe\n")
    async with client(quirky(tftp_drops=True).transport()) as proxy:
        with pytest.raises(Unverified, match="read back: None"):
            await proxy.write_boot_config(config)


@pytest.mark.parametrize("loader", Loader)
async def test_a_default_is_read_back_through_http_boot(loader: Loader) -> None:
    async with client(quirky().transport()) as proxy:
        assert await proxy.read_default(loader) is None
        await proxy.write_default(loader, "x\n")
        assert await proxy.read_default(loader) == "x\n"


async def test_a_boot_file_that_was_never_fetched_is_found_out() -> None:
    async with client(quirky().transport()) as proxy:
        await proxy.fetch_boot_file(VMLINUZ)
        with pytest.raises(Unverified, match="not there"):
            await proxy.verify_boot_file(VMLINUZ)


async def test_an_older_boot_file_left_behind_is_found_out() -> None:
    double = quirky()
    double.boot[VMLINUZ.path] = "older"
    async with client(double.transport()) as proxy:
        await proxy.fetch_boot_file(VMLINUZ)
        with pytest.raises(Unverified, match="found 5 bytes"):
            await proxy.verify_boot_file(VMLINUZ)


async def test_a_whole_boot_file_is_known_by_its_checksum() -> None:
    double = quirky()
    double.sources[VMLINUZ.url] = "kernel"
    async with client(double.transport()) as proxy:
        await proxy.fetch_boot_file(VMLINUZ)
        state = await proxy.boot_file_state(VMLINUZ.path)
        assert state is not None
        whole = VMLINUZ.model_copy(update={"sha256": state.sha256.upper()})
        assert (await proxy.verify_boot_file(whole)).size == 6


@pytest.mark.parametrize(
    ("path", "prefix"),
    [("boot/a-vmlinuz", "boot/a"), ("boot/a/vmlinuz", "boot/a/")],
)
def test_prefix_gives_the_path(path: str, prefix: str) -> None:
    assert boot_file_prefix(VMLINUZ.model_copy(update={"path": path})) == prefix


async def test_a_path_that_no_prefix_gives_is_refused() -> None:
    async with client(quirky().transport()) as proxy:
        with pytest.raises(Refused, match="must end with '-vmlinuz'"):
            await proxy.fetch_boot_file(VMLINUZ.model_copy(update={"path": "boot/kernel"}))


REDFISH = BmcAccess(host="192.0.2.9", user="admin", password="secret")


async def test_power_goes_through_the_controller() -> None:
    double = quirky()
    async with client(double.transport()) as proxy:
        await proxy.bmc_power(REDFISH, "on")
        assert await proxy.bmc_state(REDFISH) is PowerState.ON
        await proxy.bmc_power(REDFISH, "cycle")
        await proxy.bmc_power(REDFISH, "off")
        assert await proxy.bmc_state(REDFISH) is PowerState.OFF


async def test_an_error_inside_of_a_200_is_an_error() -> None:
    async with client(quirky().transport()) as proxy:
        with pytest.raises(Refused, match="not a valid action"):
            await proxy.bmc_power(REDFISH, "bogus")  # type: ignore[arg-type]


async def test_false_is_left_out_so_that_nothing_restarts() -> None:
    double = quirky()
    async with client(double.transport()) as proxy:
        await proxy.bmc_boot(REDFISH, BootDevice.PXE)
        assert double.overrides == ["Once"]
        await proxy.bmc_boot(REDFISH, BootDevice.PXE, persistent=True, reboot=True)
    assert double.overrides == ["Once", "Enabled", "ForceRestart"]


async def test_ssh_off_is_unknown_and_on_is_believed() -> None:
    ssh = BmcAccess(host="192.0.2.9", provider="ssh")
    async with client(quirky(ssh_fails=True).transport()) as proxy:
        assert await proxy.bmc_state(ssh) is PowerState.UNKNOWN
    async with client(quirky().transport()) as proxy:
        assert await proxy.bmc_state(ssh) is PowerState.ON
        await proxy.bmc_power(ssh, "off")


async def test_the_bmc_password_is_in_no_error() -> None:
    async with client(quirky().transport()) as proxy:
        with pytest.raises(Refused) as caught:
            await proxy.bmc_power(REDFISH, "bogus")  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(REDFISH)


async def test_features_fall_back_to_version_one() -> None:
    async with client(quirky(v2=False).transport()) as proxy:
        assert [f.name for f in await proxy.features()] == [
            "bmc",
            "dhcp",
            "dns",
            "httpboot",
            "tftp",
        ]
    async with client(quirky().transport()) as proxy:
        assert [f.name for f in await proxy.features() if f.running] == ["dhcp"]
