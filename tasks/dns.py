"""Arrows 14 and 15: a host's names, written through the proxy, believed only at the name server."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from prefect import task

from integrations.dns import NameServer, authoritative_lookup
from integrations.errors import Conflict
from integrations.records import DnsRecord
from integrations.smart_proxy import SmartProxy
from inventory import effects
from inventory.context import BuildContext
from inventory.models import Domain, Proxy
from tasks import desired
from tasks.company import Company, Seen, each, step
from tasks.means import means
from tasks.places import proxy_place
from tasks.road import ensure

__all__ = ["DnsKeeper", "create_dns_records", "dns_keeper"]

_TIMEOUT = 3


@dataclass(frozen=True)
class DnsKeeper:
    """Records of one domain: written by its proxy, read from every authoritative server."""

    proxy: SmartProxy
    place: str
    name_servers: tuple[NameServer, ...]
    system: str = effects.DNS
    replaces: bool = False
    sole: bool = False

    @property
    def source(self) -> str:
        """Every authoritative server."""
        return f"name server {', '.join(str(one) for one in self.name_servers)}"

    def key(self, record: DnsRecord) -> str:
        """Name and type; a host is the only one of its name."""
        return f"{record.name} {record.type}"

    def owner(self, there: DnsRecord) -> str:
        """DNS knows no owner: the record itself is all there is to say."""
        return f"{there.name} {there.type} {there.value}"

    async def read(self, record: DnsRecord) -> DnsRecord | None:
        """The name's record; one that differs from ``record`` before one that equals it.

        Raises:
            Conflict: several differ. A host of ours has one.
        """
        found = await authoritative_lookup(
            self.name_servers, record.name, record.type, timeout=_TIMEOUT
        )
        others = [one for one in found if one != record]
        if len(others) > 1:
            # To remove one of ours would take away the others of that name and type as well.
            listed = ", ".join(self.owner(one) for one in others)
            raise Conflict(
                system=self.system,
                address=self.place,
                operation=f"write {self.key(record)}",
                said=f"the name has several records: {listed}",
                owner=listed,
            )
        return others[0] if others else (record if found else None)

    async def write(self, record: DnsRecord) -> None:
        """Create it; the proxy refuses a name that is in use."""
        await self.proxy.add_dns(record)

    async def remove(self, there: DnsRecord) -> None:
        """Remove the name's records of this type: they were read, and are ours."""
        await self.proxy.remove_dns(there)

    def at_rest(self, record: DnsRecord) -> dict[str, Any]:
        """All of it: it holds no secret."""
        return record.model_dump(mode="json")

    def recall(self, key: str, at_rest: dict[str, Any]) -> DnsRecord:
        """As it was kept."""
        return DnsRecord.model_validate(at_rest)

    def former(self, at_rest: dict[str, Any]) -> DnsRecord | None:
        """As it was."""
        return self.recall("", at_rest)


def dns_keeper(proxy: Proxy, domain: Domain) -> DnsKeeper:
    """The keeper of a domain."""
    return DnsKeeper(
        means().proxies.of(proxy),
        proxy_place(proxy, domain.name),
        tuple(_server(one) for one in domain.name_servers),
    )


def _server(text: str) -> NameServer:
    parts = urlsplit(f"//{text}")
    return NameServer(ip_address(parts.hostname or text), parts.port or 53)


@task(**step("Create the DNS records", 14, 15))
async def create_dns_records(company: Company) -> Company:
    """Create A and PTR and see both at the authoritative servers."""
    return await each(company, (14, 15), _create)


async def _create(context: BuildContext) -> Seen:
    keeper = dns_keeper(context.dns_proxy, context.domain)
    seen = [await ensure(context.build.id, keeper, one) for one in desired.dns_records(context)]
    return Seen("; ".join(seen))
