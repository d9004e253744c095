"""The lab's two DNS keys. They are no secrets: they open servers that live for one run."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GUEST", "OWNER", "TsigKey"]


@dataclass(frozen=True)
class TsigKey:
    """A name and a secret in base64, for HMAC-SHA256."""

    name: str
    secret: str


OWNER = TsigKey("rackrise", "bGFiIGtleSB0aGF0IG1heSBjaGFuZ2UgdGhlIHpvbmVzIQ==")
"""May change and transfer every zone."""
GUEST = TsigKey("guest", "bGFiIGtleSB0aGF0IG1heSBjaGFuZ2Ugbm90aGluZyEhIQ==")
"""Known to the server, with no right beyond reading."""
