"""One batch of records of one zone, added or removed by one signed message when nothing is odd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.update
from dns.rcode import Rcode
from dns.rdata import Rdata

from integrations.dns.wire import Held, Line, NameServer, rcode_error
from integrations.errors import Busy, Conflict, OutsideError, Refused, Unverified
from integrations.records import DnsRecord, Outcome

__all__ = ["Add", "DnsResult", "Remove", "Wanted", "change", "operation", "wanted"]

_PREREQUISITE_FAILED = (Rcode.YXDOMAIN, Rcode.YXRRSET, Rcode.NXRRSET, Rcode.NXDOMAIN)
_ROUNDS = 3


@dataclass(frozen=True)
class DnsResult:
    """What became of one record: an Outcome, or the error that it met."""

    record: DnsRecord
    outcome: Outcome | OutsideError


@dataclass(frozen=True)
class Wanted:
    """A record as the caller gave it, and in dnspython's terms."""

    record: DnsRecord
    name: dns.name.Name
    rdata: Rdata

    def __str__(self) -> str:
        return f"{self.record.name} {self.record.type} {self.record.value}"


def wanted(record: DnsRecord, server: NameServer, how: Add | Remove) -> Wanted:
    """Read a record's name and value.

    Raises:
        Refused: they are not such that DNS could hold them.
    """
    try:
        name = dns.name.from_text(record.name)
        rdata = dns.rdata.from_text(
            dns.rdataclass.IN,
            record.type,
            record.value,
            origin=dns.name.root,
            # A pointer's target would otherwise be taken as relative to the zone of the message.
            relativize=False,
        )
    except (dns.exception.DNSException, UnicodeError) as error:
        raise Refused(
            system="DNS",
            address=str(server),
            operation=f"{how.verb} {record.name} {record.type} {record.value}",
            said=f"that is not a DNS record: {error}",
        ) from error
    return Wanted(record, name, rdata)


@dataclass(frozen=True)
class Add:
    """Make records exist where nothing else is."""

    ttl: int
    verb: ClassVar[str] = "add"

    def ask(self, message: dns.update.UpdateMessage, one: Wanted, seen: Held | None) -> None:
        """Put the record and its prerequisites into the message."""
        message.absent(one.name, one.rdata.rdtype)
        # A server accepts an address beside an alias and silently drops it (RFC 2136 3.4.2.2).
        message.absent(one.name, dns.rdatatype.CNAME)
        message.add(one.name, self.ttl, one.rdata)

    def settled(self, one: Wanted, seen: Held) -> Outcome | None:
        """The outcome if there is nothing left to do."""
        return Outcome.ALREADY if one.rdata in seen.rdatas else None

    def blocked(self, one: Wanted, seen: Held) -> bool:
        """Whether somebody else's data is in the way."""
        return bool(seen.rdatas or seen.cname)

    def done(self, one: Wanted, seen: Held) -> Outcome | None:
        """The outcome, or None if the server did not do what it said."""
        return Outcome.CREATED if one.rdata in seen.rdatas else None


@dataclass(frozen=True)
class Remove:
    """Remove exactly these records and nothing beside them."""

    verb: ClassVar[str] = "remove"

    def ask(self, message: dns.update.UpdateMessage, one: Wanted, seen: Held | None) -> None:
        """Put the record and its prerequisites into the message."""
        # This prerequisite compares the whole set (RFC 2136 2.4.2), others' data included.
        for rdata in seen.rdatas if seen else (one.rdata,):
            message.present(one.name, rdata)
        message.delete(one.name, one.rdata)

    def settled(self, one: Wanted, seen: Held) -> Outcome | None:
        """The outcome if there is nothing left to do."""
        return None if seen.rdatas else Outcome.ABSENT

    def blocked(self, one: Wanted, seen: Held) -> bool:
        """Whether only somebody else's data is left."""
        return one.rdata not in seen.rdatas

    def done(self, one: Wanted, seen: Held) -> Outcome | None:
        """The outcome, or None if the server did not do what it said."""
        return None if one.rdata in seen.rdatas else Outcome.REMOVED


async def change(
    server: Line, zone: dns.name.Name, batch: Sequence[Wanted], how: Add | Remove
) -> dict[DnsRecord, Outcome | OutsideError]:
    """Change a zone, hopefully with one message; what each record met, never raising.

    A prerequisite that fails refuses the whole message without saying which one it was: then every
    name is looked up, what can be judged is judged, and the rest goes again.
    """
    outcomes: dict[DnsRecord, Outcome | OutsideError] = {}
    seen: dict[Wanted, Held] = {}
    pending = list(batch)
    try:
        for _ in range(_ROUNDS):
            message = dns.update.UpdateMessage(zone)
            for one in pending:
                how.ask(message, one, seen.get(one))
            rcode = (await server.ask(message, operation(pending, how))).rcode()
            if rcode == Rcode.REFUSED and len(pending) > 1:
                # A policy may forbid one name of many; each then gets its own verdict.
                for one in pending:
                    outcomes |= await change(server, zone, [one], how)
                return outcomes
            if rcode != Rcode.NOERROR and rcode not in _PREREQUISITE_FAILED:
                raise rcode_error(rcode, server.server, operation(pending, how))
            for one in tuple(pending):
                seen[one] = await server.look(one.name, one.record.type)
                verdict = _verdict(server.server, one, seen[one], how, rcode)
                if verdict is not None:
                    outcomes[one.record] = verdict
                    pending.remove(one)
            if not pending:
                return outcomes
        raise Busy(
            system="DNS",
            address=str(server.server),
            operation=operation(pending, how),
            said=f"others changed these names {_ROUNDS} times meanwhile",
        )
    except OutsideError as error:
        return outcomes | {one.record: error for one in pending}


def operation(pending: Sequence[Wanted], how: Add | Remove) -> str:
    """What is asked, as an operator would say it."""
    others = f" and {len(pending) - 1} more records of its zone" if len(pending) > 1 else ""
    return f"{how.verb} {pending[0]}{others}"


def _verdict(
    server: NameServer, one: Wanted, seen: Held, how: Add | Remove, rcode: Rcode
) -> Outcome | OutsideError | None:
    place = {"system": "DNS", "address": str(server), "operation": operation([one], how)}
    if rcode == Rcode.NOERROR:
        return how.done(one, seen) or Unverified(
            **place, said=f"it said yes, but reading back shows {seen}"
        )
    settled = how.settled(one, seen)
    if settled is None and how.blocked(one, seen):
        return Conflict(**place, said=f"the name already holds {seen}", owner=str(seen))
    return settled
