"""A small site, as rows, for the tests of the inventory and of the rooms above it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from inventory.database import AsyncSession, Sessions
from inventory.hosts import Discovered, SeenInterface, discover
from inventory.life import Event, HostState
from inventory.models import (
    Build,
    Candlepin,
    DiscoveryRule,
    Domain,
    Host,
    HostGroup,
    InstallTree,
    OperatingSystem,
    Proxy,
    Puppet,
    Site,
    Subnet,
)

WAY = (
    (Event.SELECT, HostState.SELECTED),
    (Event.PREPARE, HostState.PREPARING),
    (Event.REBOOT, HostState.REBOOTING),
    (Event.KICKSTART, HostState.INSTALLING),
    (Event.BUILT, HostState.INSTALLED),
    (Event.NETBOOT_ENDED, HostState.FIRST_BOOT),
    (Event.REPORT, HostState.IN_OPERATION),
)
"""What moves a host from discovered to in operation, and where it then is."""
T0 = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def later(seconds: float) -> datetime:
    """A moment after ``T0``: the tests' clock."""
    return T0 + timedelta(seconds=seconds)


def mac(number: int) -> str:
    """The MAC address of the test's machine with a number."""
    return f"52:54:00:00:{number // 256:02x}:{number % 256:02x}"


def seen(number: int, **values: Any) -> Discovered:
    """What the machine with a number reports."""
    interface = SeenInterface("eth0", mac(number), f"192.0.2.{number % 50 + 200}")
    return Discovered(mac(number), (interface,), values)


async def make_group(session: AsyncSession, **more: Any) -> HostGroup:
    """A host group and all that it needs: site, proxy, domain, subnet, system, tree."""
    site = Site(name="lab", gateway_url="http://192.0.2.1:8000")
    proxy = Proxy(name="proxy", url="local:", host_url="http://192.0.2.1:8001")
    system = OperatingSystem(name="LabOS 1")
    session.add_all([site, proxy, system])
    await session.flush()
    domain = Domain(name="example.org", proxy_id=proxy.id)
    tree = InstallTree(name="tree", operating_system_id=system.id, url="http://192.0.2.1/tree/")
    session.add_all([domain, tree])
    await session.flush()
    subnet = Subnet(
        site_id=site.id,
        name="lan",
        network="192.0.2.0/24",
        range_from="192.0.2.20",
        range_to="192.0.2.199",
        boot_server="192.0.2.1",
        dhcp_proxy_id=proxy.id,
        tftp_proxy_id=proxy.id,
        domain_id=domain.id,
    )
    session.add(subnet)
    await session.flush()
    group = HostGroup(
        name="web",
        operating_system_id=system.id,
        install_tree_id=tree.id,
        subnet_id=subnet.id,
        domain_id=domain.id,
        root_password_hash="!",
        **more,
    )
    session.add(group)
    await session.flush()
    return group


async def make_puppet(session: AsyncSession, name: str = "main") -> Puppet:
    """A Puppet server whose certname is NAME.puppet.example.org."""
    certname = f"{name}.puppet.example.org"
    puppet = Puppet(
        name=name, url=f"https://{certname}:8140", certname=certname, credentials="puppet"
    )
    session.add(puppet)
    await session.flush()
    return puppet


async def make_candlepin(session: AsyncSession, url: str, name: str = "main") -> Candlepin:
    """A Candlepin, and the front before it."""
    candlepin = Candlepin(
        name=name,
        url=url,
        credentials="candlepin",
        front="https://rackrise.example.org:8444/rhsm",
    )
    session.add(candlepin)
    await session.flush()
    return candlepin


async def make_rule(session: AsyncSession, group: HostGroup, **more: Any) -> DiscoveryRule:
    """A rule that takes every host."""
    settings = {"name": "all", "condition": "true", "host_name": "web{{ number }}", **more}
    rule = DiscoveryRule(host_group_id=group.id, **settings)
    session.add(rule)
    await session.flush()
    return rule


async def discovered(sessions: Sessions, number: int = 1) -> tuple[Host, Build]:
    """The machine with a number, discovered."""
    async with sessions.begin() as session:
        host, build, _ = await discover(session, seen(number), site_id=None, at=T0)
        return host, build
