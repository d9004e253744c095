"""DNS by dynamic update (RFC 2136) signed with TSIG: ours is added and removed, others' stays."""

from integrations.dns.client import DnsServer, DnsSettings, authoritative_lookup
from integrations.dns.update import DnsResult
from integrations.dns.wire import NameServer, RecordType

__all__ = [
    "DnsResult",
    "DnsServer",
    "DnsSettings",
    "NameServer",
    "RecordType",
    "authoritative_lookup",
]
