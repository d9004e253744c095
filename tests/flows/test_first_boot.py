"""The first report: is the installed system what was ordered, and where was it sent from?"""

from __future__ import annotations

import json

import pytest

from flows.first_boot import first_boot
from inventory.arrows import Phase
from inventory.life import HostState
from inventory.models import BuildOutcome, CallbackKind
from tasks.company import NothingDone
from tests.flows.bench import Bench

pytestmark = pytest.mark.usefixtures("bare")


async def held(bench: Bench, name: str, saying: str) -> None:
    with pytest.raises(NothingDone):
        await first_boot.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.HELD
    build = await bench.build(name)
    assert build.closed_at is None
    assert saying in (build.held_reason or "")


async def test_a_host_that_reports_as_ordered_is_in_operation(bench: Bench) -> None:
    name = await bench.at(1, HostState.FIRST_BOOT)
    await bench.told(name, CallbackKind.REPORT, remote="192.0.2.20")
    await first_boot.fn(hosts=[name])
    assert (await bench.host(name)).state is HostState.IN_OPERATION
    assert (await bench.build(name)).outcome is BuildOutcome.IN_OPERATION


async def test_a_report_from_another_address_holds_the_host(bench: Bench) -> None:
    name = await bench.at(1, HostState.FIRST_BOOT)
    await bench.told(name, CallbackKind.REPORT, remote="192.0.2.200")
    await held(bench, name, "192.0.2.200")
    assert (await bench.build(name)).held_step == 30


async def test_a_system_that_calls_itself_otherwise_holds_the_host(bench: Bench) -> None:
    name = await bench.at(1, HostState.FIRST_BOOT)
    await bench.told(
        name,
        CallbackKind.REPORT,
        remote="192.0.2.20",
        body=json.dumps({"hostname": "localhost.localdomain"}),
    )
    await held(bench, name, "calls itself localhost.localdomain")
    # Judged again when a person says so: the report is there already.
    assert await bench.retry(name) is Phase.FIRST_BOOT


@pytest.mark.parametrize("body", ["no JSON", "{}", '{"hostname": 7}', "[]"])
async def test_a_report_that_cannot_be_read_holds_the_host(bench: Bench, body: str) -> None:
    name = await bench.at(1, HostState.FIRST_BOOT)
    await bench.told(name, CallbackKind.REPORT, remote="192.0.2.20", body=body)
    await held(bench, name, "cannot be read")
