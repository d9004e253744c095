"""A worker that is stopped holds nothing in this process that the one which overtakes it needs."""

from __future__ import annotations

import asyncio

import pytest

from tests.chaos.faults import Kind
from tests.chaos.report import cases
from tests.chaos.site import chaos_site
from tests.chaos.trial import clean, strike
from tests.flows.bench import Bench

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("bare"), pytest.mark.timeout(120)]

SECONDS = 30.0


async def test_a_worker_stopped_while_it_reserves_an_address_is_overtaken(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await chaos_site(bench, monkeypatch)
    (case,) = cases(None, ["inception/1"])
    without = await clean(site, case)
    # The client of a proxy makes one reservation of an address at a time.
    point = next(one for one in without.points if one.name == "POST proxy dhcp")
    async with asyncio.timeout(SECONDS):
        result = await strike(site, case, point, Kind.SLEPT, without)
    assert result is not None
    assert result.point == point
    assert result.good, result
