"""What every handler of console and API shares."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.context import Gateway
from gateway.live import Hub
from gateway.operators.throttle import Throttle

__all__ = ["Operators"]


@dataclass(frozen=True)
class Operators(Gateway):
    """A gateway as people see it."""

    throttle: Throttle
    hub: Hub
    """Tells open pages what changes."""

    @property
    def secure(self) -> bool:
        """Whether browsers come over TLS, so that cookies may demand it."""
        behind = self.settings.console_url.startswith("https://")
        return behind or self.settings.console_certificate is not None
