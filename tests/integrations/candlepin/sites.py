"""The Candlepins that the contract is tried on. No test may know which one it talks to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from uuid import uuid4

import httpx

from integrations.candlepin import Candlepin, CandlepinSettings
from lab.doubles.candlepin import CandlepinDouble
from tests.integrations.candlepin.strict import DOCUMENT, Judge, Judged

_NUMBERS = count(1)
_RUN = uuid4().hex[:8]
VARIABLES = ("CANDLEPIN_URL", "CANDLEPIN_CA", "CANDLEPIN_OAUTH_KEY", "CANDLEPIN_OAUTH_SECRET")


@dataclass
class Site:
    """One Candlepin."""

    settings: CandlepinSettings
    candlepin: Candlepin
    judge: Judge
    double: CandlepinDouble | None = None

    def other(self, **changes: object) -> Candlepin:
        """Another client of the same."""
        settings = CandlepinSettings.model_validate({**self.settings.model_dump(), **changes})
        return Candlepin(settings, transport=transport_of(self.double, self.judge))


def new_name(what: str) -> str:
    """A name that nobody else has, on a real server either."""
    return f"{what}-{_RUN}-{next(_NUMBERS)}"


def transport_of(double: CandlepinDouble | None, judge: Judge) -> httpx.AsyncBaseTransport | None:
    if double is None:
        return None
    return httpx.ASGITransport(Judged(double.app, judge) if DOCUMENT.exists() else double.app)


@asynccontextmanager
async def double_site() -> AsyncIterator[Site]:
    double, judge = CandlepinDouble(), Judge()
    settings = double.settings()
    async with Candlepin(settings, transport=transport_of(double, judge)) as candlepin:
        yield Site(settings, candlepin, judge, double)


@asynccontextmanager
async def real_site() -> AsyncIterator[Site]:
    url, ca, key, secret = (os.environ[name] for name in VARIABLES)
    login = {"key": key, "secret": secret}
    settings = CandlepinSettings.model_validate(
        {"url": url, "ca": await asyncio.to_thread(Path(ca).read_text), "login": login}
    )
    async with Candlepin(settings) as candlepin:
        yield Site(settings, candlepin, Judge())


SITES = {"double": double_site}
if all(name in os.environ for name in VARIABLES):
    SITES["candlepin"] = real_site
