"""Who speaks to Candlepin's double: OAuth with its signature recomputed, Basic, or a certificate.

Nothing of a client's library is used here, so that a wrong signature cannot be right on both sides.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote

from starlette.requests import Request

from serving.arrival import arrival_of

__all__ = ["Logins", "Principal", "Unauthorized"]

_WINDOW = 300
"""Seconds that a timestamp may be off."""


class Unauthorized(Exception):
    """Nobody that is known speaks, with Candlepin's words."""


@dataclass(frozen=True)
class Principal:
    """Who speaks: a trusted user, a consumer, or nobody by name."""

    user: str | None = None
    consumer: str | None = None


@dataclass
class Logins:
    """Knows secrets and nonces.

    Args:
        secrets: of OAuth consumers, by key.
        users: passwords of users.
    """

    secrets: dict[str, str] = field(default_factory=lambda: {"rackrise": "lab-secret"})
    users: dict[str, str] = field(default_factory=lambda: {"admin": "admin"})
    _nonces: set[tuple[str, str, str]] = field(default_factory=set)

    def principal(self, request: Request) -> Principal | None:
        """Who speaks; None: nobody has said.

        Raises:
            Unauthorized: somebody has said so, and it is not true.
        """
        kind, _, rest = request.headers.get("authorization", "").partition(" ")
        if kind == "OAuth":
            self._check(request, rest)
            return Principal(request.headers.get("cp-user"), request.headers.get("cp-consumer"))
        if kind == "Basic":
            user, _, password = base64.b64decode(rest).decode().partition(":")
            if self.users.get(user) != password:
                raise Unauthorized("Invalid Credentials")
            return Principal(user=user)
        name = arrival_of(request).common_name
        return Principal(consumer=name) if name else None

    def _check(self, request: Request, rest: str) -> None:
        given = {
            key.strip(): unquote(value.strip().strip('"'))
            for key, _, value in (one.partition("=") for one in rest.split(","))
        }
        signature, key = given.pop("oauth_signature", ""), given.get("oauth_consumer_key", "")
        secret = self.secrets.get(key)
        if secret is None or given.get("oauth_signature_method") != "HMAC-SHA1":
            raise Unauthorized("Invalid OAuth unit or secret")
        if not hmac.compare_digest(_signature(request, given, secret), signature):
            raise Unauthorized("Invalid OAuth unit or secret")
        stamp, nonce = given.get("oauth_timestamp", "0"), given.get("oauth_nonce", "")
        if abs(time.time() - int(stamp)) > _WINDOW or (key, stamp, nonce) in self._nonces:
            raise Unauthorized("Invalid OAuth unit or secret")
        self._nonces.add((key, stamp, nonce))


def _signature(request: Request, given: dict[str, str], secret: str) -> str:
    """RFC 5849, section 3.4: over method, base URL, and all parameters in their order."""
    query = request.scope["query_string"].decode()
    pairs = [
        *parse_qsl(query, keep_blank_values=True),
        *(one for one in given.items() if one[0] != "realm"),
    ]
    encoded = sorted((_quoted(name), _quoted(value)) for name, value in pairs)
    parameters = "&".join(f"{name}={value}" for name, value in encoded)
    host = request.headers["host"].lower().removesuffix(":443")
    base = f"{request.url.scheme}://{host}{request.scope['raw_path'].decode()}"
    text = "&".join((request.method.upper(), _quoted(base), _quoted(parameters)))
    mac = hmac.new(f"{_quoted(secret)}&".encode(), text.encode(), hashlib.sha1)
    return base64.b64encode(mac.digest()).decode()


def _quoted(text: str) -> str:
    return quote(text, safe="-._~")
