"""How effects name the place where a record is, and who wrote it there."""

from __future__ import annotations

from inventory.models import Proxy

__all__ = ["proxy_named_in", "proxy_place"]

_PREFIX = "proxy "
_COMMA = ", "


def proxy_place(proxy: Proxy, where: str = "") -> str:
    """The place of records that a proxy writes: with subnet or zone, where there are several."""
    return f"{_PREFIX}{proxy.name}{_COMMA if where else ''}{where}"


def proxy_named_in(place: str) -> tuple[str, str]:
    """Name of the proxy that a place names, and what it names there; the way back."""
    name, comma, where = place.removeprefix(_PREFIX).rpartition(_COMMA)
    return (name, where) if comma else (where, "")
