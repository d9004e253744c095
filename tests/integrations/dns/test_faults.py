"""What the client makes of a name server that fails, is silent or lies; only the double can."""

from __future__ import annotations

import asyncio
import time

import pytest
from pydantic import ValidationError

from integrations.dns import DnsSettings
from integrations.errors import OutsideError, Refused, Unavailable, Unverified
from integrations.records import DnsRecord, Outcome
from lab.doubles.dns import DnsDouble, DnsFault

from .conftest import ZONES, client

WEB = DnsRecord(name="web01.lab.example", type="A", value="192.0.2.50")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (DnsFault.SERVFAIL, Unavailable),
        (DnsFault.REFUSED, Refused),
        (DnsFault.LIES, Unverified),
        (DnsFault.SILENT, Unavailable),
    ],
)
async def test_each_fault_has_its_branch(fault: DnsFault, kind: type[OutsideError]) -> None:
    async with DnsDouble(ZONES) as double:
        double.fault = fault
        started = time.monotonic()
        (result,) = await client(double.port, timeout=0.3).add([WEB])
        assert type(result.outcome) is kind
        assert time.monotonic() - started < 1
        double.fault = DnsFault.NONE
        (result,) = await client(double.port).add([WEB])
        assert result.outcome == Outcome.CREATED


async def test_a_removal_that_was_only_claimed_is_unverified() -> None:
    async with DnsDouble(ZONES) as double:
        await client(double.port).add([WEB])
        double.fault = DnsFault.LIES
        (result,) = await client(double.port).remove([WEB])
        assert isinstance(result.outcome, Unverified)
        assert "web01.lab.example A 192.0.2.50" in result.outcome.said


async def test_an_answer_without_authority_is_refused() -> None:
    async with DnsDouble(ZONES) as double:
        await client(double.port).add([WEB])
        double.fault = DnsFault.LAME
        with pytest.raises(Refused, match="not authoritative"):
            await client(double.port).lookup(WEB.name, "A")


async def test_a_zone_that_is_down_does_not_hold_up_the_other() -> None:
    foreign = DnsRecord(name="web01.foreign.example", type="A", value="192.0.2.50")
    async with DnsDouble(ZONES) as double:
        server = client(double.port, zones=(*ZONES, "foreign.example"))
        wrong, right = await server.add([foreign, WEB])
    assert isinstance(wrong.outcome, Refused)
    assert right.outcome == Outcome.CREATED


async def test_the_double_keeps_its_zones_and_port_over_a_restart() -> None:
    double = DnsDouble(ZONES)
    async with double:
        await client(double.port).add([WEB])
        port = double.port
    async with double:
        assert double.port == port
        assert await client(port).lookup(WEB.name, "A") == [WEB]


async def test_fifty_clients_at_once_are_served() -> None:
    records = [
        DnsRecord(name=f"host{i}.lab.example", type="A", value=f"192.0.2.{i}") for i in range(50)
    ]
    async with DnsDouble(ZONES, seed=7, delay=(0, 0.02)) as double:
        results = await asyncio.gather(*(client(double.port).add([record]) for record in records))
    assert [result.outcome for (result,) in results] == [Outcome.CREATED] * 50


def test_a_secret_that_is_not_base64_is_refused_and_not_shown() -> None:
    with pytest.raises(ValidationError) as caught:
        DnsSettings.model_validate(
            {"address": "192.0.2.1", "key_name": "k", "secret": "hunter2!", "zones": ZONES}
        )
    assert "base64" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_zone_that_is_no_name_is_refused() -> None:
    with pytest.raises(ValidationError, match="no zone's name"):
        DnsSettings.model_validate(
            {"address": "192.0.2.1", "key_name": "k", "secret": "c2VjcmV0", "zones": ["a..b"]}
        )


@pytest.mark.parametrize(("kind", "value"), [("A", "2001:db8::1"), ("AAAA", "192.0.2.1")])
def test_a_record_of_the_wrong_family_is_refused_where_it_is_made(kind: str, value: str) -> None:
    with pytest.raises(ValidationError):
        DnsRecord.model_validate({"name": "a.example", "type": kind, "value": value})
