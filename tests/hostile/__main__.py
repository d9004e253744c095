"""Malformed and hostile requests to gateway, console and proxy, at every endpoint: what they did.

    python -m tests.hostile [--requests 10000] [--seed N] [--only PART] [--show N]

Prints a line for each endpoint, then what went wrong, then the sums; ends with 1 if anything did.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Sequence

from deployments.postgres import running_postgres
from tests.conftest import data_directory
from tests.hostile.operators import attack_operators
from tests.hostile.run import Row, attack, targets

_COLUMNS = ("requests", "2xx", "3xx", "4xx", "gone", "501*", "5xx", "tracebacks", "changes")


def _line(row: Row) -> str:
    counted = row.classes
    cells = (
        *(row.requests, counted["2xx"], counted["3xx"], counted["4xx"], counted["none"]),
        *(row.by_contract, row.errors, row.tracebacks, row.changes),
    )
    return f"{row.endpoint!s:<66}" + "".join(f"{cell:>11}" for cell in cells)


def _head() -> str:
    return f"{'endpoint':<66}" + "".join(f"{name:>11}" for name in _COLUMNS)


def _sums(rows: Sequence[Row]) -> str:
    return (
        f"requests {sum(one.requests for one in rows)}, endpoints {len(rows)}, "
        f"server errors {sum(one.errors for one in rows)}, "
        f"tracebacks {sum(one.tracebacks for one in rows)}, "
        f"state changes {sum(one.changes for one in rows)}"
    )


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile")
    parser.add_argument("--requests", type=int, default=10_000, help="to each endpoint")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", default="", help="a part of the endpoints' names")
    parser.add_argument("--show", type=int, default=3, help="harms shown of each endpoint")
    asked = parser.parse_args()
    seed = secrets.randbelow(2**31) if asked.seed is None else asked.seed
    print(f"seed {seed}\n{_head()}", flush=True)
    began = time.monotonic()

    def tell(row: Row, _: float) -> None:
        print(_line(row), flush=True)

    async def run(url: str) -> list[Row]:
        async with targets(url) as found:
            rows = await attack(found, asked.requests, seed, asked.only, tell)
        return rows + await attack_operators(url, asked.requests, seed, asked.only, tell)

    with data_directory() as data, running_postgres(data, durable=False) as urls:
        rows = asyncio.run(run(urls.rackrise))
    for row in rows:
        for harm in row.harms[: asked.show]:
            print(f"\n{harm}")
    seconds = time.monotonic() - began
    rate = sum(one.requests for one in rows) / seconds
    print("\n* prescribed by the Smart Proxy API for what a proxy does not do")
    print(f"seed {seed}, {seconds:.0f} s, {rate:.0f} requests/s, generation included")
    print(_sums(rows))
    return int(any(one.errors or one.tracebacks or one.changes for one in rows))


if __name__ == "__main__":
    sys.exit(_main())
