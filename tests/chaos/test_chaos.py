"""A few of the faults that ``make chaos`` strikes with, at points that the seed chooses."""

from __future__ import annotations

import logging
import os

import pytest

from tests.chaos.report import Report, cases
from tests.chaos.site import chaos_site
from tests.flows.bench import Bench

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("bare"), pytest.mark.timeout(0)]

A_FEW = "inception/1+ anaconda-build/3 first-boot/1 cancel/3+ rebuild/1"
SECONDS = 60.0


async def test_hosts_go_on_after_whatever_happens(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = os.environ.get
    report = Report(int(told("RACKRISE_CHAOS_SEED", "1")))
    chosen = cases(told("RACKRISE_CHAOS_WALK"), A_FEW.split())
    logging.disable(logging.ERROR)
    try:
        await report.run(
            await chaos_site(bench, monkeypatch),
            chosen,
            budget=float(told("RACKRISE_CHAOS_BUDGET", str(SECONDS))),
            only=told("RACKRISE_CHAOS_ONLY", ""),
            part=(int(told("RACKRISE_CHAOS_PART", "0")), int(told("RACKRISE_CHAOS_PARTS", "1"))),
        )
    finally:
        logging.disable(logging.NOTSET)
    print(report)
    report.keep(told("RACKRISE_CHAOS_REPORT", os.devnull))
    assert report.results
    assert report.bad == []
