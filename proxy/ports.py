"""What stands behind the service: made from the settings, or handed in by a test."""

from __future__ import annotations

import ssl

import httpx

from integrations.dhcp import DhcpServer
from integrations.dhcp.isc import IscDhcp
from integrations.dhcp.kea import KeaDhcp
from integrations.dns import DnsServer
from proxy.dns import DnsPort, Zones
from proxy.settings import DhcpSettings, ProxySettings

__all__ = ["dhcp_of", "dns_of", "gateway_of", "nodes_of", "sources_of"]

_SOURCE_SECONDS = 30.0
"""For each step of a download."""
_GATEWAY_SECONDS = 55.0
"""Below the 60 s after which clients of ours give up."""


def dhcp_of(settings: DhcpSettings) -> DhcpServer | None:
    """The DHCP server beside us; None: there is none."""
    if settings.kind == "isc" and settings.isc is not None:
        return IscDhcp(settings.isc)
    if settings.kind == "kea" and settings.kea is not None:
        return KeaDhcp(settings.kea)
    return None


def dns_of(settings: ProxySettings) -> DnsPort | None:
    """The name servers beside us as one; None: there is none."""
    if not settings.dns:
        return None
    return Zones([(one, DnsServer(one)) for one in settings.dns])


def sources_of() -> httpx.AsyncClient:
    """The client for install trees, where mirrors may send us on."""
    return httpx.AsyncClient(timeout=_SOURCE_SECONDS, follow_redirects=True, trust_env=False)


def gateway_of(settings: ProxySettings) -> httpx.AsyncClient:
    """The client for the gateway, which never follows a redirect."""
    context = ssl.create_default_context(cafile=settings.foreman_ca)
    if settings.foreman_certificate is not None:
        context.load_cert_chain(settings.foreman_certificate, settings.foreman_key)
    return httpx.AsyncClient(verify=context, timeout=_GATEWAY_SECONDS, trust_env=False)


def nodes_of() -> httpx.AsyncClient:
    """The client for machines that run the discovery image.

    Their certificates are made at boot and signed by themselves: nobody can vouch for them.
    """
    return httpx.AsyncClient(verify=False, trust_env=False)  # noqa: S501
