"""The same cases for the double and for BIND; what they are: the table of the lab's contract."""

from __future__ import annotations

import asyncio
from inspect import isawaitable

import dns.tsig
import dns.update
import pytest
from dns.rcode import Rcode

from integrations.dns import authoritative_lookup
from integrations.dns.wire import Line
from integrations.errors import Conflict, OutsideError, Refused, Unavailable, Unverified
from integrations.records import DnsRecord, Outcome
from lab.doubles.dns import DnsDouble
from lab.tsig import GUEST, OWNER, TsigKey

from .conftest import DENIED, ZONES, Site

WEB = DnsRecord(name="web01.lab.example", type="A", value="192.0.2.50")
WEB6 = DnsRecord(name="web01.lab.example", type="AAAA", value="2001:db8::50")
BACK = DnsRecord(name="50.2.0.192.in-addr.arpa", type="PTR", value="web01.lab.example")


def fleet(size: int) -> list[DnsRecord]:
    return [
        DnsRecord(name=f"host{i}.lab.example", type="A", value=f"192.0.2.{i}") for i in range(size)
    ]


async def outcomes(results: object) -> list[Outcome | OutsideError]:
    done = await results if isawaitable(results) else results
    assert isinstance(done, list)
    return [result.outcome for result in done]


async def the_error(results: object, kind: type[OutsideError]) -> OutsideError:
    (error,) = await outcomes(results)
    assert isinstance(error, kind), error
    return error


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[dns.update.UpdateMessage]:
    """The update messages that our client sends."""
    sent: list[dns.update.UpdateMessage] = []
    ask = Line.ask

    async def spy(self: Line, message: dns.message.Message, operation: str) -> dns.message.Message:
        if isinstance(message, dns.update.UpdateMessage):
            sent.append(message)
        return await ask(self, message, operation)

    monkeypatch.setattr(Line, "ask", spy)
    return sent


async def test_a_name_that_holds_nothing_is_an_empty_list(site: Site) -> None:
    assert await site.client().lookup("nobody.lab.example", "A") == []
    await site.client().add([WEB])
    assert await site.client().lookup("web01.lab.example", "AAAA") == []


async def test_address_and_pointer_are_created_with_one_message_for_each_zone(
    site: Site, messages: list[dns.update.UpdateMessage]
) -> None:
    server = site.client()
    assert await outcomes(server.add([WEB, BACK, WEB6])) == [Outcome.CREATED] * 3
    assert len(messages) == 2
    assert await server.lookup("web01.lab.example", "A") == [WEB]
    assert await server.lookup("web01.lab.example", "AAAA") == [WEB6]
    assert await server.lookup("50.2.0.192.in-addr.arpa", "PTR") == [BACK]


async def test_a_repeat_changes_nothing(site: Site) -> None:
    server = site.client()
    await server.add([WEB, BACK])
    assert await outcomes(server.add([WEB, BACK, WEB])) == [Outcome.ALREADY] * 3
    assert await server.lookup("web01.lab.example", "A") == [WEB]


async def test_somebody_elses_record_is_named_and_left_while_the_others_are_added(
    site: Site,
) -> None:
    await site.plant("lab.example", "host3.lab.example.", 60, "A", "198.51.100.9")
    results = await site.client().add(fleet(5))
    conflict = results[3].outcome
    assert isinstance(conflict, Conflict)
    assert conflict.owner == "host3.lab.example A 198.51.100.9"
    others = [result.outcome for result in results if result.outcome is not conflict]
    assert others == [Outcome.CREATED] * 4
    left = await site.client().lookup("host3.lab.example", "A")
    assert [record.value for record in left] == ["198.51.100.9"]


async def test_an_address_is_never_put_beside_an_alias(site: Site) -> None:
    await site.plant("lab.example", "web01.lab.example.", 60, "CNAME", "Other.lab.example.")
    error = await the_error(site.client().add([WEB]), Conflict)
    assert isinstance(error, Conflict)
    assert error.owner == "web01.lab.example CNAME other.lab.example"


async def test_of_many_who_want_one_name_one_gets_it(site: Site) -> None:
    rivals = [
        DnsRecord(name="web01.lab.example", type="A", value=f"192.0.2.{i}") for i in range(10)
    ]
    results = await asyncio.gather(*(site.client().add([rival]) for rival in rivals))
    got = [result.outcome for (result,) in results]
    assert got.count(Outcome.CREATED) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in got) == 9
    assert len(await site.client().lookup("web01.lab.example", "A")) == 1


