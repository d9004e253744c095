"""Ask a Smart Proxy what it can do, and what it complained about."""

from __future__ import annotations

from pydantic import TypeAdapter

from integrations.smart_proxy.answers import Feature, ProxyLogs, ProxyVersion
from integrations.smart_proxy.classify import NOT_SERVED
from integrations.smart_proxy.wire import Wire

__all__ = ["FeatureCalls"]

_NAMES = TypeAdapter(list[str])
_MODULES = TypeAdapter(dict[str, Feature])
_VERSION = TypeAdapter(ProxyVersion)
_LOGS = TypeAdapter(ProxyLogs)


class FeatureCalls:
    """``/v2/features``, ``/features``, ``/version``, ``/logs``."""

    _wire: Wire

    async def features(self) -> list[Feature]:
        """All features with their state; a proxy without version 2 names the running ones only."""
        operation = "list its features"
        answer = await self._wire.find("/v2/features", operation=operation, missing=NOT_SERVED)
        if answer is None:
            listed = await self._wire.ask("GET", "/features", operation=operation)
            return [Feature(name=name) for name in listed.parsed(_NAMES)]
        modules = answer.parsed(_MODULES)
        return [about.model_copy(update={"name": name}) for name, about in modules.items()]

    async def version(self) -> ProxyVersion:
        """Versions of the proxy and of its modules."""
        answer = await self._wire.ask("GET", "/version", operation="tell its version")
        return answer.parsed(_VERSION)

    async def logs(self) -> ProxyLogs:
        """The end of its log: evidence for the complaints that its answers leave out."""
        answer = await self._wire.ask("GET", "/logs", operation="show its log")
        return answer.parsed(_LOGS)
