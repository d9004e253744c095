"""What the real Kea cannot be made to do: lie; and what its agent says for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from integrations.dhcp.kea import KeaDhcp, KeaSettings
from integrations.errors import Refused, Unavailable, Unverified
from integrations.records import Outcome
from lab.doubles.dhcp import Fault, KeaDouble
from tests.integrations.dhcp.sites import NETWORK, reservation


@pytest.fixture(params=[False, True], ids=["without-host-cmds", "with-host-cmds"])
def double(request: pytest.FixtureRequest) -> KeaDouble:
    return KeaDouble(host_cmds=request.param, now=lambda: 1_700_000_000)


@pytest.fixture
async def server(double: KeaDouble, tmp_path: Path) -> AsyncIterator[KeaDhcp]:
    async with double.serving() as url:
        settings = KeaSettings(agent_url=url, lock_file=tmp_path / "writer")
        kea = KeaDhcp(settings, now=lambda: datetime.fromtimestamp(1_700_000_600, UTC))
        yield kea
        await kea.close()


async def test_a_yes_that_changed_nothing_is_unverified(double: KeaDouble, server: KeaDhcp) -> None:
    double.fault = Fault.LIES
    with pytest.raises(Unverified, match="not there"):
        await server.reserve(reservation())
    double.fault = Fault.NONE
    await server.reserve(reservation())
    double.fault = Fault.LIES
    with pytest.raises(Unverified, match="still there"):
        await server.release(reservation())


async def test_an_agent_whose_server_is_down_is_unavailable(
    double: KeaDouble, server: KeaDhcp
) -> None:
    double.fault = Fault.OFFLINE
    with pytest.raises(Unavailable, match="likely to be offline"):
        await server.reserve(reservation())


async def test_a_rejection_is_refused_with_its_words(double: KeaDouble, server: KeaDhcp) -> None:
    double.fault = Fault.REJECTS
    with pytest.raises(Refused, match="as the test wished"):
        await server.reserve(reservation())
    double.fault = Fault.NONE
    assert await server.reserve(reservation()) is Outcome.CREATED
    assert double.boot(reservation().mac) == reservation().ip


async def test_a_repeat_writes_what_a_dead_writer_left_unwritten(tmp_path: Path) -> None:
    double = KeaDouble()
    async with double.serving() as url:
        server = KeaDhcp(KeaSettings(agent_url=url, lock_file=tmp_path / "writer"))
        await server.reserve(reservation())
        double.written["subnet4"][0]["reservations"].clear()
        assert await server.reserve(reservation()) is Outcome.ALREADY
        assert double.written == double.config
        await server.close()


async def test_a_lease_that_has_ended_is_inactive(double: KeaDouble, server: KeaDhcp) -> None:
    ip = double.boot("52:54:00:aa:00:07")
    (lease,) = await server.leases(NETWORK)
    assert lease.ip == ip == IPv4Address("192.0.2.100")
    assert lease.ends == datetime.fromtimestamp(1_700_000_600, UTC)
    assert not lease.active


async def test_an_agent_that_is_not_there_is_unavailable() -> None:
    server = KeaDhcp(KeaSettings(agent_url="http://127.0.0.1:1/", timeout=1))
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await server.subnets()
    await server.close()


def test_settings_name_exactly_one_way_to_kea() -> None:
    for wrong in (
        {},
        {"control_socket": "/run/kea/kea4-ctrl-socket", "agent_url": "http://127.0.0.1:8000/"},
    ):
        with pytest.raises(ValidationError, match="give one"):
            KeaSettings.model_validate(wrong)


def test_all_programs_of_a_host_mean_the_same_lock() -> None:
    urls = ("http://127.0.0.1:8000/", "http://127.0.0.1:8000")
    first, second = (KeaSettings(agent_url=url).lock_path() for url in urls)
    assert first == second
    assert KeaSettings(agent_url="http://127.0.0.1:8001").lock_path() != first
    socket = Path("/run/kea/kea4.sock")
    assert KeaSettings(control_socket=socket).lock_path() == Path("/run/kea/kea4.sock.writer")


def test_the_password_does_not_show() -> None:
    settings = KeaSettings(agent_url="http://127.0.0.1:8000/", password=SecretStr("geheim"))
    assert "geheim" not in repr(settings)
