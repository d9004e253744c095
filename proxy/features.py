"""``/features``, ``/v2/features``, ``/version``: what works here, asked before it is said."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from fastapi import APIRouter, Response
from pydantic import JsonValue

from proxy.answers import as_json
from proxy.logs import Log
from proxy.settings import Enabled

__all__ = ["API_VERSION", "Module", "Modules", "open_routes", "trusted_routes"]

API_VERSION = "3.11.0"
"""The upstream release whose API this is."""

_NOT_HERE = ("facts", "puppet", "puppetca", "realm", "registration")
_PROBE_SECONDS = 5.0
_BELIEVED_SECONDS = 10.0


@dataclass(frozen=True)
class Module:
    """One feature of this proxy.

    Args:
        enabled: where it is served.
        probe: raises when what is behind it does not work; None: nothing is behind it.
        settings: as in the API.
        capabilities: as in the API.
    """

    enabled: Enabled
    probe: Callable[[], Awaitable[object]] | None = None
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()


class Modules:
    """The features of this proxy and whether they work now.

    Args:
        modules: by name.
        log: takes the reasons.
        clock: seconds, growing; an answer is believed for ten, so that asking costs nobody.
    """

    def __init__(self, modules: Mapping[str, Module], log: Log, clock: Callable[[], float]) -> None:
        self._modules = modules
        self._log = log
        self._clock = clock
        self._asked_at: float | None = None
        self._lock = asyncio.Lock()

    async def failures(self) -> Mapping[str, str]:
        """Why the features that do not work do not, by name."""
        async with self._lock:
            now = self._clock()
            if self._asked_at is None or now - self._asked_at > _BELIEVED_SECONDS:
                names = [n for n, one in self._modules.items() if one.enabled != "false"]
                reasons = await asyncio.gather(*(_fault(self._modules[name]) for name in names))
                found = {n: r for n, r in zip(names, reasons, strict=True) if r}
                for name in found.keys() - self._log.failed.keys():
                    self._log.error(f"{name} does not work: {found[name]}")
                self._log.failed = found
                self._asked_at = now
            return self._log.failed

    async def running(self) -> list[str]:
        """Names of the features that work."""
        failed = await self.failures()
        enabled = {name for name, one in self._modules.items() if one.enabled != "false"}
        return sorted(enabled - failed.keys())

    async def listing(self) -> dict[str, JsonValue]:
        """Version 2 of the list: failed and disabled ones included."""
        failed = await self.failures()
        listed = {n: _described(one, failed.get(n)) for n, one in self._modules.items()}
        return {**{name: _described(Module("false"), None) for name in _NOT_HERE}, **listed}

    def names(self) -> list[str]:
        """Names of the features that are served."""
        return sorted(name for name, one in self._modules.items() if one.enabled != "false")


def open_routes(modules: Modules) -> APIRouter:
    """``/features`` and ``/version``, for everyone."""
    routes = APIRouter()

    @routes.get("/features")
    async def features() -> Response:
        return as_json(await modules.running())

    @routes.get("/version")
    async def version() -> Response:
        names = dict.fromkeys(modules.names(), API_VERSION)
        return as_json({"version": f"{API_VERSION}-rackrise", "modules": names})

    return routes


def trusted_routes(modules: Modules) -> APIRouter:
    """``/v2/features``, for trusted clients."""
    routes = APIRouter()

    @routes.get("/v2/features")
    async def features() -> Response:
        return as_json(await modules.listing())

    return routes


async def _fault(module: Module) -> str:
    if module.probe is None:
        return ""
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            await module.probe()
    except TimeoutError:
        return f"no answer within {_PROBE_SECONDS:g} s"
    except Exception as error:
        return str(error) or type(error).__name__
    return ""


def _described(module: Module, failure: str | None) -> JsonValue:
    state = "disabled" if module.enabled == "false" else "failed" if failure else "running"
    described: dict[str, JsonValue] = {
        "http_enabled": module.enabled in ("true", "http"),
        "https_enabled": module.enabled in ("true", "https"),
        "settings": dict(module.settings),
        "state": state,
        "capabilities": [] if failure else list(module.capabilities),
    }
    return {**described, "reason": failure} if failure else described
