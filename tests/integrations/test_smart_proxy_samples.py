"""The Smart Proxy client against every recorded exchange of an upstream proxy."""

from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from integrations.errors import (
    Conflict,
    Exhausted,
    OutsideError,
    Refused,
    Unavailable,
    Unsupported,
)
from integrations.power import PowerState
from integrations.records import BootFile, DhcpSubnet, DnsRecord, Loader, Reservation
from integrations.smart_proxy import BmcAccess, SmartProxy, SmartProxySettings
from integrations.smart_proxy.classify import refusal
from lab.doubles.smart_proxy import sample_transport

SAMPLES = Path(__file__).parents[2].parent / "shared" / "contracts" / "smart-proxy-samples"
MAC = "52:54:00:aa:bb:01"
LAB = IPv4Network("10.77.0.0/16")
VMLINUZ = BootFile(path="boot/labos-1-vmlinuz", url="http://192.0.2.1/os/vmlinuz", sha256="")


async def no_sleep(_: float) -> None:
    pass


def sampled(number: int) -> SmartProxy:
    if not SAMPLES.is_dir():
        pytest.skip("../shared/contracts/smart-proxy-samples is missing")
    (sample,) = SAMPLES.glob(f"{number:02d}-*.json")
    settings = SmartProxySettings(url="http://proxy.example.org:8000")
    return SmartProxy(settings, transport=sample_transport(sample), sleep=no_sleep)


async def test_sample_features_are_those_that_run() -> None:
    features = await sampled(2).features()
    running = [feature.name for feature in features if feature.running]
    assert "dhcp" in running
    assert "realm" not in running
    assert next(f for f in features if f.name == "dhcp").capabilities == (
        "dhcp_filename_hostname",
        "dhcp_filename_ipv4",
    )


async def test_sample_version() -> None:
    assert (await sampled(3).version()).modules["discovery"] == "1.0.5"


async def test_sample_logs() -> None:
    logs = await sampled(73).logs()
    assert logs.logs[0].message == "Successfully initialized 'foreman_proxy'"
    assert logs.info.failed_modules == {}


async def test_sample_server_name_is_json_labelled_html() -> None:
    assert await sampled(4).tftp_server_name() == "10.77.0.1"


async def test_sample_boot_configuration() -> None:
    text = await sampled(9).read_boot_config(Loader.PXELINUX, MAC)
    assert text is not None
    assert text.startswith("DEFAULT linux\n")


@pytest.mark.parametrize("number", [18])
async def test_sample_missing_boot_configuration_is_none(number: int) -> None:
    assert await sampled(number).read_boot_config(Loader.PXELINUX, MAC) is None


async def test_sample_subnets() -> None:
    assert await sampled(19).subnets() == [
        DhcpSubnet(
            network=LAB,
            routers=(IPv4Address("10.77.0.1"),),
            name_servers=(IPv4Address("10.77.0.1"),),
            range_from=IPv4Address("10.77.200.1"),
            range_to=IPv4Address("10.77.200.250"),
        )
    ]


@pytest.mark.parametrize("number", [20, 81, 82, 83, 85])
async def test_sample_unused_address(number: int) -> None:
    first, last = IPv4Address("10.77.1.10"), IPv4Address("10.77.2.250")
    assert first <= await sampled(number).unused_ip(LAB, MAC, first, last) <= last


async def test_sample_null_address_is_exhausted() -> None:
    with pytest.raises(Exhausted, match="no address is free"):
        await sampled(90).unused_ip(LAB, MAC, IPv4Address("10.77.2.10"), IPv4Address("10.77.2.10"))


async def test_sample_reservation_is_read_in_all_three_shapes() -> None:
    by_mac = await sampled(29).reservation_by_mac(LAB, MAC)
    assert by_mac is not None
    assert (by_mac.name, by_mac.next_server) == ("h1.lab.example", "10.77.0.1")
    assert by_mac.network == LAB
    assert await sampled(30).reservations_by_ip(LAB, by_mac.ip) == [by_mac]
    assert await sampled(28).network(LAB) == ([by_mac], [])


