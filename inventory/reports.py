"""What an installed system says of itself; the gateway keeps it, a flow judges it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from inventory.storable import storable_text

__all__ = ["FirstReport", "Repository", "Text"]

Text = Annotated[str, AfterValidator(storable_text)]
"""Fit to be stored."""


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
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    """Those it speaks from."""
    os: Text = Field(default="", max_length=200)
    kernel: Text = Field(default="", max_length=200)
    boot_id: Text = Field(default="", max_length=64)
    root_device: Text = Field(default="", max_length=200)
    uptime_seconds: float = Field(default=0, ge=0, allow_inf_nan=False)
    repositories: tuple[Repository, ...] = Field(default=(), max_length=200)
    """Those that its package manager has enabled."""