async def test_names_and_addresses_are_the_same_in_every_spelling(site: Site) -> None:
    await site.plant("lab.example", "Web01.LAB.example.", 60, "AAAA", "2001:0DB8:0::0050")
    await site.plant("2.0.192.in-addr.arpa", BACK.name + ".", 60, "PTR", "WEB01.lab.Example.")
    server = site.client()
    assert await outcomes(server.add([WEB6, BACK])) == [Outcome.ALREADY] * 2
    assert await server.lookup("WEB01.lab.example.", "AAAA") == [WEB6]
    assert await server.lookup(BACK.name, "PTR") == [BACK]


async def test_removing_takes_ours_and_a_repeat_finds_it_absent(
    site: Site, messages: list[dns.update.UpdateMessage]
) -> None:
    server = site.client()
    await server.add([WEB, WEB6, BACK])
    messages.clear()
    assert await outcomes(server.remove([WEB, BACK])) == [Outcome.REMOVED] * 2
    assert len(messages) == 2
    assert await outcomes(server.remove([WEB, BACK])) == [Outcome.ABSENT] * 2
    assert await server.lookup("web01.lab.example", "AAAA") == [WEB6]


async def test_removing_leaves_others_data_of_the_same_name(site: Site) -> None:
    server = site.client()
    await server.add([WEB])
    await site.plant("lab.example", "web01.lab.example.", 60, "A", "198.51.100.9")
    assert await outcomes(server.remove([WEB])) == [Outcome.REMOVED]
    error = await the_error(server.remove([WEB]), Conflict)
    assert isinstance(error, Conflict)
    assert error.owner == "web01.lab.example A 198.51.100.9"
    assert len(await server.lookup("web01.lab.example", "A")) == 1


async def test_a_hundred_records_take_two_messages(
    site: Site, messages: list[dns.update.UpdateMessage]
) -> None:
    server, records = site.client(), fleet(100)
    assert await outcomes(server.add(records)) == [Outcome.CREATED] * 100
    assert len(messages) == 2
    assert await outcomes(server.add(records)) == [Outcome.ALREADY] * 100
    assert await outcomes(server.remove(records)) == [Outcome.REMOVED] * 100


async def test_a_zone_is_listed_whole(site: Site) -> None:
    server, records = site.client(), fleet(150)
    await server.add([*records, WEB6])
    listed = await server.zone_records("lab.example")
    assert {*records, WEB6} <= set(listed)


async def test_the_zone_of_a_name_is_the_longest_that_fits(site: Site) -> None:
    inner = DnsRecord(name="web01.sub.lab.example", type="A", value="192.0.2.51")
    server = site.client()
    assert await outcomes(server.add([inner, WEB])) == [Outcome.CREATED] * 2
    assert inner in await server.zone_records("sub.lab.example")
    assert WEB in await server.zone_records("lab.example")


async def test_one_forbidden_name_does_not_hold_up_the_others(site: Site) -> None:
    forbidden = DnsRecord(name=DENIED, type="A", value="192.0.2.60")
    results = await outcomes(site.client().add([WEB, forbidden]))
    assert results[0] == Outcome.CREATED
    assert isinstance(results[1], Refused)
    assert "REFUSED" in results[1].said


@pytest.mark.parametrize(
    "key", [TsigKey(OWNER.name, GUEST.secret), TsigKey("stranger", OWNER.secret), GUEST]
)
async def test_a_wrong_key_is_refused(site: Site, key: TsigKey) -> None:
    for change in (site.client(key).add, site.client(key).remove):
        error = await the_error(change([WEB]), Refused)
        assert f"127.0.0.1:{site.port}" in str(error)
    with pytest.raises(Refused):
        await site.client(key).zone_records("lab.example")


async def test_a_zone_that_the_server_does_not_serve_is_refused(site: Site) -> None:
    server = site.client(zones=("foreign.example",))
    record = DnsRecord(name="web01.foreign.example", type="A", value="192.0.2.50")
    assert "not authoritative" in (await the_error(server.add([record]), Refused)).said
    with pytest.raises(Refused):
        await server.lookup("web01.foreign.example", "A")
    with pytest.raises(Refused):
        await server.zone_records("foreign.example")


