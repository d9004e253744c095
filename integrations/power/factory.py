"""From settings to a way to switch the machine: the one place that knows all protocols."""

from __future__ import annotations

import httpx

from integrations.power import Power
from integrations.power.discovery import DiscoveryPower
from integrations.power.ipmi import IpmiPower
from integrations.power.redfish import RedfishPower
from integrations.power.settings import (
    DiscoverySettings,
    IpmiSettings,
    PowerSettings,
    RedfishSettings,
    SshSettings,
)
from integrations.power.ssh import SshPower

__all__ = ["power_for"]


def power_for(settings: PowerSettings, *, http: httpx.AsyncClient | None = None) -> Power:
    """Make the client that the settings describe; nothing is contacted yet.

    Args:
        settings: any of the protocols' settings.
        http: client for the discovery image, such as one onto a proxy in this process; closed
            by its owner.
    """
    match settings:
        case DiscoverySettings():
            return DiscoveryPower(settings, http)
        case SshSettings():
            return SshPower(settings)
        case RedfishSettings():
            return RedfishPower(settings)
        case IpmiSettings():
            return IpmiPower(settings)
