"""DNS by dynamic update (RFC 2136) signed with TSIG: ours is added and removed, others' stays."""

from integrations.dns.authority import Authority, start_of_authority
from integrations.dns.client import DnsServer, DnsSettings, authoritative_lookup
from integrations.dns.update import DnsResult
from integrations.dns.wire import NameServer, RecordType

__all__ = [
    "Authority",
    "DnsResult",
    "DnsServer",
    "DnsSettings",
    "NameServer",
    "RecordType",
    "authoritative_lookup",
    "start_of_authority",
]
