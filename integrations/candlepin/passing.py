"""An answer of Candlepin that is passed on as it comes, without being held in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx

__all__ = ["Passed"]


@dataclass(frozen=True)
class Passed:
    """Status, headers and body of an answer that is still being received."""

    status: int
    headers: httpx.Headers
    _answer: httpx.Response

    def parts(self) -> AsyncIterator[bytes]:
        """The body, as Candlepin has encoded it.

        Raises:
            httpx.HTTPError: it broke off.
        """
        return self._answer.aiter_raw()

    async def close(self) -> None:
        """Give the connection back; what was not read is dropped."""
        await self._answer.aclose()
