"""The ``/dns`` mount over signed dynamic updates (contract, section 4); its 200 is the truth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Protocol

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter, ValidationError

from integrations.dns import DnsResult, DnsSettings, RecordType
from integrations.errors import Conflict, OutsideError, Refused
from integrations.records import DnsRecord
from proxy.answers import ProxyError, done, form_of, refuse
from proxy.logs import Log

__all__ = ["DnsPort", "Zones", "router"]

_NAME = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*")
_REVERSE = (".in-addr.arpa", ".ip6.arpa")
_KINDS: TypeAdapter[RecordType] = TypeAdapter(RecordType)
_OF_UPSTREAM = ("CNAME", "SRV")
_LONGEST_NAME = 253


class DnsPort(Protocol):
    """What this mount needs of a name server; ``integrations.dns.DnsServer`` is one."""

    async def lookup(self, name: str, kind: RecordType) -> list[DnsRecord]:
        """What the server itself says that a name holds."""
        ...

    async def add(self, records: Sequence[DnsRecord]) -> list[DnsResult]:
        """Make the records exist; an outcome for each."""
        ...

    async def remove(self, records: Sequence[DnsRecord]) -> list[DnsResult]:
        """Remove exactly these records; an outcome for each."""
        ...


class Zones:
    """Several primary name servers as one: each name goes to the server of its closest zone."""

    def __init__(self, servers: Sequence[tuple[DnsSettings, DnsPort]]) -> None:
        self._by_zone = sorted(
            (
                (zone.lower().rstrip("."), server)
                for settings, server in servers
                for zone in settings.zones
            ),
            key=lambda pair: -len(pair[0]),
        )

    async def lookup(self, name: str, kind: RecordType) -> list[DnsRecord]:
        """As the zone's own server answers."""
        return await self._server_of(name).lookup(name, kind)

    async def add(self, records: Sequence[DnsRecord]) -> list[DnsResult]:
        """At each record's own server."""
        return [(await self._server_of(one.name).add([one]))[0] for one in records]

    async def remove(self, records: Sequence[DnsRecord]) -> list[DnsResult]:
        """At each record's own server."""
        return [(await self._server_of(one.name).remove([one]))[0] for one in records]

    def _server_of(self, name: str) -> DnsPort:
        for zone, server in self._by_zone:
            if name == zone or name.endswith(f".{zone}"):
                return server
        raise Refused(
            system="DNS",
            address="the configured name servers",
            operation=f"find the zone of {name}",
            said=f"{name} lies in none of the zones {', '.join(z for z, _ in self._by_zone)}",
        )


def router(dns: DnsPort, log: Log) -> APIRouter:
    """Routes of the mount.

    Args:
        dns: the name servers beside us.
        log: takes what the answers leave out.
    """
    routes = APIRouter()

    def failed(error: OutsideError, record: DnsRecord) -> ProxyError:
        log.error(str(error))
        if isinstance(error, Conflict):
            # Quote and space stand where upstream has them; of a PTR it gets them right.
            quoted = f"'{record.name}'" if record.type == "PTR" else f"'{record.name} '"
            gap = " " if record.type == "PTR" else ""
            return ProxyError(409, f"{quoted}{gap}is already in use")
        return refuse(error, "Update errors: ")

    async def settle(results: Sequence[DnsResult]) -> Response:
        for result in results:
            if isinstance(result.outcome, OutsideError):
                raise failed(result.outcome, result.record) from result.outcome
        return done()

    @routes.post("/dns")
    @routes.post("/dns/")
    async def add(request: Request) -> Response:
        form = await form_of(request)
        fqdn, value, kind = form.get("fqdn"), form.get("value"), form.get("type")
        if not (fqdn and value and kind):
            raise ProxyError(400, "'create' requires fqdn, value, and type parameters")
        record = _record(fqdn, value, _kind(kind.upper(), kind))
        try:
            return await settle(await dns.add([record]))
        except OutsideError as error:
            raise failed(error, record) from error

    @routes.delete("/dns/{name}")
    @routes.delete("/dns/{name}/{given_kind}")
    async def remove(name: str, given_kind: str = "") -> Response:
        owner = name.lower().removesuffix(".")
        kind = _kind(given_kind or ("PTR" if owner.endswith(_REVERSE) else "A"), given_kind)
        _check_name(owner, name, kind)
        try:
            return await settle(await dns.remove(await dns.lookup(owner, kind)))
        except OutsideError as error:
            log.error(str(error))
            raise refuse(error, "Update errors: ") from error

    return routes


def _kind(kind: str, given: str) -> RecordType:
    if kind in _OF_UPSTREAM:
        raise ProxyError(501, f"{kind} records are not written by this proxy")
    try:
        return _KINDS.validate_python(kind)
    except ValidationError as error:
        raise ProxyError(400, f"unrecognized 'type' parameter: {given}") from error


def _check_name(owner: str, given: str, kind: RecordType) -> None:
    if kind == "PTR" and not owner.endswith(_REVERSE):
        raise ProxyError(400, f"Invalid reverse DNS {given}")
    if len(owner) > _LONGEST_NAME or not _NAME.fullmatch(owner):
        raise ProxyError(400, f"Invalid DNS name {given}")


def _record(fqdn: str, value: str, kind: RecordType) -> DnsRecord:
    """The record of a form, where a PTR's "fqdn" is the host and its "value" the reverse name."""
    host = fqdn.lower().removesuffix(".")
    if len(host) > _LONGEST_NAME or not _NAME.fullmatch(host):
        raise ProxyError(400, f"Invalid DNS name {fqdn}")
    if kind == "PTR":
        owner = value.lower().removesuffix(".")
        _check_name(owner, value, kind)
        return DnsRecord(name=owner, type=kind, value=host)
    try:
        data = IPv4Address(value) if kind == "A" else IPv6Address(value)
    except AddressValueError as error:
        raise ProxyError(400, "address family mismatch") from error
    return DnsRecord(name=host, type=kind, value=str(data))
