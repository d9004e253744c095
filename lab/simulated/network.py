"""A network of the site's own on the loopback, so that each virtual host has its own address.

Linux takes every address of 127.0.0.0/8 for its own, and lets anybody listen on them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

__all__ = ["Addresses", "own_addresses"]

POWER_PORT = 8448
"""Where a discovery image serves its power API over plain HTTP."""
_FIRST, _COUNT = 64, 128


@dataclass(frozen=True)
class Addresses:
    """How a site's network is divided."""

    network: IPv4Network

    @property
    def server(self) -> IPv4Address:
        """Of the servers that hosts and Rackrise call."""
        return self.network[1]

    @property
    def fixed(self) -> tuple[IPv4Address, IPv4Address]:
        """The range for hosts in operation."""
        return self.network[0x1001], self.network[0x1FFF]

    @property
    def dynamic(self) -> tuple[IPv4Address, IPv4Address]:
        """The DHCP server's own range."""
        return self.network[0x2001], self.network[0x2FFF]

    def free_port(self, wanted: int = 0) -> int:
        """A port of the server's address: the wanted one, if nobody has it."""
        with socket.socket() as probe:
            try:
                probe.bind((str(self.server), wanted))
            except OSError:
                probe.bind((str(self.server), 0))
            port: int = probe.getsockname()[1]
            return port


@contextmanager
def own_addresses() -> Iterator[Addresses]:
    """Keep a /16 of the loopback while the block lasts; other sites of this machine take others.

    Raises:
        RuntimeError: all are taken.
    """
    for step in range(_COUNT):
        network = IPv4Network(f"127.{_FIRST + (os.getpid() + step) % _COUNT}.0.0/16")
        with socket.socket() as guard:
            try:
                guard.bind((str(network[1]), POWER_PORT))
            except OSError:
                continue
            guard.listen()
            yield Addresses(network)
            return
    raise RuntimeError(f"each of {_COUNT} loopback networks is taken: port {POWER_PORT} is in use")
