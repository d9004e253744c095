"""Reads a discovery image's facts: flat or structured, with whatever a machine may contain."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from ipaddress import ip_interface
from typing import Any

from integrations.nesting import deeper_than
from integrations.records import normal_mac
from inventory.hosts import Discovered, SeenInterface

__all__ = ["BadFacts", "parse_body", "read_facts", "same_telling"]

_DEEPEST = 32
"""Levels of nesting; real facts have five."""
_NOISE = re.compile(
    "kernel|operatingsystem|osfamily|ruby|path|time|swap|free|filesystem|version|selinux"
)
"""Of names in lower case: what changes from minute to minute. The discovery image compares its
facts without it, too."""


class BadFacts(ValueError):
    """What was sent does not describe a machine; the text says what is missing."""


def parse_body(body: bytes) -> dict[str, Any]:
    """The object of facts in a body ``{"facts": {…}}``.

    Raises:
        BadFacts: the body is no such JSON.
    """
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadFacts(f"the body is no JSON: {error}") from None
    facts = sent.get("facts") if isinstance(sent, dict) else None
    if not isinstance(facts, dict):
        raise BadFacts('the body must be {"facts": {…}}')
    if deeper_than(facts, _DEEPEST):
        raise BadFacts(f"the facts are nested deeper than {_DEEPEST} levels")
    return facts


def read_facts(facts: Mapping[str, Any]) -> Discovered:
    """The host that facts describe.

    Raises:
        BadFacts: the interface that it booted from is not named, not there, or has no address.
    """
    named = facts.get("discovery_bootif")
    if not named:
        raise BadFacts("the fact discovery_bootif is missing: which interface did the host boot?")
    try:
        bootif = normal_mac(str(named))
    except ValueError as error:
        raise BadFacts(f"the fact discovery_bootif: {error}") from None
    interfaces = _interfaces(facts)
    own = next((one for one in interfaces if one.mac == bootif), None)
    if own is None:
        raise BadFacts(f"unable to find the primary interface with {bootif} among the facts")
    if own.ip is None:
        raise BadFacts(f"the primary interface {own.name} with {bootif} has no IP address")
    return Discovered(mac=bootif, interfaces=interfaces, values=facts)


def _interfaces(facts: Mapping[str, Any]) -> tuple[SeenInterface, ...]:
    structured = _at(facts, "networking", "interfaces")
    names = _names(facts.get("interfaces")) or (
        list(structured) if isinstance(structured, Mapping) else []
    )
    by_mac: dict[str, SeenInterface] = {}
    for name in names:
        found = _interface(facts, structured, name)
        # A bond or VLAN has the address of the card below it; the one with an IP address speaks.
        known = by_mac.get(found.mac) if found else None
        if found and (known is None or (known.ip is None and found.ip)):
            by_mac[found.mac] = found
    return tuple(by_mac.values())


def _interface(facts: Mapping[str, Any], structured: object, name: str) -> SeenInterface | None:
    inner = structured.get(name) if isinstance(structured, Mapping) else None
    inner = inner if isinstance(inner, Mapping) else {}
    try:
        mac = normal_mac(str(facts.get(f"macaddress_{name}") or inner.get("mac")))
    except ValueError:
        # Loopback has none, InfiniBand a longer one: nothing that boots over Ethernet.
        return None
    candidates = (
        facts.get(f"ipaddress_{name}"),
        inner.get("ip"),
        facts.get(f"ipaddress6_{name}"),
        inner.get("ip6"),
    )
    return SeenInterface(
        name=name, mac=mac, ip=next((ip for ip in map(_address, candidates) if ip), None)
    )


def _names(value: object) -> list[str]:
    match value:
        case str():
            return [name.strip() for name in value.split(",") if name.strip()]
        case list():
            return [name for name in value if isinstance(name, str)]
        case _:
            return []


def _address(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        address = ip_interface(value.partition("%")[0]).ip
    except ValueError:
        return None
    # An interface with a MAC address is no loopback, whatever its address: simulated hosts live in
    # 127.0.0.0/8. Whom a proxy may call there is its own setting.
    useless = address.is_link_local or address.is_unspecified or address.is_multicast
    return None if useless else str(address)


def _at(facts: Mapping[str, Any], *path: str) -> object:
    value: object = facts
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def same_telling(facts: Mapping[str, Any]) -> str:
    """A digest that is equal for facts which say the same but for noise."""
    told = {name: value for name, value in facts.items() if not _NOISE.search(name.lower())}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
