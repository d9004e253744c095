"""A name server on loopback that takes signed updates, for fleets that no real one should serve."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Iterator, Sequence
from enum import StrEnum
from types import TracebackType
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.update
from dns.rcode import Rcode

from lab.doubles.dns_zone import Zone
from lab.tsig import GUEST, OWNER

__all__ = ["DnsDouble", "DnsFault"]

_UDP_MAX = 512
_TRANSFER_STEP = 100


class DnsFault(StrEnum):
    """What is wrong with the server; it can be changed at any time."""

    NONE = "none"
    SILENT = "silent"
    """Takes everything and answers nothing."""
    SERVFAIL = "servfail"
    REFUSED = "refused"
    LAME = "lame"
    """Answers from a copy, without authority."""
    LIES = "lies"
    """Says that updates are done, and does nothing."""


class DnsDouble:
    """An authoritative server over UDP and TCP on one loopback port while the block lasts.

    The keys are those of ``lab.tsig``: OWNER changes and transfers zones, GUEST only reads.

    Args:
        zones: the zones to serve, empty at first.
        denied: names that not even OWNER may change.
        seed: of the delays.
        delay: least and most seconds that an answer takes.
    """

    def __init__(
        self,
        zones: Sequence[str],
        *,
        denied: Sequence[str] = (),
        seed: int = 0,
        delay: tuple[float, float] = (0, 0),
    ) -> None:
        self.address = "127.0.0.1"
        self.port = 0
        self.fault = DnsFault.NONE
        self.updates = 0
        """Update messages that arrived."""
        self.changes: list[tuple[str, str, str]] = []
        """What its log says of records: ``added`` or ``removed``, name and type."""
        keys = [dns.tsig.Key(key.name, key.secret) for key in (OWNER, GUEST)]
        self._owner = keys[0].name
        self._keys = {key.name: key for key in keys}
        self._denied = frozenset(map(dns.name.from_text, denied))
        self.zones = {name: Zone(name) for name in map(dns.name.from_text, zones)}
        self._random = random.Random(seed)
        self._delay = delay

    async def __aenter__(self) -> Self:
        """Listen, on the same port again after a stop."""
        self._tcp = await asyncio.start_server(self._serve_stream, self.address, self.port)
        self.port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Datagrams(self), local_addr=(self.address, self.port)
        )
        self._conversations: set[asyncio.Task[None]] = set()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening and hang up; the zones stay as they are."""
        self._udp.close()
        self._tcp.close()
        for conversation in tuple(self._conversations):
            conversation.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)

    def hold(self, conversation: asyncio.Task[None]) -> None:
        """Remember an answer that is under way, so that it ends with the server."""
        self._conversations.add(conversation)
        conversation.add_done_callback(self._conversations.discard)

    async def _serve_stream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.hold(task)
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                for answer in await self.answers(await reader.readexactly(length)):
                    writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the client has hung up, which is how every conversation ends
        finally:
            writer.close()

    async def answer_datagram(self, wire: bytes, client: tuple[str, int]) -> None:
        """Answer one client's datagram."""
        for answer in await self.answers(wire):
            if len(answer) > _UDP_MAX:
                # The bare header with the truncation flag: the client asks again by TCP.
                flags = struct.unpack("!H", answer[2:4])[0] | dns.flags.TC
                self._udp.sendto(answer[:2] + struct.pack("!H", flags) + bytes(8), client)
            else:
                self._udp.sendto(answer, client)

    async def answers(self, wire: bytes) -> list[bytes]:
        """The wire form of the answer, which only a zone transfer spreads over several messages."""
        await asyncio.sleep(self._random.uniform(*self._delay))
        if self.fault == DnsFault.SILENT:
            return []
        try:
            query = dns.message.from_wire(wire, keyring=self._keys)
        except (dns.message.UnknownTSIGKey, dns.tsig.BadSignature) as error:
            return [_key_error(wire, error)]
        if query.question and query.question[0].rdtype == dns.rdatatype.AXFR:
            return list(self._transfer(query))
        return [self._answer(query).to_wire(max_size=65535)]

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        if self.fault in (DnsFault.SERVFAIL, DnsFault.REFUSED):
            response.set_rcode(dns.rcode.from_text(self.fault.value))
        elif isinstance(query, dns.update.UpdateMessage):
            response.set_rcode(self._update(query))
        else:
            self._look(query.question[0], response)
        return response

    def _zone_of(self, name: dns.name.Name) -> Zone | None:
        holders = [zone for origin, zone in self.zones.items() if name.is_subdomain(origin)]
        return max(holders, key=lambda zone: len(zone.origin), default=None)

    def _look(self, question: dns.rrset.RRset, response: dns.message.Message) -> None:
        name, zone = question.name, self._zone_of(question.name)
        if zone is None:
            response.set_rcode(Rcode.REFUSED)
            return
        if self.fault != DnsFault.LAME:
            response.flags |= dns.flags.AA
        alias = zone.find(name, dns.rdatatype.CNAME)
        if alias is not None and question.rdtype != dns.rdatatype.CNAME:
            response.answer.append(alias)
            name = alias[0].target
            zone = self._zone_of(name)
        found = zone.find(name, question.rdtype) if zone else None
        if found is not None:
            response.answer.append(found)
        elif zone is not None:
            response.set_rcode(Rcode.NOERROR if zone.has(name) else Rcode.NXDOMAIN)
            response.authority.append(zone.soa)

    def _transfer(self, query: dns.message.Message) -> Iterator[bytes]:
        zone = self.zones.get(query.question[0].name)
        if zone is None or query.keyname != self._owner:
            refused = dns.message.make_response(query)
            refused.set_rcode(Rcode.NOTAUTH if zone is None else Rcode.REFUSED)
            yield refused.to_wire()
            return
        rrsets = [zone.soa, *(rrset for rrset in zone if rrset is not zone.soa), zone.soa]
        context = None
        for start in range(0, len(rrsets), _TRANSFER_STEP):
            response = dns.message.make_response(query)
            response.flags |= dns.flags.AA
            response.answer = rrsets[start : start + _TRANSFER_STEP]
            yield response.to_wire(multi=True, tsig_ctx=context)
            context = response.tsig_ctx

    def _update(self, update: dns.update.UpdateMessage) -> Rcode:
        self.updates += 1
        zone = self.zones.get(update.zone[0].name)
        if zone is None:
            return Rcode.NOTAUTH
        entries = [*update.prerequisite, *update.update]
        if not all(entry.name.is_subdomain(zone.origin) for entry in entries):
            return Rcode.NOTZONE
        denied = any(entry.name in self._denied for entry in update.update)
        if update.keyname != self._owner or denied:
            return Rcode.REFUSED
        failed = zone.failed(update.prerequisite)
        if failed is not None:
            return failed
        if self.fault != DnsFault.LIES:
            for entry in update.update:
                held = zone.find(entry.name, entry.rdtype) is not None
                zone.apply(entry)
                if held == bool(entry.deleting):
                    done = "removed" if entry.deleting else "added"
                    self.changes.append((done, str(entry.name), entry.rdtype.name))
        return Rcode.NOERROR


class _Datagrams(asyncio.DatagramProtocol):
    """The UDP side of the server."""

    def __init__(self, server: DnsDouble) -> None:
        self._server = server

    def datagram_received(self, wire: bytes, client: tuple[str, int]) -> None:
        self._server.hold(asyncio.ensure_future(self._server.answer_datagram(wire, client)))


def _key_error(wire: bytes, error: Exception) -> bytes:
    """RFC 8945 5.2: NOTAUTH, with the reason in a TSIG record that nobody could sign."""
    query = dns.message.from_wire(wire, keyring=False)
    assert query.keyname is not None
    reason = Rcode.BADSIG if isinstance(error, dns.tsig.BadSignature) else Rcode.BADKEY
    response = dns.message.make_response(query)
    response.set_rcode(Rcode.NOTAUTH)
    response.use_tsig(dns.tsig.Key(query.keyname, b"unknown"), tsig_error=reason)
    response.request_mac = query.mac or b""
    return response.to_wire()
