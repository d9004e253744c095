"""The same cases for the double and for tftpd-hpa; what only the double can do comes last."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from integrations.errors import Refused, Unavailable
from integrations.tftp import tftp_read
from lab.doubles.tftp import TftpDouble, TftpFault
from lab.servers.tftpd import tftpd

LOOPBACK = IPv4Address("127.0.0.1")
SIZES = (0, 1, 511, 512, 513, 1431, 1432, 1433, 2864, 1024 * 1024)


@dataclass(frozen=True)
class Site:
    port: int
    root: Path

    def write(self, name: str, size: int) -> bytes:
        content = random.Random(size).randbytes(size)
        path = self.root / name
        path.write_bytes(content)
        path.chmod(0o644)
        return content

    async def read(self, path: str, deadline: float = 5, max_bytes: int = 2**21) -> bytes | None:
        return await tftp_read(LOOPBACK, self.port, path, deadline=deadline, max_bytes=max_bytes)


def free_port() -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        return int(udp.getsockname()[1])


@pytest.fixture(params=["double", pytest.param("tftpd", marks=pytest.mark.servers)])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    if request.param == "double":
        async with TftpDouble(root) as double:
            yield Site(double.port, root)
    else:
        async with tftpd(root, tmp_path / "log", port=free_port()) as server:
            yield Site(server.port, root)


@pytest.mark.parametrize("size", SIZES)
async def test_what_is_read_is_what_was_written(site: Site, size: int) -> None:
    content = site.write("file", size)
    assert await site.read("file") == content


async def test_a_missing_file_is_none(site: Site) -> None:
    assert await site.read("pxelinux.cfg/01-52-54-00-aa-bb-01") is None


async def test_a_file_that_is_too_long_is_refused(site: Site) -> None:
    site.write("file", 5000)
    with pytest.raises(Refused, match="longer than 4999 bytes"):
        await site.read("file", max_bytes=4999)


async def test_fifty_readers_at_once_all_get_the_file(site: Site) -> None:
    content = site.write("file", 20_000)
    assert set(await asyncio.gather(*(site.read("file", 20) for _ in range(50)))) == {content}


async def test_nobody_listening_is_unavailable_within_the_deadline() -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"within 0\.3 s"):
        await tftp_read(LOOPBACK, free_port(), "file", deadline=0.3, max_bytes=10)
    assert time.monotonic() - started < 1


async def test_nobody_listening_on_ipv6_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"\[::1\]:"):
        await tftp_read(IPv6Address("::1"), free_port(), "file", deadline=0.2, max_bytes=10)


@pytest.fixture
async def double(tmp_path: Path) -> AsyncIterator[TftpDouble]:
    async with TftpDouble(tmp_path, seed=1) as server:
        yield server


async def test_lost_datagrams_are_made_up_for(double: TftpDouble, tmp_path: Path) -> None:
    site = Site(double.port, tmp_path)
    content = site.write("file", 60_000)
    double.fault = TftpFault.LOSSY
    assert await site.read("file", deadline=20) == content


@pytest.mark.parametrize(
    ("fault", "far"), [(TftpFault.SILENT, "only 0 bytes"), (TftpFault.STALLS, "only 1432 bytes")]
)
async def test_silence_is_unavailable_and_says_how_far_it_came(
    double: TftpDouble, tmp_path: Path, fault: TftpFault, far: str
) -> None:
    site = Site(double.port, tmp_path)
    site.write("file", 5000)
    double.fault = fault
    with pytest.raises(Unavailable, match=far):
        await site.read("file", deadline=0.3)


async def test_a_file_that_the_server_may_not_read_is_refused(
    double: TftpDouble, tmp_path: Path
) -> None:
    double.fault = TftpFault.FORBIDS
    with pytest.raises(Refused, match="ACCESS"):
        await Site(double.port, tmp_path).read("file")


@pytest.mark.parametrize("path", ["a\0b", "größe"])
async def test_a_name_that_tftp_cannot_carry_is_refused(path: str) -> None:
    with pytest.raises(Refused, match="ASCII"):
        await tftp_read(LOOPBACK, 1, path, deadline=1, max_bytes=1)


class _Script(asyncio.DatagramProtocol):
    """Takes a request and lets the test say the rest."""

    def __init__(self, speak: Callable[[tuple[str, int]], None]) -> None:
        self._speak = speak

    def datagram_received(self, data: bytes, client: tuple[str, int]) -> None:
        self._speak(client)


async def read_from(speak: Callable[[tuple[str, int]], None]) -> bytes | None:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Script(speak), local_addr=("127.0.0.1", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    try:
        return await tftp_read(LOOPBACK, port, "file", deadline=2, max_bytes=5000)
    finally:
        transport.close()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        yield udp


async def test_data_from_a_strangers_port_is_not_taken(server: socket.socket) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as stranger:

        def speak(client: tuple[str, int]) -> None:
            server.sendto(b"\0\6blksize\x001432\0", client)
            stranger.sendto(b"\0\3\0\1forged", client)
            server.sendto(b"\0\3\0\1real", client)

        assert await read_from(speak) == b"real"


async def test_a_block_that_comes_twice_is_taken_once(server: socket.socket) -> None:
    def speak(client: tuple[str, int]) -> None:
        for _ in range(2):
            server.sendto(b"\0\3\0\1" + b"a" * 512, client)
        server.sendto(b"\0\3\0\2end", client)

    assert await read_from(speak) == b"a" * 512 + b"end"


async def test_options_that_nobody_asked_for_are_refused(server: socket.socket) -> None:
    def speak(client: tuple[str, int]) -> None:
        server.sendto(b"\0\6blksize\x0065464\0", client)

    with pytest.raises(Refused, match="options"):
        await read_from(speak)
