"""Both DHCP servers of the lab tell the same client to boot the same thing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Protocol

import pytest

from lab.client import client
from lab.namespace import Namespace
from lab.servers.dhcp import BootClass, Client, DhcpLab
from lab.servers.isc import isc
from lab.servers.kea import kea
from tests.integrations.dhcp.sites import lab_network, unique

pytestmark = pytest.mark.servers

IPXE_MACHINE, OTHER_MACHINE = "52:54:00:12:34:01", "52:54:00:12:34:02"
SCRIPT, EFI = "http://192.0.2.1:8080/boot.ipxe", "http://192.0.2.1:8080/efi/ipxe.efi"
LAB = DhcpLab(
    next_server=IPv4Address("192.0.2.7"),
    boot=(
        BootClass(client=Client.IPXE, filename=SCRIPT, macs=(IPXE_MACHINE,)),
        BootClass(client=Client.UEFI_HTTP, filename=EFI),
        BootClass(client=Client.UEFI, filename="grubnetx64.efi"),
        BootClass(client=Client.BIOS, filename="pxelinux.0"),
    ),
)
IPXE = ("-x", "0x4d:69505845")
BIOS = ("-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "0x5d:0000")
UEFI = ("-V", "PXEClient:Arch:00007:UNDI:003001", "-x", "0x5d:0007")
HTTP = ("-V", "HTTPClient:Arch:00016:UNDI:003001", "-x", "0x5d:0010")


class StartDhcp(Protocol):
    def __call__(
        self, namespace: Namespace, directory: Path, lab: DhcpLab
    ) -> AbstractAsyncContextManager[object]: ...


@pytest.fixture(params=[isc, kea], ids=["isc", "kea"])
async def inside(request: pytest.FixtureRequest) -> AsyncIterator[Namespace]:
    start: StartDhcp = request.param
    async with lab_network() as (network, directory), start(network, directory, LAB):
        yield network


@pytest.mark.parametrize(
    ("mac", "options", "filename"),
    [
        (IPXE_MACHINE, (*BIOS, *IPXE), SCRIPT),
        (IPXE_MACHINE, (*UEFI, *IPXE), SCRIPT),
        (OTHER_MACHINE, (*BIOS, *IPXE), "pxelinux.0"),
        (OTHER_MACHINE, UEFI, "grubnetx64.efi"),
        (OTHER_MACHINE, HTTP, EFI),
        (IPXE_MACHINE, BIOS, "pxelinux.0"),
        (IPXE_MACHINE, (), "pxelinux.0"),
    ],
    ids=["ipxe", "ipxe-on-uefi", "rom-is-ipxe", "uefi", "uefi-http", "bios", "no-pxe"],
)
async def test_each_kind_of_client_boots_its_own_file(
    inside: Namespace, mac: str, options: tuple[str, ...], filename: str
) -> None:
    async with client(inside, unique("lc"), mac) as interface:
        offer = await interface.ask(*options)
    assert offer.filename == filename
    assert offer.next_server == IPv4Address("192.0.2.7")
    assert LAB.range_from <= offer.ip <= LAB.range_to
