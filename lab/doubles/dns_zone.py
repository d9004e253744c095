"""The content of one zone under dynamic update, by the rules of RFC 2136."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.name import Name
from dns.rcode import Rcode
from dns.rdata import Rdata
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType
from dns.rrset import RRset

__all__ = ["Zone"]


class Zone:
    """The record sets of a zone by name and type; a new zone holds what every zone must have."""

    def __init__(self, origin: Name) -> None:
        self.origin = origin
        self._nodes: dict[Name, dict[RdataType, RRset]] = {}
        self._put(RdataType.SOA, "ns.invalid. hostmaster.invalid. 1 3600 600 86400 60")
        self._put(RdataType.NS, "ns.invalid.")

    def _put(self, kind: RdataType, text: str) -> None:
        rdata = dns.rdata.from_text(RdataClass.IN, kind, text)
        self._nodes.setdefault(self.origin, {})[kind] = dns.rrset.from_rdata(
            self.origin, 300, rdata
        )

    @property
    def soa(self) -> RRset:
        """The zone's own record."""
        return self._nodes[self.origin][RdataType.SOA]

    def has(self, name: Name) -> bool:
        """Whether a name holds anything."""
        return name in self._nodes

    def find(self, name: Name, kind: RdataType) -> RRset | None:
        """What a name holds of a type."""
        return self._nodes.get(name, {}).get(kind)

    def __iter__(self) -> Iterator[RRset]:
        for node in self._nodes.values():
            yield from node.values()

    def failed(self, prerequisites: Sequence[RRset]) -> Rcode | None:
        """The code of the first prerequisite that does not hold (3.2.5)."""
        exact: dict[tuple[Name, RdataType], set[Rdata]] = {}
        for entry in prerequisites:
            name, kind = entry.name, entry.rdtype
            match entry.deleting, kind:
                case RdataClass.ANY, RdataType.ANY:
                    if not self.has(name):
                        return Rcode.NXDOMAIN
                case RdataClass.NONE, RdataType.ANY:
                    if self.has(name):
                        return Rcode.YXDOMAIN
                case RdataClass.ANY, _:
                    if self.find(name, kind) is None:
                        return Rcode.NXRRSET
                case RdataClass.NONE, _:
                    if self.find(name, kind) is not None:
                        return Rcode.YXRRSET
                case _:
                    exact.setdefault((name, kind), set()).update(entry)
        for (name, kind), wanted in exact.items():
            if set(self.find(name, kind) or ()) != wanted:
                return Rcode.NXRRSET
        return None

    def apply(self, entry: RRset) -> None:
        """Add one record, or delete one, a set, or all of a name (3.4.2)."""
        name, kind = entry.name, entry.rdtype
        node = self._nodes.setdefault(name, {})
        present = node.get(kind)
        match entry.deleting, kind:
            case RdataClass.ANY, RdataType.ANY:
                node.clear()
            case RdataClass.ANY, _:
                node.pop(kind, None)
            case RdataClass.NONE, _:
                left = [rdata for rdata in present or () if rdata not in list(entry)]
                node.pop(kind, None)
                if present is not None and left:
                    node[kind] = dns.rrset.from_rdata_list(name, present.ttl, left)
            case _:
                # An alias and other data never share a name; the later is dropped without a word.
                if not node or (RdataType.CNAME in node) == (kind == RdataType.CNAME):
                    together = [*(present or ()), *entry]
                    node[kind] = dns.rrset.from_rdata_list(name, entry.ttl, together)
        if not node:
            del self._nodes[name]
