"""Asking one name server one thing, and what its answers and silences mean in our error tree."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.flags
import dns.inet
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.xfr
from dns.rcode import Rcode
from dns.rdata import Rdata
from pydantic import TypeAdapter

from integrations.errors import OutsideError, Refused, Unavailable, Unsupported
from integrations.records import DnsRecord

__all__ = [
    "Held",
    "Line",
    "NameServer",
    "RecordType",
    "ask_udp",
    "line",
    "rcode_error",
    "translated",
]

RecordType = Literal["A", "AAAA", "PTR"]
_RECORD_TYPE: TypeAdapter[RecordType] = TypeAdapter(RecordType)

_BAD_KEY = (
    dns.tsig.PeerError,
    dns.tsig.BadTime,
    dns.tsig.BadSignature,
    dns.tsig.BadKey,
    dns.tsig.BadAlgorithm,
)
_MEANING = {
    Rcode.NOTAUTH: "it is not authoritative for that zone (NOTAUTH)",
    Rcode.NOTZONE: "the name does not belong to that zone (NOTZONE)",
    Rcode.REFUSED: "it refuses this to this key or client (REFUSED)",
    Rcode.FORMERR: "it calls the request malformed (FORMERR)",
    Rcode.NOTIMP: "it does not know this operation (NOTIMP)",
    Rcode.SERVFAIL: "it failed by itself (SERVFAIL)",
}
_UDP_TRIES = 3


@dataclass(frozen=True)
class NameServer:
    """Where a name server listens."""

    address: IPv4Address | IPv6Address
    port: int = 53

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class Held:
    """What a name holds of one record type, and the alias that it is instead, if it is one."""

    name: dns.name.Name
    rdatas: frozenset[Rdata]
    cname: str = ""

    def records(self) -> list[DnsRecord]:
        """The data as records, in a stable order."""
        found = [
            DnsRecord(
                name=self.name.to_text(omit_final_dot=True),
                type=_RECORD_TYPE.validate_python(dns.rdatatype.to_text(rdata.rdtype)),
                value=rdata.to_text(),
            )
            for rdata in self.rdatas
        ]
        return sorted(found, key=lambda record: record.value)

    def __str__(self) -> str:
        name = self.name.to_text(omit_final_dot=True)
        if self.cname:
            return f"{name} CNAME {self.cname}"
        values = (f"{name} {record.type} {record.value}" for record in self.records())
        return ", ".join(values) or "nothing"


def rcode_error(rcode: Rcode, server: NameServer, operation: str) -> OutsideError:
    """The error that an answer's code stands for (RFC 1035 4.1.1, RFC 2136 2.2)."""
    kind: type[OutsideError] = Refused
    if rcode == Rcode.SERVFAIL:
        kind = Unavailable
    elif rcode == Rcode.NOTIMP:
        kind = Unsupported
    said = _MEANING.get(rcode, f"it answered {dns.rcode.to_text(rcode)}")
    return kind(system="DNS", address=str(server), operation=operation, said=said)


@contextmanager
def translated(server: NameServer, operation: str) -> Iterator[None]:
    """Turn what dnspython and the network raise into our errors."""
    place = {"system": "DNS", "address": str(server), "operation": operation}
    try:
        yield
    except _BAD_KEY as error:
        said = f"the TSIG key, its secret or a clock is wrong: {error} ({type(error).__name__})"
        raise Refused(**place, said=said) from error
    except dns.xfr.TransferError as error:
        raise rcode_error(error.rcode, server, operation) from error
    except dns.exception.Timeout as error:
        raise Unavailable(**place, said=f"no answer in time: {error}") from error
    except (OSError, EOFError) as error:
        raise Unavailable(**place, said=f"{error} ({type(error).__name__})") from error
    except dns.exception.DNSException as error:
        said = f"its answer is not to be understood: {error} ({type(error).__name__})"
        raise Unavailable(**place, said=said) from error


