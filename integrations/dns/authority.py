"""Whether a name server is authoritative for a name, and of which zone: its SOA record."""

from __future__ import annotations

from dataclasses import dataclass

import dns.asyncquery
import dns.flags
import dns.message
import dns.name
import dns.rdatatype
from dns.rcode import Rcode

from integrations.dns.wire import NameServer, rcode_error, translated
from integrations.errors import Refused, Unavailable

__all__ = ["Authority", "start_of_authority"]

_TRIES = 3


@dataclass(frozen=True)
class Authority:
    """The zone that a name lies in, as one of its servers has it."""

    zone: str
    serial: int


async def start_of_authority(server: NameServer, name: str, timeout: float) -> Authority:
    """Ask a server, as a resolver would, in which of its zones a name lies.

    Args:
        server: which.
        name: of the zone, or any name in it, there or not.
        timeout: seconds for all tries together.

    Raises:
        Refused: it is not authoritative for the name.
        Unavailable: no answer in time.
    """
    operation = f"tell the zone of {name}"
    question = dns.message.make_query(dns.name.from_text(name), "SOA", flags=0)
    for left in reversed(range(_TRIES)):
        try:
            with translated(server, operation):
                answer, _ = await dns.asyncquery.udp_with_fallback(
                    question,
                    str(server.address),
                    timeout=timeout / _TRIES,
                    port=server.port,
                    ignore_unexpected=True,
                )
            return _authority(answer, server, operation)
        except Unavailable:
            if not left:
                raise
    raise AssertionError("unreachable: the last try returns or raises")


def _authority(answer: dns.message.Message, server: NameServer, operation: str) -> Authority:
    if answer.rcode() not in (Rcode.NOERROR, Rcode.NXDOMAIN):
        raise rcode_error(answer.rcode(), server, operation)
    # Of a name that is not the zone's own, the SOA stands among the authorities.
    for rrset in (*answer.answer, *answer.authority):
        if rrset.rdtype == dns.rdatatype.SOA and answer.flags & dns.flags.AA:
            return Authority(rrset.name.to_text(omit_final_dot=True), int(rrset[0].serial))
    said = "its answer is not authoritative: it does not serve the zone of that name"
    raise Refused(system="DNS", address=str(server), operation=operation, said=said)
