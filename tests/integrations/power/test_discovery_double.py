"""The client of the discovery image against the double that the simulated site uses."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from integrations.errors import Unavailable, Unverified
from integrations.power import PowerState
from integrations.power.discovery import DiscoveryPower, Kexec
from integrations.power.settings import DiscoverySettings
from lab.doubles.power import DiscoveryImages, VirtualImage, discovery_images

ADDRESS = "192.0.2.7"
KEXEC = Kexec(kernel="http://a/vmlinuz", initram="http://a/initrd", append="x=1")


class Host:
    def __init__(self) -> None:
        self.deeds: list[Kexec | None] = []
        self.image = VirtualImage({"ipaddress": ADDRESS}, self.reboot, self.kexec)

    async def reboot(self) -> None:
        self.deeds.append(None)

    async def kexec(self, kexec: Kexec) -> None:
        self.deeds.append(kexec)


@pytest.fixture
async def images() -> AsyncIterator[DiscoveryImages]:
    async with discovery_images(delay=0.02) as images:
        yield images


@pytest.fixture
async def power(images: DiscoveryImages) -> AsyncIterator[DiscoveryPower]:
    settings = DiscoverySettings(
        url=images.url(ADDRESS), deadline=5, gone_within=0.3, poll_every=0.01
    )
    power = DiscoveryPower(settings)
    yield power
    await power.close()


async def test_reboot_reaches_the_host_once(images: DiscoveryImages, power: DiscoveryPower) -> None:
    host = Host()
    images.boot(ADDRESS, host.image)
    assert await power.state() is PowerState.ON
    await asyncio.gather(power.reboot(), power.reboot())
    assert host.deeds == [None]
    assert await power.state() is PowerState.UNKNOWN


async def test_other_hosts_stay(images: DiscoveryImages, power: DiscoveryPower) -> None:
    host, other = Host(), Host()
    images.boot(ADDRESS, host.image)
    images.boot("192.0.2.8", other.image)
    await power.reboot()
    assert other.deeds == []
    beside = DiscoveryPower(DiscoverySettings(url=images.url("192.0.2.8")))
    assert await beside.state() is PowerState.ON
    await beside.close()


async def test_kexec_reaches_the_host_as_sent(
    images: DiscoveryImages, power: DiscoveryPower
) -> None:
    host = Host()
    images.boot(ADDRESS, host.image)
    await power.kexec(KEXEC)
    assert host.deeds == [KEXEC]


async def test_a_host_that_only_promises_is_unverified(
    images: DiscoveryImages, power: DiscoveryPower
) -> None:
    host = Host()
    host.image.keeps_promises = False
    images.boot(ADDRESS, host.image)
    with pytest.raises(Unverified):
        await power.reboot()
    with pytest.raises(Unverified):
        await power.kexec(KEXEC)
    assert host.deeds == []


async def test_a_host_without_kexec_and_a_bad_body_fail(
    images: DiscoveryImages, power: DiscoveryPower
) -> None:
    host = Host()
    images.boot(ADDRESS, host.image)
    async with httpx.AsyncClient() as http:
        answer = await http.put(images.url(ADDRESS) + "/power/kexec", content=b"no json")
    assert answer.status_code == 500
    host.image.kexec = None
    with pytest.raises(Unavailable, match="kexec is not available"):
        await power.kexec(KEXEC)


async def test_a_host_that_is_gone_is_unavailable(power: DiscoveryPower) -> None:
    with pytest.raises(Unavailable, match="no answer from"):
        await power.reboot()
