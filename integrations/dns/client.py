"""A name server as the rest of the product sees it: look up, add, remove, list; and the proof."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

import dns.asyncquery
import dns.exception
import dns.name
import dns.rdatatype
import dns.tsig
import dns.xfr
import dns.zone
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from integrations.dns.update import Add, DnsResult, Remove, Wanted, change, operation, wanted
from integrations.dns.wire import Held, Line, NameServer, RecordType, ask_udp, line, translated
from integrations.errors import OutsideError, Refused, Unverified
from integrations.records import DnsRecord, Outcome

__all__ = ["DnsServer", "DnsSettings", "authoritative_lookup"]

# 50 records of the longest names, each in three places, still fit the 64 KiB of one message.
_BATCH = 50


class DnsSettings(BaseModel):
    """The primary name server of some zones, and the key that may change them."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    address: IPv4Address | IPv6Address
    port: int = Field(default=53, ge=1, le=65535)
    key_name: str = Field(min_length=1)
    """Name of the TSIG key, as in the name server's own configuration."""
    secret: SecretStr
    """The key's secret in base64, as ``tsig-keygen`` prints it."""
    algorithm: Literal["hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"] = (
        "hmac-sha256"
    )
    ttl: int = Field(default=3600, ge=0, le=2**31 - 1)
    """Seconds that resolvers may remember a record that we add."""
    timeout: float = Field(default=5, gt=0)
    """Seconds to wait for each answer."""
    zones: tuple[str, ...] = Field(min_length=1)
    """The zones that this server is primary for, forward and reverse."""

    @field_validator("secret")
    @classmethod
    def _is_base64(cls, secret: SecretStr) -> SecretStr:
        try:
            base64.b64decode(secret.get_secret_value(), validate=True)
        except ValueError:
            raise ValueError("the TSIG secret is not base64, as tsig-keygen prints it") from None
        return secret

    @field_validator("zones")
    @classmethod
    def _are_names(cls, zones: tuple[str, ...]) -> tuple[str, ...]:
        for zone in zones:
            try:
                dns.name.from_text(zone)
            except dns.exception.DNSException as error:
                raise ValueError(f"{zone!r} is no zone's name: {error}") from error
        return zones


class DnsServer:
    """Reads and changes the records of the zones that one name server is primary for.

    A change carries prerequisites, so the name server itself refuses it when somebody else's
    record is in the way, also one made a moment ago. What was written is read back from the same
    server before it is called done.
    """

    def __init__(self, settings: DnsSettings) -> None:
        self._settings = settings
        self._server = NameServer(settings.address, settings.port)
        self._key = dns.tsig.Key(
            settings.key_name, settings.secret.get_secret_value(), settings.algorithm
        )
        zones = (dns.name.from_text(zone) for zone in settings.zones)
        self._longest_first = sorted(zones, key=len, reverse=True)

    async def lookup(self, name: str, kind: RecordType) -> list[DnsRecord]:
        """What the server itself says that a name holds; nothing there is an empty list.

        Raises:
            Refused: the server is not authoritative for the name, or refuses the key.
            Unavailable: it does not answer in time.
        """
        async with self._line(f"look up {name} {kind}") as server:
            return (await server.look(dns.name.from_text(name), kind)).records()

    async def add(self, records: Sequence[DnsRecord]) -> list[DnsResult]:
        """Make the records exist: CREATED or ALREADY for each, in the order given.

        One message carries the records of a zone (50 at most). A name that holds other data of
        the type, or is an alias, is a Conflict that says what is there; the other records are
        added regardless. Nothing is raised: each record's result holds its own error, Conflict,
        Unavailable, Unverified or Refused.
        """
        return await self._change(records, Add(self._settings.ttl))

    async def remove(self, records: Sequence[DnsRecord]) -> list[DnsResult]:
        """Remove exactly these records: REMOVED or ABSENT for each, in the order given.

        Other data of the same name stays; where only other data is left, it is a Conflict.
        Nothing is raised, as with ``add``.
        """
        return await self._change(records, Remove())

    async def zone_records(self, zone: str) -> list[DnsRecord]:
        """All address and pointer records of a zone, by signed zone transfer (RFC 5936).

        Raises:
            Refused: the server does not give the zone to this key, or does not serve it.
            Unavailable: it does not answer in time.
        """
        content = dns.zone.Zone(dns.name.from_text(zone), relativize=False)
        query, _ = dns.xfr.make_query(content, serial=None, keyring=self._key)
        with translated(self._server, f"transfer the zone {zone}"):
            await dns.asyncquery.inbound_xfr(
                str(self._server.address),
                content,
                query,
                port=self._server.port,
                timeout=self._settings.timeout,
            )
        return [
            record
            for kind in (dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.PTR)
            for name, rdataset in content.iterate_rdatasets(kind)
            for record in Held(name, frozenset(rdataset)).records()
        ]

    def _line(self, operation: str) -> AbstractAsyncContextManager[Line]:
        return line(self._server, self._key, self._settings.timeout, operation)

    async def _change(self, records: Sequence[DnsRecord], how: Add | Remove) -> list[DnsResult]:
        outcomes: dict[DnsRecord, Outcome | OutsideError] = {}
        by_zone: dict[dns.name.Name, list[Wanted]] = {}
        for record in dict.fromkeys(records):
            try:
                one = wanted(record, self._server, how)
                by_zone.setdefault(self._zone_of(one, how), []).append(one)
            except Refused as error:
                outcomes[record] = error
        batches = [
            (zone, members[start : start + _BATCH])
            for zone, members in by_zone.items()
            for start in range(0, len(members), _BATCH)
        ]
        for settled in await asyncio.gather(*(self._batch(*batch, how) for batch in batches)):
            outcomes.update(settled)
        return [DnsResult(record, outcomes[record]) for record in records]

    async def _batch(
        self, zone: dns.name.Name, members: list[Wanted], how: Add | Remove
    ) -> dict[DnsRecord, Outcome | OutsideError]:
        try:
            async with self._line(operation(members, how)) as server:
                return await change(server, zone, members, how)
        except OutsideError as error:
            return {one.record: error for one in members}

    def _zone_of(self, one: Wanted, how: Add | Remove) -> dns.name.Name:
        for zone in self._longest_first:
            if one.name.is_subdomain(zone):
                return zone
        raise Refused(
            system="DNS",
            address=str(self._server),
            operation=operation([one], how),
            said=f"the name lies in none of its zones ({', '.join(self._settings.zones)})",
        )


async def authoritative_lookup(
    servers: Sequence[NameServer], name: str, kind: RecordType, timeout: float
) -> list[DnsRecord]:
    """What all of a zone's name servers say that a name holds, asked as a resolver would.

    Raises:
        Unverified: they do not agree; the message says who says what.
        Unavailable: one of them does not answer within ``timeout`` seconds.
        Refused: one of them is not authoritative for the name.
        ValueError: no server was given, and nobody's silence proves nothing.
    """
    if not servers:
        raise ValueError(f"no name server to ask for {name} {kind}")
    owner = dns.name.from_text(name)
    answers = await asyncio.gather(*(ask_udp(server, owner, kind, timeout) for server in servers))
    if len(set(answers)) > 1:
        said = "; ".join(
            f"{server} says {answer}" for server, answer in zip(servers, answers, strict=True)
        )
        raise Unverified(
            system="DNS",
            address=", ".join(map(str, servers)),
            operation=f"look up {name} {kind}",
            said=f"the name servers do not agree: {said}",
        )
    return answers[0].records()
