"""How one kind of system is examined: all at once, each with a deadline, none hides another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from inventory import guard
from inventory.database import DATABASE_ERRORS
from tasks.company import Problem
from tasks.doctor.advice import advice_for
from tasks.doctor.checked import Checked, Outcome
from tasks.doctor.probing import Leftover
from tasks.means import means

__all__ = ["LOOK_SECONDS", "PROBE_SECONDS", "Examination", "alone"]

LOOK_SECONDS = 15.0
"""For a call or two that only read."""
PROBE_SECONDS = 30.0
"""For a record that is made, seen and removed; to take it away again has time of its own."""
_AT_ONCE = 16
_LOCK = "rackrise doctor"
_WAIT = "60s"


class Examination:
    """Collects what checks of one kind of system have found.

    Args:
        system: as people call it; decides the advice.
    """

    def __init__(self, system: str) -> None:
        self.found: list[Checked] = []
        self._system = system
        self._limit = asyncio.Semaphore(_AT_ONCE)

    async def all(self, parts: Iterable[Coroutine[Any, Any, None]]) -> None:
        """Make several parts at once, and wait for all of them, also when cancelled."""
        # Not gather: cancelled, it would not wait until each has taken its probe away.
        async with asyncio.TaskGroup() as group:
            for one in parts:
                group.create_task(one)

    async def look(
        self,
        place: str,
        check: str,
        how: Callable[[], Awaitable[str]],
        *,
        seconds: float = LOOK_SECONDS,
        gate: tuple[str, str] | None = None,
    ) -> bool:
        """Try something; whatever it raises becomes a failure with advice.

        Args:
            place: where.
            check: what is tried.
            how: does it, and says what was seen.
            seconds: until it must be done.
            gate: system and place whose limit of calls at once it shares with provisioning.

        Returns:
            Whether it is well.
        """
        async with self._limit, _gate(gate):
            began = time.monotonic()
            outcome, advice = Outcome.OK, ""
            try:
                async with asyncio.timeout(seconds):
                    seen = await how()
            except Exception as error:
                outcome = Outcome.FAILED
                seen, advice = self._said(error, seconds)
            took = round(time.monotonic() - began, 3)
        self.found.append(
            Checked(
                system=self._system,
                place=place,
                check=check,
                outcome=outcome,
                seen=seen,
                advice=advice,
                seconds=took,
            )
        )
        return outcome is Outcome.OK

    def not_tried(self, place: str, check: str, why: str) -> None:
        """Say that something was not tried, and why."""
        self.found.append(
            Checked(
                system=self._system, place=place, check=check, outcome=Outcome.NOT_TRIED, seen=why
            )
        )

    def _said(self, error: Exception, seconds: float) -> tuple[str, str]:
        if isinstance(error, Leftover):
            seen, advice = self._said(error.first, seconds)
            return f"{seen}; {error}", f"{advice} The next doctor removes what is left."
        if isinstance(error, TimeoutError) and not str(error):
            return f"not done within {seconds:g} s", advice_for(error, self._system)
        known = str(error) or type(error).__name__
        return known, advice_for(error, self._system)


@asynccontextmanager
async def _gate(gate: tuple[str, str] | None) -> AsyncIterator[None]:
    if gate is None:
        yield
        return
    async with means().admission.gate(*gate):
        yield


@asynccontextmanager
async def alone() -> AsyncIterator[None]:
    """Hold the right to make probes: two doctors would take each other's for leftovers.

    Raises:
        Problem: another doctor is under way, and does not end soon.
    """
    async with means().sessions() as session:
        await session.exec(sa.text(f"SET LOCAL lock_timeout = '{_WAIT}'"))  # type: ignore[call-overload]
        try:
            await guard.take_away(session, _LOCK)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != "55P03":
                raise
            raise Problem(
                f"another doctor is under way, and has not ended within {_WAIT}",
                "See it in Prefect's UI; wait for it, or cancel it.",
            ) from error
        try:
            yield
        finally:
            # The lock ends with the connection, however that ends.
            with suppress(*DATABASE_ERRORS):
                await session.rollback()
