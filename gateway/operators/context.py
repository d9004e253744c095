"""What every handler of console and API shares."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.context import Gateway
from gateway.live import Hub
from gateway.operators.oidc import Provider
from gateway.operators.throttle import Throttle
from gateway.operators.transaction import Transactions
from gateway.settings import GatewaySettings

__all__ = ["Operators", "comes_by_tls"]


@dataclass(frozen=True)
class Operators(Gateway):
    """A gateway as people see it."""

    throttle: Throttle
    hub: Hub
    """Tells open pages what changes."""
    provider: Provider | None
    """Where people may sign in beside their passwords here; None: nowhere."""
    transactions: Transactions
    """What their browsers keep while they do."""

    @property
    def secure(self) -> bool:
        """Whether browsers come over TLS, so that cookies may demand it."""
        return comes_by_tls(self.settings)


def comes_by_tls(settings: GatewaySettings) -> bool:
    """Whether browsers come over TLS, to us or to a proxy before us."""
    behind = settings.console_url.startswith("https://")
    return behind or settings.console_certificate is not None
