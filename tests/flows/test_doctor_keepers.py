"""The doctor at doubles of Candlepin and of Puppet's CA."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import httpx
import pytest
from pydantic import SecretStr
from sqlmodel import select

from integrations.candlepin import Candlepin, OAuthLogin
from integrations.puppet import PuppetCa, PuppetSettings
from inventory.models import Candlepin as CandlepinRow
from inventory.models import HostGroup, Puppet
from lab.doubles.candlepin import CandlepinDouble
from lab.doubles.puppet import PuppetDouble
from tasks.credentials import CandlepinCredentials, PuppetCredentials
from tasks.doctor.checked import Outcome
from tasks.doctor.keepers import examine_candlepins, examine_puppets
from tasks.means import use
from tests.flows.bench import Bench
from tests.integrations.candlepin.sites import transport_of
from tests.integrations.candlepin.strict import Judge
from tests.inventory.world import make_candlepin, make_puppet


@dataclass
class Only:
    """One client for every Candlepin, or for every Puppet."""

    client: Candlepin | PuppetCa

    async def of(self, row: object) -> object:
        return self.client


@pytest.fixture
async def candlepin(bench: Bench) -> AsyncIterator[CandlepinDouble]:
    double = CandlepinDouble()
    async with bench.database.sessions.begin() as session:
        row = await make_candlepin(session, double.url)
        for group in await session.exec(select(HostGroup)):
            group.candlepin_id, group.owner = row.id, "ACME"
    kept = CandlepinCredentials(oauth_key="key", secret=SecretStr("secret"))
    await kept.asave("candlepin", overwrite=True)
    async with Candlepin(double.settings(), transport=transport_of(double, Judge())) as client:
        use(replace(bench.means, candlepins=Only(client)))  # type: ignore[arg-type]
        yield double


async def test_a_candlepin_that_is_well_is_only_read(candlepin: CandlepinDouble) -> None:
    found = await examine_candlepins.fn()
    assert {one.outcome for one in found} == {Outcome.OK}, found
    assert "ACME is made with its first host" in found[-1].seen
    assert candlepin.writes() == []


async def test_a_secret_that_candlepin_does_not_accept_is_told(
    bench: Bench, candlepin: CandlepinDouble
) -> None:
    login = OAuthLogin(key="unknown", secret=SecretStr("wrong"))
    settings = candlepin.settings(login=login)
    async with Candlepin(settings, transport=transport_of(candlepin, Judge())) as client:
        use(replace(bench.means, candlepins=Only(client)))  # type: ignore[arg-type]
        found = await examine_candlepins.fn()
    assert [one.outcome for one in found] == [Outcome.OK, Outcome.OK, Outcome.FAILED], found
    assert "candlepin.auth.oauth.enable=true" in found[-1].advice


async def test_a_candlepin_without_credentials_is_told(
    bench: Bench, candlepin: CandlepinDouble
) -> None:
    await bench.change(CandlepinRow, credentials="no-such-block")
    found = await examine_candlepins.fn()
    assert [one.outcome for one in found] == [Outcome.FAILED] + [Outcome.NOT_TRIED] * 2
    assert "rackrise candlepin credentials" in found[0].advice


@pytest.fixture
async def puppet(bench: Bench) -> AsyncIterator[PuppetDouble]:
    double = PuppetDouble()
    async with bench.database.sessions.begin() as session:
        await make_puppet(session)
    secret = SecretStr("key")
    kept = PuppetCredentials(certificate="certificate", private_key=secret, ca="ca")
    await kept.asave("puppet", overwrite=True)
    settings = PuppetSettings(
        url="https://puppet.test:8140", ca="ca", certificate="certificate", key=secret
    )
    async with PuppetCa(settings, transport=httpx.ASGITransport(double.app)) as client:
        use(replace(bench.means, puppets=Only(client)))  # type: ignore[arg-type]
        yield double


async def test_a_puppet_ca_that_is_well_has_nothing_afterwards(puppet: PuppetDouble) -> None:
    found = await examine_puppets.fn()
    assert {one.outcome for one in found} == {Outcome.OK}, found
    assert puppet.names() == []
    assert puppet.changes == []


async def test_a_puppet_server_that_is_down_or_unknown_is_told(
    bench: Bench, puppet: PuppetDouble
) -> None:
    puppet.down = True
    found = await examine_puppets.fn()
    assert [one.outcome for one in found] == [Outcome.OK, Outcome.FAILED, Outcome.NOT_TRIED]
    assert "try again in a minute" in found[1].advice
    await bench.change(Puppet, credentials="no-such-block")
    found = await examine_puppets.fn()
    assert "rackrise puppet credentials" in found[0].advice


async def test_a_puppet_ca_that_does_not_let_us_in_is_told(
    bench: Bench, puppet: PuppetDouble
) -> None:
    forbidden = httpx.MockTransport(lambda _: httpx.Response(403, text="Forbidden request"))
    settings = PuppetSettings(
        url="https://puppet.test:8140", ca="ca", certificate="c", key=SecretStr("key")
    )
    async with PuppetCa(settings, transport=forbidden) as client:
        use(replace(bench.means, puppets=Only(client)))  # type: ignore[arg-type]
        found = await examine_puppets.fn()
    assert "puppetserver ca generate --ca-client" in found[1].advice
