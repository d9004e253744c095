"""Plans: what would be created, changed and left, what is in the way, and nothing is touched."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa
from sqlmodel import SQLModel, select

from flows.inception import inception
from integrations.candlepin import Candlepin
from inventory import hosts, kickstarts, orders
from inventory.builds import certificate_token, registration_token
from inventory.errors import NotReady, UnknownGroup
from inventory.life import HostState
from inventory.models import HostGroup, now
from lab.doubles.candlepin import CandlepinDouble
from lab.doubles.dhcp import Fault
from tasks.means import use
from tasks.plan import Change, Plan, plan_hosts
from tests.flows.bench import Bench
from tests.flows.test_candlepin import Only
from tests.flows.test_undo import in_operation, outside
from tests.integrations.candlepin.sites import transport_of
from tests.integrations.candlepin.strict import Judge
from tests.inventory.world import make_candlepin

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("bare")]

HASH = "$6$salt$" + "x" * 60


async def planned(bench: Bench, host: str, *, group: str = "", name: str = "") -> Plan:
    """The plan of a host, which must touch nothing."""
    before = outside(bench), await inventory(bench), bench.dhcp.commands["config-set"]
    (one,) = await plan_hosts.fn([host], group, name)
    assert (outside(bench), await inventory(bench), bench.dhcp.commands["config-set"]) == before
    assert not bench.images.reboots
    return one


async def inventory(bench: Bench) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables."""
    held = {}
    async with bench.database.sessions() as session:
        for table in SQLModel.metadata.sorted_tables:
            rows = await session.exec(sa.select(table))  # type: ignore[call-overload]
            held[table.name] = sorted((tuple(one) for one in rows), key=str)
    return held


def lines(one: Plan) -> list[tuple[Change, str]]:
    return [(line.change, line.system) for line in one.lines]


async def test_a_discovered_host_is_planned_before_anybody_has_chosen_it(bench: Bench) -> None:
    found = await bench.discovered(1)
    one = await planned(bench, found, group="plain", name="web01")
    assert one.host == "web01.lab.example"
    assert one.can_be_done
    assert lines(one) == [
        (Change.CREATE, "TFTP"),
        (Change.CREATE, "DHCP"),
        (Change.LEAVE, "name"),
        (Change.LEAVE, "tree"),
    ]
    assert "a free address from 192.0.2.20 to 192.0.2.29" in str(one)
    # Without a build before, the whole.
    assert "rootpw" in one.kickstart


async def test_a_host_in_operation_says_what_a_rebuild_would_change(bench: Bench) -> None:
    name = await bench.selected(1)
    await in_operation(bench, name)
    bench.images.reboots.clear()
    one = await planned(bench, name)
    assert lines(one) == [
        (Change.CHANGE, "TFTP"),
        (Change.LEAVE, "name"),
        (Change.LEAVE, "tree"),
        (Change.LEAVE, "DHCP"),
        (Change.LEAVE, "DNS"),
        (Change.LEAVE, "DNS"),
    ]


async def test_what_is_in_the_way_is_named_with_its_owner(bench: Bench) -> None:
    found = await bench.discovered(1)
    bench.dhcp.reservations.append(
        {"hw-address": "52:54:00:aa:bb:01", "ip-address": "192.0.2.77", "hostname": "theirs.lab"}
    )
    one = await planned(bench, found, group="plain", name="web01")
    assert not one.can_be_done
    assert one.lines[0].change is Change.IN_THE_WAY
    assert "theirs.lab" in one.lines[0].words
    taken = await bench.selected(2)
    one = await planned(bench, found, group="plain", name=taken)
    assert (Change.IN_THE_WAY, "name") in lines(one)


async def test_what_cannot_be_read_is_said_beside_all_else(bench: Bench) -> None:
    found = await bench.discovered(1)
    bench.dhcp.fault = Fault.OFFLINE
    one = await planned(bench, found, group="plain", name="web01")
    assert not one.can_be_done
    assert (one.lines[0].change, one.lines[0].system) == (Change.UNKNOWN, "DHCP")
    assert (Change.CREATE, "TFTP") in lines(one)


