"""The clients of all Smart Proxies that one process speaks to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
from fastapi import FastAPI

from deployments.settings import ProxyClientSettings
from integrations.smart_proxy import SmartProxy, SmartProxySettings
from inventory.models import Proxy
from proxy.app import create_app, in_process
from proxy.settings import ProxySettings

__all__ = ["LOCAL", "ProxyClients", "proxy_clients"]

LOCAL = "local:"
"""URL of the proxy that runs in this process."""


class ProxyClients:
    """One client for each proxy, made when it is first asked for.

    Args:
        settings: how we prove who we are to proxies that are reached over the network.
        local: the proxy in this process, if there is one.
        closing: closes the clients in the end.
    """

    def __init__(
        self, settings: ProxyClientSettings, local: FastAPI | None, closing: AsyncExitStack
    ) -> None:
        self._settings = settings
        self._local = local
        self._closing = closing
        self._clients: dict[str, SmartProxy] = {}

    def of(self, proxy: Proxy) -> SmartProxy:
        """The client that speaks to this proxy.

        Raises:
            ValueError: it is to be in this process, and none is.
        """
        if proxy.url not in self._clients:
            client = self._make(proxy)
            self._closing.push_async_callback(client.close)
            self._clients[proxy.url] = client
        return self._clients[proxy.url]

    def _make(self, proxy: Proxy) -> SmartProxy:
        if proxy.url == LOCAL:
            if self._local is None:
                raise ValueError(
                    f"proxy {proxy.name} is to run in this process, and has no settings: name them "
                    "with RACKRISE_PROXY_FILE"
                )
            # No socket: the host in this URL is only for messages.
            here = SmartProxySettings(url=f"http://{proxy.name}.local")
            return SmartProxy(here, transport=_transport(self._local))
        return SmartProxy(
            SmartProxySettings(
                url=proxy.url,
                boot_url=proxy.host_url,
                ca=self._settings.proxy_ca,
                client_cert=self._settings.proxy_certificate,
                client_key=self._settings.proxy_key,
            )
        )


def _transport(app: FastAPI) -> httpx.AsyncBaseTransport:
    return in_process(app)


@asynccontextmanager
async def proxy_clients(
    settings: ProxyClientSettings,
) -> AsyncIterator[tuple[ProxyClients, ProxySettings | None, FastAPI | None]]:
    """The clients, and the proxy of this process if its settings are named, while the block lasts.

    Whoever wants hosts to reach that proxy serves the app as well; see ``proxy.serve.listening``.
    """
    async with AsyncExitStack() as closing:
        own = ProxySettings.from_toml(settings.proxy_file) if settings.proxy_file else None
        app = create_app(own) if own is not None else None
        yield ProxyClients(settings, app, closing), own, app
