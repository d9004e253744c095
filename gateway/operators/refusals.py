"""Which status of HTTP says what the inventory refuses, for pages and programs alike."""

from __future__ import annotations

from gateway.answers import Refusal
from inventory.errors import (
    BadPerson,
    BadRule,
    BadWave,
    Forbidden,
    InventoryError,
    NotSignedIn,
    UnknownGroup,
    UnknownHost,
    UnknownPerson,
    UnknownRule,
    UnknownWave,
)
from inventory.webhooks import BadWebhook, UnknownWebhook

__all__ = ["STATUS", "status_of"]

STATUS: dict[type[InventoryError], int] = {
    NotSignedIn: 401,
    Forbidden: 403,
    UnknownGroup: 404,
    UnknownHost: 404,
    UnknownPerson: 404,
    UnknownRule: 404,
    UnknownWave: 404,
    UnknownWebhook: 404,
    BadPerson: 422,
    BadRule: 422,
    BadWave: 422,
    BadWebhook: 422,
}
"""What is not here is 409: what is asked for does not go with what is there."""


def status_of(error: InventoryError | Refusal) -> int:
    """The status with which a refusal is answered."""
    if isinstance(error, Refusal):
        return error.status
    return next((STATUS[one] for one in type(error).__mro__ if one in STATUS), 409)
