"""What a machine is made of, by the newest facts that say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import col, select

from inventory.database import AsyncSession
from inventory.models import Facts

__all__ = ["HardwareRow", "hardware_of"]

_PLACES = (
    ("maker", (("dmi", "manufacturer"), ("manufacturer",))),
    ("model", (("dmi", "product", "name"), ("productname",))),
    ("serial", (("dmi", "product", "serial_number"), ("serialnumber",))),
    ("firmware", (("dmi", "bios", "version"), ("bios_version",))),
    ("processors", (("processors", "count"), ("processorcount",), ("physicalprocessorcount",))),
    ("memory", (("memory", "system", "total"), ("memorysize",), ("memorysize_mb",))),
    ("kernel", (("kernelrelease",),)),
)
"""Where Facter has each property, structured and flat."""
_IN_MB = "memorysize_mb"


@dataclass(frozen=True)
class HardwareRow:
    """One property of a machine."""

    what: str
    value: str
    source: str
    """Whose facts say so: ``puppet`` of the installed system, ``discovery`` of the image."""
    at: datetime


async def hardware_of(session: AsyncSession, host_id: int) -> list[HardwareRow]:
    """What a host's facts say of its hardware; of two sources the newer one is believed."""
    found = await session.exec(
        select(Facts).where(col(Facts.host_id) == host_id).order_by(col(Facts.received_at).desc())
    )
    sources = list(found)
    rows = []
    for what, places in _PLACES:
        for facts in sources:
            value = next((one for place in places if (one := _at(facts.values, place))), "")
            if value:
                rows.append(HardwareRow(what, value, facts.source, facts.received_at))
                break
    return rows


def _at(values: Mapping[str, Any], place: tuple[str, ...]) -> str:
    value: object = values
    for name in place:
        value = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return ""
    return f"{value} MB" if place == (_IN_MB,) else str(value)
