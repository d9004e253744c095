"""What is really there against what should be: found, told, and put right where it is ours."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import AsyncMock
from uuid import uuid4

import pytest
from sqlmodel import select

from flows.cancel import cancel
from flows.drift import drift
from flows.inception import inception
from inventory.life import HostState
from inventory.models import Drift
from lab.doubles.dhcp import Fault
from tasks import drift as drift_tasks
from tasks.road import Restored, ensure
from tests.flows.bench import Bench
from tests.flows.test_undo import give_up, in_operation, outside

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("bare")]


async def found(bench: Bench, *, repair: bool = False) -> list[tuple[str, str, str]]:
    """What a sweep keeps: judgement, system and key."""
    await drift.fn(repair=repair)
    async with bench.database.sessions() as session:
        rows = await session.exec(select(Drift))
        return sorted((one.judgement, one.system, one.key) for one in rows)


async def test_where_all_is_as_it_should_be_nothing_is_found_or_changed(bench: Bench) -> None:
    name = await bench.selected(1)
    await in_operation(bench, name)
    before = outside(bench)
    assert await found(bench) == []
    assert await found(bench, repair=True) == []
    assert outside(bench) == before


async def test_what_is_missing_is_written_again_when_that_is_asked_for(bench: Bench) -> None:
    name = await bench.selected(1)
    await in_operation(bench, name)
    before = outside(bench)
    bench.dhcp.reservations.clear()
    bench.drop_dns(name, "A")
    bench.boot_configs()[0].unlink()
    damaged = outside(bench)
    missing = [("DHCP", "52:54:00:aa:bb:01"), ("DNS", f"{name} A")]
    missing.append(("TFTP", "pxelinux.cfg/01-52-54-00-aa-bb-01"))
    assert await found(bench) == [("missing", *one) for one in missing]
    assert outside(bench) == damaged
    assert await found(bench, repair=True) == []
    assert outside(bench) == before
    assert await found(bench) == []


async def test_what_is_somebody_elses_is_told_and_never_touched(bench: Bench) -> None:
    name = await bench.selected(1)
    await in_operation(bench, name)
    bench.drop_dns(name, "A")
    bench.put_dns(name, "A", "192.0.2.200")
    (config,) = bench.boot_configs()
    config.write_text("# somebody else's\n")
    before = outside(bench)
    foreign = [("foreign", "DNS", f"{name} A"), ("foreign", "TFTP", config.relative_to(bench.root))]
    wanted = [(one, system, str(key)) for one, system, key in foreign]
    assert await found(bench) == wanted
    assert await found(bench, repair=True) == wanted
    assert outside(bench) == before


async def test_an_older_value_of_ours_is_changed_and_put_right(bench: Bench) -> None:
    name = await bench.selected(1)
    await inception.fn(hosts=[name])
    (config,) = bench.boot_configs()
    armed = config.read_text()
    await in_operation(bench, name)
    ended = config.read_text()
    config.write_text(armed)
    assert await found(bench) == [("changed", "TFTP", "pxelinux.cfg/01-52-54-00-aa-bb-01")]
    assert await found(bench, repair=True) == []
    assert config.read_text() == ended


async def test_a_record_of_a_build_that_is_gone_is_a_leak_and_is_removed(bench: Bench) -> None:
    name = await bench.selected(1)
    await inception.fn(hosts=[name])
    reservation = dict(bench.dhcp.reservations[0])
    await give_up(bench, name)
    await cancel.fn(hosts=[name])
    assert await found(bench) == []
    bench.dhcp.reservations.append(reservation)
    assert await found(bench) == [("leaked", "DHCP", "52:54:00:aa:bb:01")]
    assert bench.dhcp.reservations
    assert await found(bench, repair=True) == []
    assert not bench.dhcp.reservations


async def test_a_server_that_is_away_is_told_and_hides_nothing_else(bench: Bench) -> None:
    name = await bench.selected(1)
    await in_operation(bench, name)
    bench.drop_dns(name, "A")
    bench.dhcp.fault = Fault.OFFLINE
    assert await found(bench, repair=True) == [("not readable", "DHCP", "52:54:00:aa:bb:01")]
    assert name in bench.dns_records("A")


async def test_hosts_under_way_are_their_runs_business(bench: Bench) -> None:
    name = await bench.selected(1)
    await inception.fn(hosts=[name])
    bench.dhcp.reservations.clear()
    assert await found(bench, repair=True) == []
    assert (await bench.host(name)).state is HostState.REBOOTING
    assert not bench.dhcp.reservations


async def test_a_repair_for_which_our_database_is_away_ends_no_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [await bench.selected(number) for number in (1, 2)]
    for name in names:
        monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", str(uuid4()))
        await in_operation(bench, name)
        bench.images.reboots.clear()
        bench.drop_dns(name, "A")
    once = [OSError("no connection")]

    async def lost_once(*given: Any, **named: Any) -> str:
        if once:
            raise once.pop()
        return await ensure(*given, **named)

    monkeypatch.setattr(drift_tasks, "ensure", lost_once)
    ((judgement, system, key),) = await found(bench, repair=True)
    assert (judgement, system) == ("missing", "DNS")
    assert key in {f"{name} A" for name in names}
    assert await found(bench, repair=True) == []


async def test_no_more_hosts_are_repaired_at_once_than_our_database_has_connections_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        name = await bench.selected(number)
        monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", str(uuid4()))
        await in_operation(bench, name)
        bench.images.reboots.clear()
        bench.drop_dns(name, "A")
    under_way: list[str] = []
    most = 0

    async def counted(*given: Any, **named: Any) -> str:
        nonlocal most
        under_way.append("one")
        most = max(most, len(under_way))
        await asyncio.sleep(0.2)
        try:
            return await ensure(*given, **named)
        finally:
            under_way.pop()

    monkeypatch.setattr(drift_tasks, "ensure", counted)
    monkeypatch.setattr(drift_tasks, "_REPAIRED_AT_ONCE", 1)
    assert await found(bench, repair=True) == []
    assert most == 1


async def test_a_leak_that_another_host_has_by_now_is_not_called_removed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = await bench.selected(1)
    await inception.fn(hosts=[name])
    kept = bench.dns_records("A")[name][0]
    await give_up(bench, name)
    await cancel.fn(hosts=[name])
    bench.put_dns(name, "A", kept)
    words = f"{name} A is left: another host has it now"
    monkeypatch.setattr(drift_tasks, "restore", AsyncMock(return_value=Restored(words, left=True)))
    with caplog.at_level("INFO", logger="flow"):
        assert await found(bench, repair=True) == []
    assert words in caplog.text
    assert "is removed" not in caplog.text
