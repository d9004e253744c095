"""What a browser keeps while somebody signs in elsewhere: signed, for ten minutes, for us alone.

Nothing is kept here: any gateway with the same key takes a browser back.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import Response

__all__ = ["LASTS", "Transaction", "Transactions"]

LASTS = timedelta(minutes=10)
"""Time to sign in at the provider."""


class Transaction(BaseModel):
    """One sign-in under way."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: str
    """Comes back with the code: the answer is to this browser's question."""
    nonce: str
    """Comes back in the ID token: that was made for this sign-in."""
    verifier: str
    """Of PKCE: whoever catches the code cannot use it."""
    to: str
    """A path of ours to go to afterwards."""
    began: datetime

    @classmethod
    def begin(cls, to: str, at: datetime) -> Transaction:
        """A new one."""
        made = {name: secrets.token_urlsafe(32) for name in ("state", "nonce", "verifier")}
        return cls(**made, to=to, began=at)

    @property
    def challenge(self) -> str:
        """What the provider is given of the verifier (S256)."""
        return _base64(hashlib.sha256(self.verifier.encode()).digest())


class Transactions:
    """Gives them to browsers and takes them back.

    Args:
        secret: ``RACKRISE_SECRET_KEY``, the same for all gateways; None: this one's alone, until
            it is started again.
        secure: whether browsers come over TLS.
    """

    def __init__(self, secret: str | None, *, secure: bool) -> None:
        key = secret or secrets.token_hex(32)
        self._key = hmac.digest(key.encode(), b"sign-in elsewhere", "sha256")
        self._secure = secure
        self._name = "__Host-rackrise-elsewhere" if secure else "rackrise-elsewhere"

    def keep(self, response: Response, transaction: Transaction) -> None:
        """Have the browser keep it."""
        text = _base64(transaction.model_dump_json().encode())
        response.set_cookie(
            self._name,
            f"{text}.{self._sign(text)}",
            max_age=int(LASTS.total_seconds()),
            secure=self._secure,
            httponly=True,
            # Not strict: the browser comes back by a link of the provider's.
            samesite="lax",
            path="/",
        )

    def kept(self, request: Request, at: datetime) -> Transaction | None:
        """What the browser has kept; None: nothing, not ours, or too long ago."""
        text, _, signature = request.cookies.get(self._name, "").partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(text).encode()):
            return None
        try:
            transaction = Transaction.model_validate_json(urlsafe_b64decode(f"{text}=="))
        except (ValidationError, ValueError):
            return None
        return transaction if timedelta() <= at - transaction.began <= LASTS else None

    def forget(self, response: Response) -> None:
        """Have the browser forget it: it is good for one answer."""
        response.delete_cookie(self._name, path="/", secure=self._secure, httponly=True)

    def _sign(self, text: str) -> str:
        return hmac.digest(self._key, text.encode(), "sha256").hex()


def _base64(data: bytes) -> str:
    # Without its padding, for which a cookie would have to be quoted.
    return urlsafe_b64encode(data).decode().rstrip("=")
