"""Bringing the inventory to what a site file says, and telling what that changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from sqlmodel import SQLModel, col, select

from inventory.database import AsyncSession
from inventory.errors import NameOfOperator
from inventory.models import (
    Bmc,
    Candlepin,
    DiscoveryRule,
    Domain,
    HostGroup,
    HostOverride,
    InstallTree,
    ManagedBy,
    OperatingSystem,
    Proxy,
    Pulp,
    Puppet,
    Site,
    Subnet,
)
from inventory.site_tables import SiteFile

__all__ = ["Change", "ChangeKind", "apply_site"]


class ChangeKind(StrEnum):
    """What applying a site file did to one row."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Change:
    """What became of one element of a site file."""

    kind: ChangeKind
    what: str
    """Its table in the file: ``subnet``, ``host_group``, …"""
    name: str
    detail: str = ""
    """``key: old → new`` for each key that changed."""
    keys: tuple[str, ...] = ()
    """Those that changed, as their columns are called."""

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.what.replace('_', ' ')} {self.name}: {self.kind}{detail}"


_Named = (
    Site
    | Proxy
    | Domain
    | Subnet
    | OperatingSystem
    | Pulp
    | InstallTree
    | Puppet
    | Candlepin
    | HostGroup
    | HostOverride
    | Bmc
    | DiscoveryRule
)
_Row = TypeVar("_Row", bound=_Named)

_TABLES: tuple[tuple[str, type[_Named]], ...] = (
    # An element comes after everything that it may name.
    ("proxy", Proxy),
    ("domain", Domain),
    ("subnet", Subnet),
    ("operating_system", OperatingSystem),
    ("pulp", Pulp),
    ("install_tree", InstallTree),
    ("puppet", Puppet),
    ("candlepin", Candlepin),
    ("host_group", HostGroup),
    ("host", HostOverride),
    ("bmc", Bmc),
    ("discovery_rule", DiscoveryRule),
)
_COLUMNS = {
    "proxy": ("proxy_id", "proxy"),
    "dhcp_proxy": ("dhcp_proxy_id", "proxy"),
    "tftp_proxy": ("tftp_proxy_id", "proxy"),
    "domain": ("domain_id", "domain"),
    "subnet": ("subnet_id", "subnet"),
    "operating_system": ("operating_system_id", "operating_system"),
    "install_tree": ("install_tree_id", "install_tree"),
    "pulp": ("pulp_id", "pulp"),
    "puppet": ("puppet_id", "puppet"),
    "candlepin": ("candlepin_id", "candlepin"),
    "host_group": ("host_group_id", "host_group"),
}
"""For a key that names another element: the column that refers to it, and its table."""
_ONLY_CHECKED = frozenset({"dynamic_from", "dynamic_to"})
_SECRET = frozenset({"root_password_hash"})
_LONG = frozenset({"ca", "front_ca"})


async def apply_site(session: AsyncSession, file: SiteFile) -> list[Change]:
    """Create or change what a site file names; applying it again changes nothing.

    What the inventory has and the file does not name stays: hosts may refer to it. A discovery rule
    is taken out of use by ``enabled = false``.

    Args:
        session: in the caller's transaction; all of the file is applied, or nothing.
        file: from ``read_site_file``, so that every name in it is known.

    Returns:
        One entry for each element, in the order of the tables.

    Raises:
        NameOfOperator: a discovery rule has the name of one that was made by hand.
    """
    site, change = await _put(session, "site", Site, file.site.model_dump(mode="json"))
    changes = [change]
    ids: dict[tuple[str, str], int] = {}
    for what, model in _TABLES:
        for element in getattr(file, what):
            values: dict[str, Any] = {}
            for key, value in element.model_dump(mode="json", exclude=_ONLY_CHECKED).items():
                if key in _COLUMNS:
                    column, target = _COLUMNS[key]
                    values[column] = None if value is None else ids[target, value]
                else:
                    values[key] = value
            if model is Subnet:
                values["site_id"] = site.id
            row, change = await _put(session, what, model, values)
            ids[what, row.name] = row.id
            changes.append(change)
    return changes


async def _put(
    session: AsyncSession, what: str, model: type[_Row], values: dict[str, Any]
) -> tuple[_Row, Change]:
    name = values["name"]
    found = await session.exec(select(model).where(col(model.name) == name).with_for_update())
    row = found.one_or_none()
    if row is None:
        row = model(**values)
        session.add(row)
        await session.flush()
        return row, Change(ChangeKind.CREATED, what, name)
    if isinstance(row, DiscoveryRule) and row.managed_by is ManagedBy.OPERATOR:
        raise NameOfOperator(name)
    changed = {key: value for key, value in values.items() if getattr(row, key) != value}
    detail = ", ".join(_told(row, key, value) for key, value in changed.items())
    for key, value in changed.items():
        setattr(row, key, value)
    await session.flush()
    kind = ChangeKind.CHANGED if changed else ChangeKind.UNCHANGED
    return row, Change(kind, what, name, detail, tuple(changed))


def _told(row: SQLModel, key: str, value: object) -> str:
    # Of certificates nobody reads thirty lines.
    if key in _SECRET or key in _LONG:
        return f"{key} is another one"
    return f"{key}: {getattr(row, key)} → {value}"
