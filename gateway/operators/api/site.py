"""What the site file says, as the API tells it: programs need the names to ask for anything."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from sqlmodel import col, select

from gateway.operators.context import Operators
from gateway.operators.sessions import Asking
from inventory.models import Domain, HostGroup, InstallTree, OperatingSystem, Site, Subnet

__all__ = ["site_routes"]


@dataclass(frozen=True)
class GroupRow:
    """A host group."""

    name: str
    operating_system: str
    install_tree: str
    subnet: str
    domain: str


@dataclass(frozen=True)
class SubnetRow:
    """A subnet."""

    name: str
    site: str
    network: str
    boot_server: str


def site_routes(gateway: Operators) -> APIRouter:
    """``/host-groups``, ``/subnets`` and ``/sites``."""
    router = APIRouter(tags=["site"])

    @router.get("/host-groups")
    async def list_host_groups(actor: Asking) -> list[GroupRow]:
        """The host groups that hosts may be provisioned for."""
        async with gateway.transaction() as session:
            found = await session.exec(
                select(  # type: ignore[call-overload]
                    HostGroup.name, OperatingSystem.name, InstallTree.name, Subnet.name, Domain.name
                )
                .join(OperatingSystem, col(OperatingSystem.id) == HostGroup.operating_system_id)
                .join(InstallTree, col(InstallTree.id) == HostGroup.install_tree_id)
                .join(Subnet, col(Subnet.id) == HostGroup.subnet_id)
                .join(Domain, col(Domain.id) == HostGroup.domain_id)
                .order_by(HostGroup.name)
            )
            listed = [GroupRow(*row) for row in found]
        limited = actor.scope.host_groups
        return [one for one in listed if not limited or one.name in limited]

    @router.get("/subnets")
    async def list_subnets(actor: Asking) -> list[SubnetRow]:
        """The subnets that hosts boot from."""
        async with gateway.transaction() as session:
            found = await session.exec(
                select(Subnet.name, Site.name, Subnet.network, Subnet.boot_server)
                .join(Site, col(Site.id) == Subnet.site_id)
                .order_by(Subnet.name)
            )
            listed = [SubnetRow(name, site, str(net), str(boot)) for name, site, net, boot in found]
        limited = actor.scope.sites
        return [one for one in listed if not limited or one.site in limited]

    @router.get("/sites")
    async def list_sites(actor: Asking) -> list[str]:
        """The sites by name."""
        async with gateway.transaction() as session:
            found = list(await session.exec(select(Site.name).order_by(Site.name)))
        return [one for one in found if not actor.scope.sites or one in actor.scope.sites]

    return router