async def test_a_name_in_no_zone_is_refused_without_asking(
    site: Site, messages: list[dns.update.UpdateMessage]
) -> None:
    record = DnsRecord(name="web01.foreign.example", type="A", value="192.0.2.50")
    error = await the_error(site.client().add([record]), Refused)
    assert "none of its zones" in error.said
    assert messages == []


async def test_a_name_that_dns_cannot_hold_is_refused(site: Site) -> None:
    record = DnsRecord(name="a" * 64 + ".lab.example", type="A", value="192.0.2.50")
    assert "not a DNS record" in (await the_error(site.client().add([record]), Refused)).said


async def test_a_server_that_is_down_is_unavailable(site: Site) -> None:
    stopped = site.stop()
    assert isawaitable(stopped)
    await stopped
    await the_error(site.client().add([WEB]), Unavailable)
    with pytest.raises(Unavailable):
        await site.client().lookup(WEB.name, "A")
    with pytest.raises(Unavailable):
        await site.client().zone_records("lab.example")
    with pytest.raises(Unavailable):
        await authoritative_lookup([site.server], WEB.name, "A", 0.3)


async def test_all_authoritative_servers_must_agree(site: Site) -> None:
    await site.client().add([WEB])
    assert await authoritative_lookup([site.server] * 2, WEB.name, "A", 2) == [WEB]
    assert await authoritative_lookup([site.server], "nobody.lab.example", "A", 2) == []
    async with DnsDouble(ZONES) as late:
        other = Site(late.port, lambda: None)
        with pytest.raises(Unverified, match=r"says nothing"):
            await authoritative_lookup([site.server, other.server], WEB.name, "A", 2)
    with pytest.raises(Refused):
        await authoritative_lookup([site.server], "web01.foreign.example", "A", 2)
    with pytest.raises(ValueError, match="no name server"):
        await authoritative_lookup([], WEB.name, "A", 2)


async def test_an_answer_too_long_for_a_datagram_is_read_whole(site: Site) -> None:
    many = [
        DnsRecord(name="web01.lab.example", type="AAAA", value=f"2001:db8::{i:x}")
        for i in range(1, 51)
    ]
    assert await outcomes(site.client().add(many)) == [Outcome.CREATED] * 50
    answer = await authoritative_lookup([site.server], "web01.lab.example", "AAAA", 2)
    assert set(answer) == set(many)


async def test_every_situation_of_the_table_has_its_code(site: Site) -> None:
    await site.plant("lab.example", "web01.lab.example.", 60, "A", "192.0.2.50")

    def update(zone: str = "lab.example") -> dns.update.UpdateMessage:
        return dns.update.UpdateMessage(zone)

    taken = update()
    taken.absent("web01.lab.example.")
    assert await site.update(taken) == Rcode.YXDOMAIN
    taken = update()
    taken.absent("web01.lab.example.", "A")
    assert await site.update(taken) == Rcode.YXRRSET
    other = update()
    other.present("web01.lab.example.", "A", "192.0.2.99")
    assert await site.update(other) == Rcode.NXRRSET
    missing = update()
    missing.present("nobody.lab.example.")
    assert await site.update(missing) == Rcode.NXDOMAIN
    foreign = update("foreign.example")
    foreign.add("web01.foreign.example.", 60, "A", "192.0.2.50")
    assert await site.update(foreign) == Rcode.NOTAUTH
    outside = update()
    outside.add("web01.elsewhere.example.", 60, "A", "192.0.2.50")
    assert await site.update(outside) == Rcode.NOTZONE
    unsigned = update()
    unsigned.add("new.lab.example.", 60, "A", "192.0.2.50")
    assert await site.update(unsigned, key=None) == Rcode.REFUSED
    with pytest.raises(dns.tsig.PeerBadSignature):
        await site.update(update(), TsigKey(OWNER.name, GUEST.secret))
    with pytest.raises(dns.tsig.PeerBadKey):
        await site.update(update(), TsigKey("stranger", OWNER.secret))


async def test_an_alias_and_an_address_never_share_a_name(site: Site) -> None:
    await site.plant("lab.example", "web01.lab.example.", 60, "CNAME", "other.lab.example.")
    await site.plant("lab.example", "web01.lab.example.", 60, "A", "192.0.2.50")
    assert await site.client().lookup("web01.lab.example", "A") == []
