"""Everything that a phase needs to know of its hosts, read at once for a whole company."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import col

from inventory.database import AsyncSession
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

__all__ = ["Arrival", "BuildContext", "arrivals", "contexts"]


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
    dhcp, tftp, dns = aliased(Proxy), aliased(Proxy), aliased(Proxy)
    found = await session.exec(  # type: ignore[call-overload]  # sqlmodel types four entities
        sa.select(
            Host,
            Interface,
            Build,
            HostGroup,
            OperatingSystem,
            InstallTree,
            Pulp,
            Puppet,
            Candlepin,
            Subnet,
            Domain,
            Site,
            dhcp,
            tftp,
            dns,
        )
        .select_from(Build)
        .join(Host, col(Host.id) == col(Build.host_id))
        .join(
            Interface,
            sa.and_(col(Interface.host_id) == col(Host.id), col(Interface.provisioning)),
        )
        .join(HostGroup, col(HostGroup.id) == col(Build.host_group_id))
        .join(OperatingSystem, col(OperatingSystem.id) == col(HostGroup.operating_system_id))
        .join(InstallTree, col(InstallTree.id) == col(HostGroup.install_tree_id))
        .outerjoin(Pulp, col(Pulp.id) == col(InstallTree.pulp_id))
        .outerjoin(Puppet, col(Puppet.id) == col(HostGroup.puppet_id))
        .outerjoin(Candlepin, col(Candlepin.id) == col(HostGroup.candlepin_id))
        .join(Subnet, col(Subnet.id) == col(HostGroup.subnet_id))
        .join(Domain, col(Domain.id) == col(HostGroup.domain_id))
        .join(Site, col(Site.id) == col(Host.site_id))
        .join(dhcp, col(dhcp.id) == col(Subnet.dhcp_proxy_id))
        .join(tftp, col(tftp.id) == col(Subnet.tftp_proxy_id))
        .join(dns, col(dns.id) == col(Domain.proxy_id))
        .where(col(Build.id).in_(list(build_ids)))
        .execution_options(populate_existing=True)
    )
    rows = (BuildContext(*row) for row in found)
    return {one.build.id: one for one in rows}


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
