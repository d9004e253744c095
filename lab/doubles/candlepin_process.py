"""Candlepin's double as a program of its own, for a site whose network is another than ours.

python -m lab.doubles.candlepin_process DIRECTORY ADDRESS PORT
"""

from __future__ import annotations

import asyncio
import sys
from ipaddress import IPv4Address
from pathlib import Path

from lab.doubles.candlepin import candlepin_double

__all__ = ["CA", "IDENTITIES"]

CA, IDENTITIES = "candlepin-tls.pem", "candlepin-identities.pem"
"""Files that it leaves in its directory, the second when it serves."""


async def _main(directory: Path, address: IPv4Address, port: int) -> None:
    async with candlepin_double(str(address), port) as double:
        (directory / CA).write_text(double.certificate or "")
        (directory / IDENTITIES).write_text(double.state.ca.certificate)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), IPv4Address(sys.argv[2]), int(sys.argv[3])))
