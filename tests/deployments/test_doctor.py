"""`rackrise doctor` from end to end: from here, then in a worker, with its exit codes."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner, Result

from cli.exits import Exit
from cli.main import app
from inventory import claims
from inventory.models import WorkerLease
from lab.doubles.dhcp import Fault
from tests.deployments.conftest import Prefect, Working
from tests.flows.bench import Bench

pytestmark = pytest.mark.long


async def doctor(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["doctor", *words])


def rows(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


@pytest.fixture
async def leased(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench whose worker has a lease, and an environment as commands have it."""
    monkeypatch.setenv("RACKRISE_DATABASE_URL", bench.database.url)
    async with bench.database.sessions.begin() as session:
        await claims.renew(session, "test/1", timedelta(hours=1))
    return bench


async def test_what_a_worker_has_found_is_shown_with_what_to_do(
    leased: Bench, prefect: Prefect, working: Working
) -> None:
    async with working():
        well = await doctor("--only", "dhcp,DNS", "--json")
        # The gateway alone does not run on a bench; seen from here, and not asked of the worker.
        assert {one["system"] for one in rows(well) if one["outcome"] != "ok"} == {"gateway"}
        assert {"inventory", "Prefect", "worker", "DHCP", "DNS"} <= {
            one["system"] for one in rows(well)
        }
        assert not leased.dhcp.reservations
        leased.dhcp.fault = Fault.LIES
        ill = await doctor("--only", "dhcp")
    assert well.exit_code == ill.exit_code == Exit.FAULT
    assert "FAILED" in ill.stdout
    assert "→" in ill.stdout
    assert "Prefect" in ill.stdout


async def test_without_a_worker_it_says_how_to_start_one_and_what_it_sees(
    leased: Bench, prefect: Prefect
) -> None:
    async with leased.database.sessions.begin() as session:
        await session.exec(sa.delete(WorkerLease))
    result = await doctor("--json")
    assert result.exit_code == Exit.UNREACHABLE
    found = {one["system"]: one for one in rows(result)}
    assert "rackrise worker" in found["worker"]["advice"]
    assert found["inventory"]["outcome"] == "ok"
    assert [one["outcome"] for one in rows(result) if one["system"] == "Prefect"] == ["ok", "ok"]


async def test_a_worker_that_takes_nothing_up_is_not_waited_for_for_ever(
    leased: Bench, prefect: Prefect
) -> None:
    result = await doctor("--timeout", "2", "--json")
    assert result.exit_code == Exit.UNREACHABLE
    assert "has not ended within 2 s" in result.stderr
    assert any(one["system"] == "inventory" for one in rows(result))


@pytest.mark.parametrize(
    ("url", "said"),
    [("", "RACKRISE_DATABASE_URL is not set"), ("postgresql://a@127.0.0.1:1/b", "not answer")],
)
async def test_without_an_inventory_prefect_is_looked_at_all_the_same(
    prefect: Prefect, monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    monkeypatch.setenv("RACKRISE_DATABASE_URL", url)
    result = await doctor("--json")
    assert result.exit_code == Exit.UNREACHABLE
    (one,) = (one for one in rows(result) if one["system"] == "inventory")
    assert said in one["seen"]
    assert one["advice"]
    assert {one["outcome"] for one in rows(result) if one["system"] == "Prefect"} == {"ok"}


async def test_an_inventory_of_another_shape_is_told(leased: Bench, prefect: Prefect) -> None:
    async with leased.database.sessions.begin() as session:
        shape = await session.scalar(sa.text("SELECT version_num FROM alembic_version"))
        await session.exec(sa.text("UPDATE alembic_version SET version_num = '9999'"))  # type: ignore[call-overload]
    try:
        result = await doctor("--json")
    finally:
        async with leased.database.sessions.begin() as session:
            await session.exec(
                sa.text("UPDATE alembic_version SET version_num = :v").bindparams(v=shape)  # type: ignore[call-overload]
            )
    (one,) = (one for one in rows(result) if one["system"] == "inventory")
    assert "of a newer Rackrise" in one["seen"]
    assert result.exit_code == Exit.UNREACHABLE


async def test_without_prefect_it_says_where_it_looked(
    leased: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RACKRISE_GATEWAY_OIDC_ISSUER", "http://127.0.0.1:1")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        result = await doctor("--json")
    assert result.exit_code == Exit.UNREACHABLE
    one, other = (one for one in rows(result) if one["system"] == "Prefect")
    assert {one["outcome"], other["outcome"]} == {"failed", "not tried"}
    (provider,) = (one for one in rows(result) if one["system"] == "sign-in")
    assert (provider["outcome"], provider["place"]) == ("failed", "http://127.0.0.1:1")


async def test_a_kind_that_there_is_not_is_wrong_usage() -> None:
    result = await doctor("--only", "dhcp,smtp")
    assert result.exit_code == Exit.REFUSED
    assert "smtp" in result.stderr