def _held(answer: dns.message.Message, server: NameServer, name: dns.name.Name, kind: str) -> Held:
    """Read what a name holds out of an authoritative answer.

    Raises:
        Refused: the server is not authoritative for the name, or refuses to say.
        Unavailable: the server failed.
    """
    operation = f"look up {name.to_text(omit_final_dot=True)} {kind}"
    rcode = answer.rcode()
    if rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
        raise rcode_error(rcode, server, operation)
    if not answer.flags & dns.flags.AA:
        said = "its answer is not authoritative: it does not serve the zone of that name"
        raise Refused(system="DNS", address=str(server), operation=operation, said=said)
    wanted = dns.rdatatype.from_text(kind)
    rdatas: set[Rdata] = set()
    cname = ""
    for rrset in answer.answer:
        # An alias' target may follow in the same answer under its own name.
        if rrset.name == name and rrset.rdtype == wanted:
            rdatas.update(rrset)
        elif rrset.name == name and rrset.rdtype == dns.rdatatype.CNAME:
            cname = rrset[0].to_text().lower().removesuffix(".")
    return Held(name, frozenset(rdatas), cname)


class Line:
    """One TCP connection to a name server; what is asked on it is signed with one key.

    TCP for everything, so that a batch and its reading back share one connection, nothing is lost
    on the way, and a server that is down says so at once. Look-ups are signed too: a server that
    shows each key a view of its own then shows the view that was written to.
    """

    def __init__(
        self,
        server: NameServer,
        key: dns.tsig.Key,
        timeout: float,
        stream: dns.asyncbackend.StreamSocket,  # type: ignore[name-defined]  # not re-exported
    ) -> None:
        self.server = server
        self._key = key
        self._timeout = timeout
        self._stream = stream

    async def ask(self, message: dns.message.Message, operation: str) -> dns.message.Message:
        """Send a message signed and return the answer, whatever its code."""
        message.use_tsig(self._key)
        with translated(self.server, operation):
            return await dns.asyncquery.tcp(
                message, str(self.server.address), timeout=self._timeout, sock=self._stream
            )

    async def look(self, name: dns.name.Name, kind: str) -> Held:
        """Ask what a name holds."""
        question = dns.message.make_query(name, kind, flags=0)
        operation = f"look up {name.to_text(omit_final_dot=True)} {kind}"
        return _held(await self.ask(question, operation), self.server, name, kind)


@asynccontextmanager
async def line(
    server: NameServer, key: dns.tsig.Key, timeout: float, operation: str
) -> AsyncIterator[Line]:
    """Connect to a name server while the block lasts.

    Raises:
        Unavailable: it does not take the connection.
    """
    where = str(server.address)
    with translated(server, operation):
        backend = dns.asyncbackend.get_backend("asyncio")
        stream = await backend.make_socket(  # type: ignore[no-untyped-call]  # dnspython's gap
            dns.inet.af_for_address(where),
            socket.SOCK_STREAM,
            destination=(where, server.port),
            timeout=timeout,
        )
    async with stream:
        yield Line(server, key, timeout, stream)


async def ask_udp(server: NameServer, name: dns.name.Name, kind: str, timeout: float) -> Held:
    """Ask as a host's resolver would: unsigned, by UDP, again when a datagram is lost.

    Raises:
        Unavailable: no answer within ``timeout`` seconds.
        Refused: the server is not authoritative for the name.
    """
    operation = f"look up {name.to_text(omit_final_dot=True)} {kind}"
    question = dns.message.make_query(name, kind, flags=0)
    for left in reversed(range(_UDP_TRIES)):
        try:
            with translated(server, operation):
                answer, _ = await dns.asyncquery.udp_with_fallback(
                    question,
                    str(server.address),
                    timeout=timeout / _UDP_TRIES,
                    port=server.port,
                    ignore_unexpected=True,
                )
            return _held(answer, server, name, kind)
        except Unavailable:
            if not left:
                raise
    raise AssertionError("unreachable: the last try returns or raises")
