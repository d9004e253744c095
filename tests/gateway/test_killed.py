"""The gateway is killed while Puppet servers tell it reports: what it missed is in their stores."""

from __future__ import annotations

import argparse

import pytest

from benchmarks.puppet_reports import run

pytestmark = pytest.mark.long


async def test_no_report_is_lost_while_the_gateway_is_killed() -> None:
    sent, at_once, after = await run(argparse.Namespace(reports=600, rate=150, kills=3))
    assert sent.unheard > 0, "nobody noticed that it was killed"
    assert at_once < 600
    assert after == 600
