"""The one client for a Smart Proxy; each feature's calls live in a module of their own."""

from __future__ import annotations

import asyncio
from typing import Self
from weakref import WeakValueDictionary

import httpx

from integrations.smart_proxy.bmc import BmcCalls
from integrations.smart_proxy.dhcp import DhcpCalls
from integrations.smart_proxy.discovery import DiscoveryCalls
from integrations.smart_proxy.dns import DnsCalls
from integrations.smart_proxy.features import FeatureCalls
from integrations.smart_proxy.tftp import TftpCalls
from integrations.smart_proxy.wire import Sleep, SmartProxySettings, Wire

__all__ = ["SmartProxy"]


class SmartProxy(FeatureCalls, DhcpCalls, DnsCalls, TftpCalls, BmcCalls, DiscoveryCalls):
    """Drives one Smart Proxy over its REST API.

    All methods raise from ``integrations.errors``; a 404 counts as "there is none" only where its
    text says so, because a feature that a listener does not serve is a 404 as well.

    Example:
        async with SmartProxy(SmartProxySettings(url="https://proxy.example.org:8443")) as proxy:
            print([feature.name for feature in await proxy.features() if feature.running])

    Args:
        settings: where it is, and our certificate.
        transport: instead of the network, e.g. ``proxy.app.in_process(app)``.
        sleep: awaited between the reads of a read-back; for tests.
    """

    def __init__(
        self,
        settings: SmartProxySettings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.settings = settings
        self._wire = Wire(settings, transport=transport, sleep=sleep)
        self._claims = WeakValueDictionary()

    async def close(self) -> None:
        """Give back connections."""
        await self._wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
