"""Reach machines that run the discovery image through their subnet's proxy."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address

from pydantic import BaseModel, JsonValue, TypeAdapter

from integrations.smart_proxy.wire import Wire

__all__ = ["DiscoveryCalls"]


class _Result(BaseModel):
    result: bool


_RESULT = TypeAdapter(_Result)
_FACTS = TypeAdapter(dict[str, JsonValue])


class DiscoveryCalls:
    """The outbound half of the ``/discovery`` mount."""

    _wire: Wire

    async def discovery_reboot(self, ip: IPv4Address) -> None:
        """Tell a discovered machine to restart; it does so two seconds after its answer."""
        operation = f"reboot the discovered machine at {ip}"
        answer = await self._wire.ask(
            "PUT", f"/discovery/{ip}/power/reboot", operation=operation, form={}
        )
        if not answer.parsed(_RESULT).result:
            raise self._wire.unverified(operation, "the machine answered false")

    async def discovery_facts(self, ip: IPv4Address) -> Mapping[str, JsonValue]:
        """Facts of a discovered machine as facter names them, freshly gathered."""
        answer = await self._wire.ask(
            "GET",
            f"/discovery/{ip}/inventory/facter",
            operation=f"read the facts of the discovered machine at {ip}",
        )
        return answer.parsed(_FACTS)
