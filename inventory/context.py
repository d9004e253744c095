"""Everything that a phase needs to know of its hosts, read at once for a whole company."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import SQLModel, col, select

from inventory.database import AsyncSession
from inventory.errors import NotReady, UnknownGroup
from inventory.models import (
    Build,
    Candlepin,
    Domain,
    Host,
    HostGroup,
    InstallTree,
    Interface,
    OperatingSystem,
    Proxy,
    Pulp,
    Puppet,
    Site,
    Subnet,
)

__all__ = ["Arrival", "BuildContext", "arrivals", "contexts", "prospect"]


@dataclass(frozen=True)
class BuildContext:
    """A build whose host group is known, with all that the group refers to."""

    host: Host
    interface: Interface
    """The one that boots the network."""
    build: Build
    group: HostGroup
    operating_system: OperatingSystem
    tree: InstallTree
    pulp: Pulp | None
    """Serves the tree; None: it is a plain one."""
    puppet: Puppet | None
    """Configures the host; None: nobody does."""
    candlepin: Candlepin | None
    """Where the host is registered; None: nowhere."""
    subnet: Subnet
    """The host group's."""
    domain: Domain
    """The host group's."""
    site: Site
    dhcp_proxy: Proxy
    tftp_proxy: Proxy
    dns_proxy: Proxy

    @property
    def tree_url(self) -> str:
        """Base of the tree that this build installs from; empty before it was chosen."""
        return self.build.tree_url or ""


async def contexts(session: AsyncSession, build_ids: Iterable[UUID]) -> dict[UUID, BuildContext]:
    """The context of each build; builds without a host group are absent."""
    statement = (
        _group_and_all(Host, Interface, Build, Site)
        .join(Build, col(HostGroup.id) == col(Build.host_group_id))
        .join(Host, col(Host.id) == col(Build.host_id))
        .join(
            Interface,
            sa.and_(col(Interface.host_id) == col(Host.id), col(Interface.provisioning)),
        )
        .join(Site, col(Site.id) == col(Host.site_id))
        .where(col(Build.id).in_(list(build_ids)))
    )
    found = await session.exec(statement.execution_options(populate_existing=True))
    rows = [_context(*row) for row in found]
    return {one.build.id: one for one in rows}


async def prospect(
    session: AsyncSession, host: Host, group: str | None, name: str | None
) -> BuildContext:
    """What the context of a host's next build would be; nothing is written.

    Args:
        session: only read.
        host: whose.
        group: host group that it would become; None: the one that it has.
        name: that it would get, full or short; None: what it has.

    Raises:
        UnknownGroup: there is no such group.
        NotReady: the host has no group, or no interface that boots the network.
    """
    wanted = col(HostGroup.name) == group if group else col(HostGroup.id) == host.host_group_id
    row = (await session.exec(_group_and_all().where(wanted))).one_or_none()
    if row is None and group:
        raise UnknownGroup(group, list(await session.exec(select(HostGroup.name))))
    if row is None:
        raise NotReady(host.name, host.state, "nobody has said what it is to be: name a host group")
    boots = col(Interface.host_id) == host.id, col(Interface.provisioning)
    interface = (await session.exec(select(Interface).where(*boots))).one_or_none()
    if interface is None:
        raise NotReady(host.name, host.state, "none of its interfaces has booted the network")
    site = await session.get_one(Site, host.site_id)
    domain = next(one for one in row if isinstance(one, Domain))
    full = (name or host.name).lower()
    named = Host.model_validate(
        host.model_dump() | {"name": full if "." in full else f"{full}.{domain.name}"}
    )
    return _context(named, interface, Build(host_id=host.id), site, *row)


def _group_and_all(*before: type[SQLModel]) -> Any:
    """Selects host groups with all that they refer to, after some tables that the caller joins."""
    dhcp, tftp, dns = aliased(Proxy), aliased(Proxy), aliased(Proxy)
    related = (HostGroup, OperatingSystem, InstallTree, Pulp, Puppet, Candlepin, Subnet, Domain)
    return (
        sa.select(*before, *related, dhcp, tftp, dns)
        .select_from(HostGroup)
        .join(OperatingSystem, col(OperatingSystem.id) == col(HostGroup.operating_system_id))
        .join(InstallTree, col(InstallTree.id) == col(HostGroup.install_tree_id))
        .outerjoin(Pulp, col(Pulp.id) == col(InstallTree.pulp_id))
        .outerjoin(Puppet, col(Puppet.id) == col(HostGroup.puppet_id))
        .outerjoin(Candlepin, col(Candlepin.id) == col(HostGroup.candlepin_id))
        .join(Subnet, col(Subnet.id) == col(HostGroup.subnet_id))
        .join(Domain, col(Domain.id) == col(HostGroup.domain_id))
        .join(dhcp, col(dhcp.id) == col(Subnet.dhcp_proxy_id))
        .join(tftp, col(tftp.id) == col(Subnet.tftp_proxy_id))
        .join(dns, col(dns.id) == col(Domain.proxy_id))
    )


def _context(
    host: Host, interface: Interface, build: Build, site: Site, *related: Any
) -> BuildContext:
    group, system, tree, pulp, puppet, candlepin, subnet, domain, dhcp, tftp, dns = related
    return BuildContext(
        host=host,
        interface=interface,
        build=build,
        group=group,
        operating_system=system,
        tree=tree,
        pulp=pulp,
        puppet=puppet,
        candlepin=candlepin,
        subnet=subnet,
        domain=domain,
        site=site,
        dhcp_proxy=dhcp,
        tftp_proxy=tftp,
        dns_proxy=dns,
    )


@dataclass(frozen=True)
class Arrival:
    """A build before anybody has said what its host is to become."""

    host: Host
    interface: Interface
    """The one that boots the network."""
    build: Build
    site: Site
    subnet: Subnet | None
    """Where its temporary address lies, if that is a subnet that we know."""
    dhcp_proxy: Proxy | None


async def arrivals(session: AsyncSession, build_ids: Iterable[UUID]) -> dict[UUID, Arrival]:
    """What is known of hosts in discovery, with or without a host group."""
    found = await session.exec(  # type: ignore[call-overload]  # sqlmodel types four entities
        sa.select(Host, Interface, Build, Site, Subnet, Proxy)
        .select_from(Build)
        .join(Host, col(Host.id) == col(Build.host_id))
        .join(
            Interface,
            sa.and_(col(Interface.host_id) == col(Host.id), col(Interface.provisioning)),
        )
        .join(Site, col(Site.id) == col(Host.site_id))
        .outerjoin(Subnet, col(Subnet.id) == col(Interface.subnet_id))
        .outerjoin(Proxy, col(Proxy.id) == col(Subnet.dhcp_proxy_id))
        .where(col(Build.id).in_(list(build_ids)))
        .execution_options(populate_existing=True)
    )
    rows = (Arrival(*row) for row in found)
    return {one.build.id: one for one in rows}
