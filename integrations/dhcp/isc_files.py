"""What ISC dhcpd keeps in its two files: subnets, reservations and leases (OMAPI lists nothing).

The language of dhcpd.conf(5) and dhcpd.leases(5) is read as statements and blocks; of those only
the few that matter here are understood, the rest is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from integrations.records import DhcpSubnet, Lease, Reservation, normal_mac

__all__ = ["Block", "Host", "declarations", "find_hosts", "parse", "subnets", "to_lease"]

_TOKEN = re.compile(r'#[^\n]*|("(?:\\.|[^"\\])*")|([{};])|([^\s{};"#]+)|(")')


@dataclass
class Block:
    """A statement: its words, and what stands in its braces if it has any.

    Strings keep their quotes, so that a word and a string stay different.
    """

    words: list[str]
    inside: list[Block] = field(default_factory=list)

    def find(self, *start: str) -> list[str] | None:
        """The words after ``start`` of the last statement that begins so."""
        for block in reversed(self.inside):
            if tuple(block.words[: len(start)]) == start:
                return block.words[len(start) :]
        return None


@dataclass(frozen=True)
class Host:
    """One ``host`` declaration: what it reserves and whether OMAPI made it."""

    name: str
    mac: str
    addresses: tuple[IPv4Address, ...]
    hostname: str
    next_server: str
    filename: str
    dynamic: bool

    def reservations(self, network: IPv4Network) -> list[Reservation]:
        """Its reservations in one subnet."""
        return [
            Reservation(
                mac=self.mac,
                ip=ip,
                name=self.name,
                hostname=self.hostname,
                next_server=self.next_server,
                filename=self.filename,
                network=network,
            )
            for ip in self.addresses
            if ip in network
        ]


def parse(text: str, base: Path) -> Block:
    """Read a whole configuration into one block.

    Args:
        text: what stands in dhcpd.conf.
        base: directory of relative ``include`` files.

    Raises:
        OSError: an included file cannot be read.
        ValueError: a closing brace without an opening one.
    """
    found, _ = declarations(text)
    root = Block([])
    for block in found:
        if block.words[:1] == ["include"] and len(block.words) == 2:
            root.inside += parse((base / _text(block.words[1])).read_text(), base).inside
        else:
            root.inside.append(block)
    return root


def declarations(text: str) -> tuple[list[Block], int]:
    """Read statements and blocks as far as they are complete.

    Returns:
        The complete ones, and where the text goes on after the last of them: dhcpd may be in the
        middle of writing the next.

    Raises:
        ValueError: a closing brace without an opening one.
    """
    root = Block([])
    stack, words, end = [root], list[str](), 0
    for token in _TOKEN.finditer(text):
        string, mark, word, unfinished = token.groups()
        if unfinished:
            break
        if string or word:
            words.append(string or word)
            continue
        if not mark:
            continue  # a comment
        if mark == "{":
            stack.append(Block(words))
        elif mark == "}":
            closed = stack.pop()
            if not stack:
                raise ValueError("a } without its {")
            stack[-1].inside.append(closed)
        elif words:
            stack[-1].inside.append(Block(words))
        words = []
        if len(stack) == 1:
            end = token.end()
    return root.inside, end


def subnets(conf: Block) -> list[DhcpSubnet]:
    """All subnets, wherever they stand, with inherited options; the first range of each."""
    found = []
    for block, levels in _walk(conf, [conf]):
        if block.words[:1] == ["subnet"]:
            network = IPv4Network(f"{block.words[1]}/{block.words[3]}")
            first, last = _range(block)
            found.append(
                DhcpSubnet(
                    network=network,
                    routers=_option(levels, "routers"),
                    name_servers=_option(levels, "domain-name-servers"),
                    range_from=first,
                    range_to=last,
                )
            )
    return found


def _walk(block: Block, levels: list[Block]) -> Iterator[tuple[Block, list[Block]]]:
    for inner in block.inside:
        inner_levels = [inner, *levels]
        yield inner, inner_levels
        yield from _walk(inner, inner_levels)


def _range(subnet: Block) -> tuple[IPv4Address, IPv4Address] | tuple[None, None]:
    for block, _ in _walk(subnet, []):
        if block.words[:1] == ["range"]:
            ends = [word for word in block.words[1:] if word != "dynamic-bootp"]
            return IPv4Address(ends[0]), IPv4Address(ends[-1])
    return None, None


def _option(levels: Sequence[Block], name: str) -> tuple[IPv4Address, ...]:
    for level in levels:
        values = level.find("option", name)
        if values is not None:
            return tuple(_addresses(values))
    return ()


def _addresses(words: Sequence[str]) -> list[IPv4Address]:
    found = []
    for part in " ".join(words).replace(",", " ").split():
        try:
            found.append(IPv4Address(part))
        except ValueError:
            continue  # a name, which dhcpd resolves when it starts
    return found


def find_hosts(where: Block) -> dict[str, Host | None]:
    """All host declarations by name; None for one that says that the host is deleted.

    Of several with one name the last one counts.
    """
    found: dict[str, Host | None] = {}
    for block, _ in _walk(where, []):
        if block.words[:1] == ["host"] and len(block.words) == 2:
            name = _text(block.words[1])
            found[name] = _host(name, block)
    return found


def _host(name: str, block: Block) -> Host | None:
    hardware = block.find("hardware", "ethernet")
    if block.find("deleted") is not None or not hardware:
        return None
    try:
        mac = normal_mac(hardware[0])
    except ValueError:
        return None
    return Host(
        name=name,
        mac=mac,
        addresses=tuple(_addresses(block.find("fixed-address") or ())),
        hostname=_value(block, "host-name", ("option", "host-name")),
        next_server=_server(_value(block, "server.next-server", ("next-server",))),
        filename=_value(block, "server.filename", ("filename",)),
        dynamic=block.find("dynamic") is not None,
    )


def _value(block: Block, superseded: str, declared: tuple[str, ...]) -> str:
    """A value as OMAPI's statements are written back, or as a person declares it."""
    words = block.find("supersede", superseded, "=") or block.find(*declared)
    return _text(words[-1]) if words else ""


def _server(text: str) -> str:
    if re.fullmatch(r"[0-9a-f]{1,2}(:[0-9a-f]{1,2}){3}", text):
        return str(IPv4Address(bytes(int(part, 16) for part in text.split(":"))))
    return text


def _text(word: str) -> str:
    if not word.startswith('"'):
        return word
    return re.sub(r"\\(.)", r"\1", word[1:-1])


def to_lease(block: Block, now: datetime) -> Lease | None:
    """Read a ``lease`` block, or None where it is bound to no MAC address (an abandoned one)."""
    hardware = block.find("hardware", "ethernet")
    if not hardware:
        return None
    ends = _time(block, "ends")
    return Lease(
        mac=hardware[0],
        ip=IPv4Address(block.words[1]),
        hostname=_text((block.find("client-hostname") or [""])[0]),
        starts=_time(block, "starts"),
        ends=ends,
        active=block.find("binding", "state") == ["active"] and (ends is None or ends > now),
    )


def _time(block: Block, key: str) -> datetime | None:
    """A time in UTC, as ``1 2026/01/31 12:00:00`` (the weekday first) or ``epoch 1769860800``."""
    words = block.find(key)
    if not words or words == ["never"]:
        return None
    if words[0] == "epoch":
        return datetime.fromtimestamp(int(words[1]), UTC)
    return datetime.strptime(" ".join(words[1:3]), "%Y/%m/%d %H:%M:%S").replace(tzinfo=UTC)
