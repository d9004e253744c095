"""Reading a file over TFTP as a boot loader would: the proof that a machine will get it.

The client of the library tftpy was tried and is not fit for a proof: it says that it discards data
from a stranger's port and then takes it, it has no limit for a whole transfer, it speaks IPv4 only,
and as a blocking call it would hold a thread for every silent server.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from integrations.errors import Refused, Unavailable

__all__ = ["ErrorCode", "Inbox", "Opcode", "tftp_read"]

_BLOCK_SIZE = 1432
"""Bytes in a block: what still fits an Ethernet frame beside the headers, as boot loaders ask."""
_PLAIN_BLOCK_SIZE = 512
"""Bytes in a block where the server knows no options (RFC 1350)."""
_RESEND_AFTER = 0.5
"""Seconds of silence after which a datagram is taken for lost."""


class Opcode(IntEnum):
    """Kinds of packet (RFC 1350, RFC 2347)."""

    READ = 1
    WRITE = 2
    DATA = 3
    ACK = 4
    ERROR = 5
    OPTIONS = 6


class ErrorCode(IntEnum):
    """Reasons in an error packet that decide what happens next (RFC 1350, RFC 2347)."""

    OTHER = 0
    NOT_FOUND = 1
    ACCESS = 2
    ILLEGAL = 4
    OPTIONS = 8


async def tftp_read(
    address: IPv4Address | IPv6Address,
    port: int,
    path: str,
    *,
    deadline: float,
    max_bytes: int,
) -> bytes | None:
    """Read a whole file; None if the server says that there is no such file.

    Args:
        address: of the TFTP server.
        port: where it listens, by custom 69.
        path: as a boot loader asks for it, e.g. ``pxelinux.cfg/01-52-54-00-aa-bb-01``.
        deadline: seconds for the whole transfer.
        max_bytes: a longer file is refused, without reading it to its end.

    Raises:
        Unavailable: no whole file in time; the message says how far it came.
        Refused: the server gives another reason, or the file is too long.
    """
    where = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    place = {"system": "TFTP", "address": where, "operation": f"read {path!r}"}
    if not path.isascii() or "\0" in path:
        raise Refused(**place, said="TFTP knows file names in ASCII only")
    inbox = Inbox()
    anywhere = "::" if address.version == 6 else "0.0.0.0"  # noqa: S104 - only replies arrive here
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: inbox, local_addr=(anywhere, 0)
    )
    content = bytearray()
    try:
        async with asyncio.timeout(deadline):
            async for block in _blocks(transport, inbox, str(address), port, path):
                content += block
                if len(content) > max_bytes:
                    raise Refused(**place, said=f"the file is longer than {max_bytes} bytes")
    except _Said as error:
        if error.code == ErrorCode.NOT_FOUND:
            return None
        raise Refused(**place, said=f"{error.text} (code {error.code})") from None
    except TimeoutError:
        said = f"no whole file within {deadline:g} s, only {len(content)} bytes of it"
        raise Unavailable(**place, said=said) from None
    except OSError as error:
        raise Unavailable(**place, said=str(error)) from error
    finally:
        transport.close()
    return bytes(content)


class Inbox(asyncio.DatagramProtocol):
    """Datagrams in the order in which they came, each with its sender."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()

    def datagram_received(self, data: bytes, sender: tuple[str, int]) -> None:
        """Keep one; called by the event loop."""
        self._queue.put_nowait((data, sender))

    async def take(self, patience: float | None) -> tuple[bytes, tuple[str, int]]:
        """The next one; TimeoutError after so many seconds, never if None."""
        async with asyncio.timeout(patience):
            return await self._queue.get()


class _Said(Exception):
    """The server's own error packet."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text


async def _blocks(
    transport: asyncio.DatagramTransport, inbox: Inbox, address: str, port: int, path: str
) -> AsyncIterator[bytes]:
    """The file's blocks in order; whatever is lost is asked for again, without end."""
    size, expected, peer = _PLAIN_BLOCK_SIZE, 1, 0
    options = b"blksize\0%d\0" % _BLOCK_SIZE
    last = struct.pack("!H", Opcode.READ) + path.encode() + b"\0octet\0" + options
    transport.sendto(last, (address, port))
    while True:
        try:
            packet, sender = await inbox.take(_RESEND_AFTER)
        except TimeoutError:
            transport.sendto(last, (address, peer or port))
            continue
        # The server answers from a port of its choice and must then stay with it (RFC 1350 4).
        if len(packet) < 4 or sender[0] != address or sender[1] != (peer or sender[1]):
            continue
        peer = sender[1]
        opcode, number = struct.unpack_from("!HH", packet)
        if opcode == Opcode.ERROR:
            raise _Said(number, packet[4:].rstrip(b"\0").decode(errors="replace"))
        if opcode == Opcode.OPTIONS and expected == 1:
            size = _granted(packet)
            number = 0
        elif opcode == Opcode.DATA and number == expected % 2**16:
            yield packet[4:]
            expected += 1
        else:
            continue  # a repeat: our own timer repeats the answer that it may have missed
        last = struct.pack("!HH", Opcode.ACK, number)
        transport.sendto(last, (address, peer))
        if opcode == Opcode.DATA and len(packet) - 4 < size:
            return


def _granted(packet: bytes) -> int:
    """The block size that the server agreed to."""
    words = packet[2:].split(b"\0")
    for option, value in zip(words[::2], words[1::2], strict=False):
        if option.lower() == b"blksize" and value.isdigit() and 8 <= int(value) <= _BLOCK_SIZE:
            return int(value)
    raise _Said(ErrorCode.OPTIONS, "the server agreed to options that nobody asked for")
