"""Whether whoever has a page open is still signed in: asked once for all pages of a browser."""

from __future__ import annotations

import asyncio

from fastapi import Request

from gateway.operators.sessions import SignedIn, signed_in

__all__ = ["LOOK_SECONDS", "Watch"]

LOOK_SECONDS = 10.0
"""Between two looks: so long an open page may outlive the right to see it."""


class Watch:
    """Of one gateway: two hundred open pages would ask the database twenty times a second."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, SignedIn]] = {}
        self._asking = asyncio.Lock()

    async def look(self, request: Request, who: SignedIn) -> SignedIn:
        """Who has signed in, by an answer that is at most ``LOOK_SECONDS`` old.

        Args:
            request: of the open page.
            who: had signed in there.

        Raises:
            SignInFirst: they have not any more.
        """
        clock = asyncio.get_running_loop().time
        async with self._asking:
            since = clock() - LOOK_SECONDS
            at, known = self._known.get(who.secret, (since, who))
            if at > since:
                return known
            # Also browsers that have no page open any more are forgotten.
            self._known = {key: one for key, one in self._known.items() if one[0] > since}
            known = await signed_in(request)
            self._known[who.secret] = (clock(), known)
            return known
