"""One client for each Pulp, also when its password is corrected while others use the old one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deployments.clients import Clients, pulp_clients
from integrations.errors import Refused
from integrations.pulp import Pulp, PulpSettings
from inventory.models import Pulp as PulpRow
from lab.doubles.pulp import PulpDouble, pulp_double
from tasks.company import Problem
from tasks.credentials import PulpCredentials

BLOCK = "pulp-of-a-test"
Pulps = Clients[PulpRow, PulpSettings, Pulp]


@pytest.fixture
async def double(prefect_api: str) -> AsyncIterator[PulpDouble]:
    async with pulp_double() as double:
        password = double.users["admin"][0]
        await PulpCredentials(user="admin", password=password).asave(BLOCK, overwrite=True)
        yield double


@pytest.fixture
async def clients() -> AsyncIterator[Pulps]:
    made = pulp_clients()
    yield made
    await made.close()


async def test_many_callers_share_one_client_and_one_login(
    double: PulpDouble, clients: Pulps
) -> None:
    row = PulpRow(name="p", url=double.url, credentials=BLOCK)
    found = await asyncio.gather(*(clients.of(row) for _ in range(5)))
    assert len({id(one) for one in found}) == 1
    await asyncio.gather(*(one.distributions() for one in found))
    assert double.logins == 1


async def test_callers_at_one_moment_read_the_credentials_once_and_later_ones_anew() -> None:
    read = 0

    async def settings_of(row: PulpRow) -> PulpSettings:
        nonlocal read
        read += 1
        await asyncio.sleep(0.01)
        return PulpSettings(url=row.url)

    clients: Pulps = Clients(settings_of, Pulp)
    row = PulpRow(name="p", url="http://127.0.0.1:1", credentials="none")
    impatient = asyncio.create_task(clients.of(row))
    others = [asyncio.create_task(clients.of(row)) for _ in range(49)]
    await asyncio.sleep(0)
    impatient.cancel()
    assert len({id(one) for one in await asyncio.gather(*others)}) == 1
    assert read == 1
    await clients.of(row)
    assert read == 2
    await clients.close()


async def test_a_corrected_password_is_used_and_breaks_nobody_who_is_at_work(
    double: PulpDouble, clients: Pulps
) -> None:
    row = PulpRow(name="p", url=double.url, credentials=BLOCK)
    before = await clients.of(row)
    await before.distributions()
    double.users["admin"] = ("another", "admin")
    await PulpCredentials(user="admin", password="another").asave(BLOCK, overwrite=True)
    after = await clients.of(row)
    assert after is not before
    await after.distributions()
    await before.distributions()  # its login still holds


async def test_where_the_api_begins_and_whom_we_believe_are_settings(
    double: PulpDouble, clients: Pulps, tmp_path: Path
) -> None:
    row = PulpRow(name="p", url=double.url, credentials=BLOCK, api_root="/pulp/lab/api/v3/")
    assert (await clients.of(row)).settings.api_root == "/pulp/lab/api/v3/"
    row.ca = str(tmp_path / "no-such-ca.pem")
    with pytest.raises(Refused, match=r"its CA .*no-such-ca\.pem cannot be read: No such file"):
        await clients.of(row)


async def test_a_block_that_is_not_there_is_named(prefect_api: str, clients: Pulps) -> None:
    row = PulpRow(name="p", url="http://127.0.0.1:1", credentials="nothing-there")
    with pytest.raises(Problem, match="there are no Pulp credentials 'nothing-there'"):
        await clients.of(row)