@pytest.mark.parametrize("number", [31, 35, 95])
async def test_sample_missing_reservation_is_none(number: int) -> None:
    assert await sampled(number).reservation_by_mac(LAB, MAC) is None


LAB_HOST = Reservation(mac=MAC, ip=IPv4Address("10.77.1.50"), name="h1.lab.example", network=LAB)
BMC = BmcAccess(host="127.0.0.1", provider="ipmitool")
RECORD = DnsRecord(name="h1.lab.example", type="A", value="10.77.1.50")
SAMPLED_REFUSALS: dict[
    int, tuple[type[OutsideError], Callable[[SmartProxy], Awaitable[object]]]
] = {
    26: (Refused, lambda p: p.reserve(LAB_HOST)),
    27: (Refused, lambda p: p.reserve(LAB_HOST)),
    32: (Refused, lambda p: p.network(LAB)),
    94: (Unavailable, lambda p: p.reserve(LAB_HOST)),
    38: (Conflict, lambda p: p.add_dns(RECORD)),
    41: (Refused, lambda p: p.add_dns(RECORD)),
    42: (Refused, lambda p: p.add_dns(RECORD)),
    8: (Unsupported, lambda p: p.read_boot_config(Loader.PXELINUX, MAC)),
    11: (Refused, lambda p: p.remove_boot_config(Loader.PXELINUX, MAC)),
    12: (Refused, lambda p: p.remove_boot_config(Loader.PXELINUX, MAC)),
    13: (Refused, lambda p: p.write_default(Loader.PXELINUX, "x")),
    15: (Refused, lambda p: p.fetch_boot_file(VMLINUZ)),
    61: (Refused, lambda p: p.bmc_state(BMC)),
    62: (Refused, lambda p: p.bmc_power(BMC, "cycle")),
    71: (Unavailable, lambda p: p.discovery_facts(IPv4Address("10.77.200.7"))),
    72: (Unavailable, lambda p: p.discovery_reboot(IPv4Address("10.77.200.7"))),
    74: (Unsupported, lambda p: p.subnets()),
}


@pytest.mark.parametrize("number", SAMPLED_REFUSALS)
async def test_sample_refusal_has_its_branch(number: int) -> None:
    expected, call = SAMPLED_REFUSALS[number]
    with pytest.raises(OutsideError) as caught:
        await call(sampled(number))
    assert type(caught.value) is expected
    assert "http://proxy.example.org:8000" in str(caught.value)


@pytest.mark.parametrize("number", [36, 37, 39, 40, 43, 92])
async def test_sample_dns_yes_is_taken_as_a_claim(number: int) -> None:
    await sampled(number).add_dns(RECORD)  # returns nothing: there is nothing to believe


@pytest.mark.parametrize("number", [44, 45, 46, 47, 93])
async def test_sample_dns_removal_is_taken_as_a_claim(number: int) -> None:
    await sampled(number).remove_dns(RECORD)


async def test_sample_ssh_off_is_no_evidence() -> None:
    state = await sampled(63).bmc_state(BmcAccess(host="127.0.0.1", provider="ssh"))
    assert state is PowerState.UNKNOWN


@pytest.mark.parametrize("number", [48, 54, 55])
def test_sample_puppet_server_down_is_transient(number: int) -> None:
    said = refusal(feature="puppetca", status=406, text="", address="", operation="")
    assert isinstance(said, Unavailable)


@pytest.mark.parametrize("status", [500, 422, 409])
def test_facts_that_a_gateway_refuses_are_refused_whatever_a_proxy_makes_of_it(status: int) -> None:
    text = "Discovery failed, code 409, reason: no"
    said = refusal(feature="discovery", status=status, text=text, address="", operation="")
    assert type(said) is Refused
