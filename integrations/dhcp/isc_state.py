"""The state of an ISC dhcpd as its files tell it, fresh at every look and cheap in a large site.

dhcpd appends to its lease file, and now and then puts a new one in its place. So only what was
appended since the last look is read, as long as it is the same file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from integrations.dhcp.isc_files import Block, Host, declarations, find_hosts, parse, subnets
from integrations.records import DhcpSubnet

__all__ = ["IscState", "StateReader"]

_OVERLAP = 256
"""Bytes before the place to go on that must still be the same: a new file may have got the inode
number of an old one."""


@dataclass(frozen=True)
class IscState:
    """Everything that the two files say."""

    subnets: list[DhcpSubnet]
    hosts: list[Host]
    leases: dict[IPv4Address, Block]
    """The last word on each address."""


class StateReader:
    """Reads both files; blocking, for threads, one at a time.

    Args:
        conf_file: dhcpd.conf.
        leases_file: dhcpd.leases.
    """

    def __init__(self, conf_file: Path, leases_file: Path) -> None:
        self._conf_file = conf_file
        self._leases_file = leases_file
        self._lock = Lock()
        self._forget()

    def _forget(self) -> None:
        self._inode = -1
        self._offset = 0
        self._overlap = b""
        self._hosts: dict[str, Host | None] = {}
        self._leases: dict[IPv4Address, Block] = {}

    def read_subnets(self) -> list[DhcpSubnet]:
        """The subnets of the configuration alone.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not a configuration.
        """
        return subnets(self._configuration())

    def read(self) -> IscState:
        """What both files say now.

        Raises:
            OSError: one of them cannot be read.
            ValueError: one of them is not what it should be.
        """
        conf = self._configuration()
        with self._lock:
            with self._leases_file.open("rb") as file:
                self._catch_up(file)
            # The lease file has the last word, also on a host of the configuration.
            known = find_hosts(conf) | self._hosts
            return IscState(
                subnets=subnets(conf),
                hosts=[host for host in known.values() if host is not None],
                leases=dict(self._leases),
            )

    def _configuration(self) -> Block:
        return parse(self._conf_file.read_text(errors="replace"), self._conf_file.parent)

    def _catch_up(self, file: BinaryIO) -> None:
        inode = os.fstat(file.fileno()).st_ino
        file.seek(self._offset - len(self._overlap))
        if inode != self._inode or file.read(len(self._overlap)) != self._overlap:
            self._forget()
            self._inode = inode
            file.seek(0)
        fresh = file.read()
        # Latin-1 maps each byte to one character, so that the end is right in both.
        found, end = declarations(fresh.decode("latin-1"))
        for block in found:
            if block.words[:1] == ["lease"] and len(block.words) == 2:
                self._leases[IPv4Address(block.words[1])] = block
        self._hosts |= find_hosts(Block([], found))
        self._offset += end
        self._overlap = (self._overlap + fresh[:end])[-_OVERLAP:]
