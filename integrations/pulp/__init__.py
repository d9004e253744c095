"""Speak with Pulp 3: what hosts boot and install is synchronised, published, served and pinned."""

from __future__ import annotations

from integrations.pulp.client import Pulp
from integrations.pulp.distributions import pin_path, serving
from integrations.pulp.resources import (
    Distribution,
    Policy,
    Publication,
    Remote,
    Repository,
    Synced,
    Version,
)
from integrations.pulp.settings import PulpSettings
from integrations.pulp.tasks import OnProgress, Progress, PulpStatus

__all__ = [
    "Distribution",
    "OnProgress",
    "Policy",
    "Progress",
    "Publication",
    "Pulp",
    "PulpSettings",
    "PulpStatus",
    "Remote",
    "Repository",
    "Synced",
    "Version",
    "pin_path",
    "serving",
]
