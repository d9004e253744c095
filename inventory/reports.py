"""What an installed system says of itself; the gateway keeps it, a flow judges it."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from inventory.storable import storable_text

__all__ = ["FirstReport", "Repository", "Text"]

_ZONE = re.compile(r"[A-Za-z0-9_.:@-]{1,32}")

Text = Annotated[str, AfterValidator(storable_text)]
"""Fit to be stored."""


def _with_a_plain_zone(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    # Python takes anything behind the percent sign; interfaces have names of these.
    zone = getattr(address, "scope_id", None)
    if zone is not None and not _ZONE.fullmatch(zone):
        raise ValueError("the zone of an address is the name of an interface")
    return address


Address = Annotated[IPv4Address | IPv6Address, AfterValidator(_with_a_plain_zone)]


class Repository(BaseModel):
    """A package repository that an installed system uses."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Text = Field(min_length=1, max_length=200)
    """Its name on that system."""
    url: Text = Field(max_length=2000)


class FirstReport(BaseModel):
    """What the installed system says of itself when it first runs from its own disk."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    hostname: Text = Field(min_length=1, max_length=253)
    addresses: tuple[Address, ...] = ()
    """Those it speaks from."""
    os: Text = Field(default="", max_length=200)
    kernel: Text = Field(default="", max_length=200)
    boot_id: Text = Field(default="", max_length=64)
    root_device: Text = Field(default="", max_length=200)
    uptime_seconds: float = Field(default=0, ge=0, allow_inf_nan=False)
    repositories: tuple[Repository, ...] = Field(default=(), max_length=200)
    """Those that its package manager has enabled."""
