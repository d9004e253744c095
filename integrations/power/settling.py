"""Switching as every BMC wants it: ask, then look until the power state is what was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from integrations.errors import Unverified

__all__ = ["settled"]

T = TypeVar("T")


async def settled(
    read: Callable[[], Awaitable[T]],
    wanted: T,
    *,
    within: float,
    every: float,
    system: str,
    address: str,
    operation: str,
) -> None:
    """Read until the answer is the one that is wanted.

    Args:
        read: one look at the device.
        wanted: the answer to wait for.
        within: seconds until the last look.
        every: seconds between two looks.
        system: for the error, as in ``OutsideError``.
        address: for the error.
        operation: for the error.

    Raises:
        Unverified: the device said yes and still shows something else; the message says what.
    """
    clock = asyncio.get_running_loop().time
    end = clock() + within
    while (seen := await read()) != wanted:
        if clock() + every > end:
            raise Unverified(
                system=system,
                address=address,
                operation=operation,
                said=f"it said yes, but {within:g} s later it shows {seen} instead of {wanted}",
            )
        await asyncio.sleep(every)