async def test_a_plan_comes_true(bench: Bench) -> None:
    found = await bench.discovered(1)
    one = await planned(bench, found, group="plain", name="web01")
    async with bench.database.sessions.begin() as session:
        host = await hosts.named(session, found)
        group = await orders.group_named(session, "plain")
        await orders.provision(session, host, group, name="web01", asked_by="the test", at=now())
    await inception.fn(hosts=[one.host])
    created = {line.system for line in one.lines if line.change is Change.CREATE}
    made = {effect.system for effect in await bench.effects(one.host)}
    assert made - created == {"boot file", "DNS", "power"}
    assert (await bench.host(one.host)).state is HostState.REBOOTING


async def test_the_kickstart_is_shown_as_the_difference_to_the_last_builds(bench: Bench) -> None:
    await bench.change(HostGroup, root_password_hash=HASH)
    name = await bench.selected(1)
    await in_operation(bench, name)
    bench.images.reboots.clear()
    first = await planned(bench, name)
    assert HASH not in str(first)
    assert "[root password]" in first.kickstart
    async with bench.database.sessions.begin() as session:
        build = await bench.build(name)
        await kickstarts.keep(session, build.id, first.kickstart, now())
    assert (await planned(bench, name)).kickstart == "the kickstart is that of the last build"
    await bench.change(HostGroup, packages=["labos-base", "nginx"])
    assert "\n+nginx" in (await planned(bench, name)).kickstart


async def test_all_hosts_of_a_group_are_planned_together(bench: Bench) -> None:
    await in_operation(bench, await bench.selected(1))
    other = await bench.selected(2)
    found = await plan_hosts.fn([], "plain", "")
    assert [one.host for one in found] == ["web01.lab.example", other]
    assert "on its way already" in str(found[1])


async def test_what_cannot_be_planned_says_why(bench: Bench) -> None:
    found = await bench.discovered(1)
    with pytest.raises(NotReady, match="name a host group"):
        await plan_hosts.fn([found], "", "")
    with pytest.raises(UnknownGroup):
        await plan_hosts.fn([found], "nothing", "")


async def test_what_candlepin_lacks_or_has_too_much_of_is_planned(bench: Bench) -> None:
    found = await bench.discovered(1)
    double, judge = CandlepinDouble(), Judge()
    async with bench.database.sessions.begin() as session:
        row = await make_candlepin(session, double.url)
        for group in await session.exec(select(HostGroup)):
            group.candlepin_id, group.owner, group.activation_key = row.id, "ACME", "web"
    async with Candlepin(double.settings(), transport=transport_of(double, judge)) as client:
        use(replace(bench.means, candlepins=Only(client)))
        one = await planned(bench, found, group="plain", name="web01")
        assert lines(one).count((Change.CREATE, "Candlepin")) == 2
        assert double.writes() == []
        await client.create_owner("ACME")
        one = await planned(bench, found, group="plain", name="web01")
        assert lines(one).count((Change.LEAVE, "Candlepin")) == 1


def test_a_given_kickstart_is_kept_without_its_secrets() -> None:
    token = "f" * 40
    text = f"""rootpw --iscrypted {HASH}
autopart --encrypted --passphrase="open sesame" --nohome
bootloader --password=grub.pbkdf2 --append="console=ttyS0 luks.PASSWORD=x"
register --activationkey 'web,{registration_token(token)}'
%post
curl '?token={token}&again={certificate_token(token)}'
%end
"""
    kept = kickstarts.without_secrets(text, token, HASH, "web")
    assert (
        kept
        == """rootpw --iscrypted [root password]
autopart --encrypted --passphrase=[secret] --nohome
bootloader --password=[secret] --append="console=ttyS0 luks.PASSWORD=[secret]"
register --activationkey '[activation key],[registration token]'
%post
curl '?token=[token]&again=[certificate token]'
%end
"""
    )
