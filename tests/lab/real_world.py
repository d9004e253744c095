"""What the servers of a real site hold, asked of them past Rackrise and its clients."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

import dns.asyncquery
import dns.name
import dns.tsig
import dns.update
import dns.xfr
import dns.zone

from lab.servers.isc import IscServer
from lab.servers.kea import KeaServer
from lab.tsig import OWNER

__all__ = ["boot_files", "plant", "records", "reservations", "zone_of"]

_KEY = dns.tsig.Key(OWNER.name, OWNER.secret)
_DECLARATION = re.compile(r"^host (?P<name>\S+) \{\n(?P<body>.*?)^\}", re.MULTILINE | re.DOTALL)
_SECONDS = 5


def reservations(server: IscServer | KeaServer) -> list[tuple[str, str]]:
    """MAC and IP address of each, from the files that survive a restart of the server."""
    if isinstance(server, KeaServer):
        (subnet,) = json.loads(server.conf.read_text())["Dhcp4"]["subnet4"]
        found = [(one["hw-address"], one["ip-address"]) for one in subnet["reservations"]]
    else:
        settings = server.settings
        written = settings.conf_file.read_text() + settings.leases_file.read_text()
        # The last word about a name counts: dhcpd appends.
        last = {one["name"]: one["body"] for one in _DECLARATION.finditer(written)}
        found = [
            (_after("hardware ethernet", body), _address(_after("fixed-address", body)))
            for body in last.values()
            if "deleted;" not in body
        ]
    return sorted(found)


def _after(words: str, body: str) -> str:
    found = re.search(rf"{words} ([^;]+);", body)
    assert found is not None, body
    return found[1]


def _address(written: str) -> str:
    """As OMAPI's ``ip-address`` objects are written: dotted, or hexadecimal octets."""
    if ":" in written:
        return str(ip_address(bytes(int(one, 16) for one in written.split(":"))))
    return written


async def zone_of(name: str, port: int) -> dns.zone.Zone:
    """A whole zone from the name server at a port of this machine's loopback."""
    zone = dns.zone.Zone(name)
    query, _ = dns.xfr.make_query(zone, keyring=_KEY)
    await dns.asyncquery.inbound_xfr("127.0.0.1", zone, query, port=port, lifetime=_SECONDS)
    return zone


async def records(names: Iterable[str], port: int) -> dict[str, list[str]]:
    """All A and PTR records of zones, by full name, and the zones' serials."""
    found: dict[str, list[str]] = {}
    for name in names:
        zone = await zone_of(name, port)
        for owner, rdataset in zone.iterate_rdatasets():
            full = str(owner.derelativize(dns.name.from_text(name))).rstrip(".")
            if rdataset.rdtype.name in ("A", "PTR"):
                found[f"{full} {rdataset.rdtype.name}"] = sorted(
                    one.to_text(zone.origin, relativize=False).rstrip(".") for one in rdataset
                )
            elif rdataset.rdtype.name == "SOA":
                found[f"{full} serial"] = [str(rdataset[0].serial)]
    return found


async def plant(zone: str, name: str, kind: str, value: str, port: int) -> None:
    """Put a record there as somebody else would."""
    message = dns.update.UpdateMessage(zone)
    message.add(f"{name}.", 300, kind, value)
    message.use_tsig(_KEY)
    answer = await dns.asyncquery.tcp(message, "127.0.0.1", port=port, timeout=_SECONDS)
    assert answer.rcode() == dns.rcode.NOERROR, answer


def boot_files(root: Path) -> dict[str, tuple[int, str]]:
    """Each file below the boot root: when it was written, and what it says."""
    return {
        str(one.relative_to(root)): (
            one.stat().st_mtime_ns,
            hashlib.sha256(one.read_bytes()).hexdigest(),
        )
        for one in sorted(root.rglob("*"))
        if one.is_file()
    }
