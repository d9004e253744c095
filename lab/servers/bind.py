"""A real BIND that takes signed updates for the lab's zones, from an empty directory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.namespace import Namespace
from lab.process import Running, running
from lab.tsig import GUEST, OWNER

__all__ = ["Bind", "bind"]


@dataclass(frozen=True)
class Bind:
    """A running name server."""

    address: str
    port: int
    zones: tuple[str, ...]
    server: Running


def _configuration(
    directory: Path, address: str, port: int, zones: Sequence[str], denied: Sequence[str]
) -> str:
    keys = "".join(
        f'key "{key.name}" {{ algorithm hmac-sha256; secret "{key.secret}"; }};\n'
        for key in (OWNER, GUEST)
    )
    denials = "".join(f"deny {OWNER.name} name {name} ANY; " for name in denied)
    served = "".join(
        f'zone "{zone}" {{ type primary; file "{zone}.zone";'
        f" update-policy {{ {denials}grant {OWNER.name} zonesub ANY; }}; }};\n"
        for zone in zones
    )
    return f"""{keys}
options {{
    directory "{directory}";
    listen-on port {port} {{ {address}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
    pid-file "{directory}/named.pid";
    managed-keys-directory "{directory}";
    // Without this, several named on one machine fight for one file below /run.
    session-keyfile none;
    allow-transfer {{ key {OWNER.name}; }};
}};
controls {{ }};
{served}"""


def _empty_zone(zone: str, address: str) -> str:
    """A zone with nothing but what every zone must have; its server's name needs no record here."""
    glue = "" if zone.endswith(".arpa") else f"ns A {address}\n"
    host = "ns.invalid." if zone.endswith(".arpa") else f"ns.{zone}."
    return (
        f"$TTL 300\n$ORIGIN {zone}.\n"
        f"@ SOA {host} hostmaster.{zone}. 1 3600 600 86400 60\n@ NS {host}\n{glue}"
    )


def _prepare(directory: Path, zones: Sequence[str], address: str, configuration: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for zone in zones:
        file = directory / f"{zone}.zone"
        if not file.exists():
            file.write_text(_empty_zone(zone, address))
    (directory / "named.log").unlink(missing_ok=True)
    file = directory / "named.conf"
    file.write_text(configuration)
    return file


@asynccontextmanager
async def bind(
    directory: Path,
    zones: Sequence[str],
    *,
    inside: Namespace | None = None,
    address: str = "127.0.0.1",
    port: int = 53,
    denied: Sequence[str] = (),
) -> AsyncIterator[Bind]:
    """Serve zones while the block lasts; OWNER of ``lab.tsig`` may change them, GUEST may not.

    Args:
        directory: its own, absolute; zones that an earlier run left there are served on.
        zones: forward and reverse zones, e.g. ``lab.example`` and ``2.0.192.in-addr.arpa``.
        inside: the namespace to run in, on the namespace's address; None: this machine's network.
        address: where it listens outside a namespace.
        port: 53 inside a lab; any free one on a machine's own loopback.
        denied: names that even OWNER may not change.
    """
    address = inside.address if inside else address
    configuration = _configuration(directory, address, port, zones, denied)
    file = _prepare(directory, zones, address, configuration)
    log = directory / "named.log"

    async def loaded() -> bool:
        return log.read_text(errors="replace").rstrip().endswith("running")

    command = ["named", "-c", str(file), "-g", "-n", "1"]
    if inside:
        command = inside.command(*command)
    async with running("named", command, log=log, ready=loaded) as server:
        yield Bind(address, port, tuple(zones), server)
