"""A read-only TFTP server on loopback without root, for fleets of simulated machines."""

from __future__ import annotations

import asyncio
import random
import struct
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from integrations.tftp import ErrorCode, Inbox, Opcode

__all__ = ["TftpDouble", "TftpFault"]

_PLAIN_BLOCK_SIZE = 512
_RESEND_AFTER = 0.2
_TRIES = 6
_LOSS = 0.1


class TftpFault(StrEnum):
    """What is wrong with the server; it can be changed at any time."""

    NONE = "none"
    SILENT = "silent"
    """Takes every request and answers nothing."""
    LOSSY = "lossy"
    """Loses one datagram in ten of those that it sends."""
    STALLS = "stalls"
    """Sends the first block of a file and no more."""
    FORBIDS = "forbids"
    """Says that it may not read the file."""


class TftpDouble:
    """A TFTP server with block sizes (RFC 1350, RFC 2348) over one directory.

    Args:
        root: the directory.
        seed: of losses and delays.
        delay: least and most seconds until a request is taken up.
    """

    def __init__(self, root: Path, *, seed: int = 0, delay: tuple[float, float] = (0, 0)) -> None:
        self.address = "127.0.0.1"
        self.port = 0
        self.fault = TftpFault.NONE
        self._root = root.resolve()
        self._random = random.Random(seed)
        self._delay = delay

    async def __aenter__(self) -> Self:
        """Listen, on the same port again after a stop."""
        self._requests = Inbox()
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self._requests, local_addr=(self.address, self.port)
        )
        self.port = self._transport.get_extra_info("sockname")[1]
        self._transfers: set[asyncio.Task[None]] = set()
        self._server = asyncio.create_task(self._serve())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening and drop what is under way."""
        ending = [self._server, *self._transfers]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        self._transport.close()

    async def _serve(self) -> None:
        while True:
            request, client = await self._requests.take(None)
            transfer = asyncio.create_task(self._transfer(request, client))
            self._transfers.add(transfer)
            transfer.add_done_callback(self._transfers.discard)

    async def _transfer(self, request: bytes, client: tuple[str, int]) -> None:
        await asyncio.sleep(self._random.uniform(*self._delay))
        if self.fault == TftpFault.SILENT:
            return
        inbox = Inbox()
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: inbox, local_addr=(self.address, 0)
        )
        try:
            path, *options = request[2:].split(b"\0")
            answer = self._open(request[:2], path.decode(errors="replace"))
            if isinstance(answer, ErrorCode):
                packet = struct.pack("!HH", Opcode.ERROR, answer) + answer.name.encode() + b"\0"
                transport.sendto(packet, client)
                return
            await self._send(answer, options[1:], transport, inbox, client)
        finally:
            transport.close()

    def _open(self, opcode: bytes, path: str) -> bytes | ErrorCode:
        if opcode != struct.pack("!H", Opcode.READ):
            return ErrorCode.ILLEGAL
        file = (self._root / path.lstrip("/")).resolve()
        if self.fault == TftpFault.FORBIDS or not file.is_relative_to(self._root):
            return ErrorCode.ACCESS
        return file.read_bytes() if file.is_file() else ErrorCode.NOT_FOUND

    async def _send(
        self,
        content: bytes,
        options: list[bytes],
        transport: asyncio.DatagramTransport,
        inbox: Inbox,
        client: tuple[str, int],
    ) -> None:
        asked = {
            key.lower(): value for key, value in zip(options[::2], options[1::2], strict=False)
        }
        size = _PLAIN_BLOCK_SIZE
        packets: list[tuple[int, bytes]] = []
        if asked.get(b"blksize", b"").isdigit():
            size = int(asked[b"blksize"])
            packets.append((0, struct.pack("!H", Opcode.OPTIONS) + b"blksize\0%d\0" % size))
        for block, start in enumerate(range(0, len(content) + 1, size), 1):
            number = block % 2**16
            data = struct.pack("!HH", Opcode.DATA, number) + content[start : start + size]
            packets.append((number, data))
        for number, packet in packets:
            if self.fault == TftpFault.STALLS and number > 1:
                return
            if not await self._acknowledged(number, packet, transport, inbox, client):
                return

    async def _acknowledged(
        self,
        number: int,
        packet: bytes,
        transport: asyncio.DatagramTransport,
        inbox: Inbox,
        client: tuple[str, int],
    ) -> bool:
        for _ in range(_TRIES):
            if self.fault != TftpFault.LOSSY or self._random.random() > _LOSS:
                transport.sendto(packet, client)
            try:
                while True:
                    answer, sender = await inbox.take(_RESEND_AFTER)
                    if sender == client and answer[:4] == struct.pack("!HH", Opcode.ACK, number):
                        return True
                    if sender == client and answer[:2] == struct.pack("!H", Opcode.ERROR):
                        return False
            except TimeoutError:
                continue
        return False
