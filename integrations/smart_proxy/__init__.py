"""Drive a Smart Proxy, Foreman's or our own: DHCP, DNS, TFTP, BMC and discovery beside a subnet."""

from __future__ import annotations

from integrations.smart_proxy.answers import (
    BootFileState,
    Feature,
    LogLine,
    ProxyLogs,
    ProxyVersion,
)
from integrations.smart_proxy.bmc import BmcAccess
from integrations.smart_proxy.client import SmartProxy
from integrations.smart_proxy.wire import SmartProxySettings

__all__ = [
    "BmcAccess",
    "BootFileState",
    "Feature",
    "LogLine",
    "ProxyLogs",
    "ProxyVersion",
    "SmartProxy",
    "SmartProxySettings",
]
