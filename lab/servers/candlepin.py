"""Candlepin's double inside a site's network, as a process."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

from lab.candlepin import LabCandlepin, lab_candlepin
from lab.doubles.candlepin_process import CA, IDENTITIES
from lab.namespace import Namespace
from lab.process import running

__all__ = ["PORT", "candlepin"]

PORT, FRONT_PORT = 8445, 8444


@asynccontextmanager
async def candlepin(directory: Path, *, inside: Namespace) -> AsyncIterator[LabCandlepin]:
    """Run it while the block lasts.

    Args:
        directory: exists and is empty; gets certificates and the log.
        inside: the site's network.
    """
    address = IPv4Address(inside.address)
    program = (sys.executable, "-m", "lab.doubles.candlepin_process")
    command = inside.command(*program, str(directory), str(address), str(PORT))

    async def serves() -> bool:
        return (directory / IDENTITIES).exists()

    async with running(
        "Candlepin's double", command, log=directory / "candlepin.log", ready=serves
    ):
        yield lab_candlepin(
            directory,
            address,
            FRONT_PORT,
            url=f"https://{address}:{PORT}/candlepin",
            ca=directory / CA,
            identities=directory / IDENTITIES,
        )
