"""An OpenID provider's double: signs in whoever is chosen on its page, and lies when told to.

Authorization code with PKCE, as Keycloak does it: a code is good once and for a minute, and a
client must show its secret, its redirect URI and its verifier. There are no passwords.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import ssl
from base64 import b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from html import escape
from typing import Any, Literal
from urllib.parse import unquote_plus, urlencode

from joserfc import jwt
from joserfc.jwk import ECKey, KeyParameters, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from lab.doubles.serve import served

__all__ = ["OidcDouble", "OidcFaults", "oidc_double"]

_REALM = "/realms/racks"
_CODE_LASTS = timedelta(minutes=1)
_TOKEN_LASTS = timedelta(minutes=5)


@dataclass
class OidcFaults:
    """What goes wrong, each switchable at any time."""

    statuses: dict[str, int] = field(default_factory=dict)
    """Parts that answer with this status only: ``discovery``, ``keys``, ``token``."""
    hang: set[str] = field(default_factory=set)
    """Parts that never answer."""
    discovery: dict[str, Any] = field(default_factory=dict)
    """Other values in the discovery document; None: without it."""
    claims: dict[str, Any] = field(default_factory=dict)
    """Other claims in ID tokens; None: without it."""
    signs_by: Literal["key", "none", "HS256", "another key"] = "key"
    """How ID tokens are signed: with our key, not at all, with the public key as a password, or
    with a key that is not published, under the name of ours."""
    answer: dict[str, Any] | None = None
    """The token endpoint's answer, whatever was sent."""


@dataclass
class _Code:
    client: str
    redirect: str
    challenge: str
    nonce: str
    subject: str
    at: datetime


class OidcDouble:
    """State and handlers; ``app`` is an ASGI application.

    Args:
        clock: the present.

    Attributes:
        clients: name to secret (None: a public one) and the one redirect URI.
        people: subject to what the ID token says of it.
        asked: how often which part was asked.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.faults = OidcFaults()
        self.clients: dict[str, tuple[str | None, str]] = {}
        self.people: dict[str, dict[str, Any]] = {}
        self.asked = {"discovery": 0, "authorize": 0, "token": 0, "keys": 0}
        self.issuer = ""
        self._clock = clock
        self._codes: dict[str, _Code] = {}
        self._key: RSAKey | ECKey
        self.take_new_key("RSA")
        self.app = Starlette(
            routes=[
                Route(f"{_REALM}/.well-known/openid-configuration", self._discovery),
                Route(f"{_REALM}/authorize", self._authorize, methods=["GET", "POST"]),
                Route(f"{_REALM}/token", self._token, methods=["POST"]),
                Route(f"{_REALM}/keys", self._keys),
            ]
        )

    def take_new_key(self, kind: Literal["RSA", "EC"], kid: str | None = "") -> None:
        """Sign with another key from now on; the one before is published no more.

        Args:
            kind: of key.
            kid: by which keys are told apart; empty: a new one; None: not at all.
        """
        named: KeyParameters = {"use": "sig"}
        if kid is not None:
            named["kid"] = kid or secrets.token_hex(4)
        if kind == "RSA":
            self._key = RSAKey.generate_key(2048, named)
        else:
            self._key = ECKey.generate_key("P-256", named)

    async def _discovery(self, _: Request) -> Response:
        if (refused := await self._refused("discovery")) is not None:
            return refused
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
        return JSONResponse(_changed(document, self.faults.discovery))

    async def _keys(self, _: Request) -> Response:
        if (refused := await self._refused("keys")) is not None:
            return refused
        # One that nobody here understands is among them, as at providers that try new ones.
        published = [{"kty": "AKP", "kid": "later"}, self._key.as_dict(private=False)]
        return JSONResponse({"keys": published})

    async def _authorize(self, request: Request) -> Response:
        self.asked["authorize"] += 1
        asked = request.query_params
        client, redirect = asked.get("client_id", ""), asked.get("redirect_uri", "")
        if self.clients.get(client, (None, None))[1] != redirect:
            return HTMLResponse("<h1>Unknown client, or not its redirect URI</h1>", 400)
        if request.method == "GET":
            return HTMLResponse(self._page(request))
        back = {"state": asked.get("state", ""), "iss": self.issuer}
        subject = str((await request.form()).get("sub", ""))
        if asked.get("code_challenge_method") != "S256" or not asked.get("code_challenge"):
            back |= {"error": "invalid_request", "error_description": "Missing parameter: PKCE"}
        elif subject not in self.people:
            back |= {"error": "access_denied", "error_description": "the person said no"}
        else:
            back["code"] = secrets.token_urlsafe(24)
            self._codes[back["code"]] = _Code(
                client, redirect, asked["code_challenge"], asked["nonce"], subject, self._clock()
            )
        return RedirectResponse(f"{redirect}?{urlencode(back)}", 303)

    def _page(self, request: Request) -> str:
        action = escape(f"{request.url.path}?{request.url.query}", quote=True)
        buttons = "".join(
            f'<button name="sub" value="{escape(sub)}">{escape(one["preferred_username"])}</button>'
            for sub, one in self.people.items()
        )
        return (
            '<!doctype html><title>Who are you?</title><link rel="icon" href="data:,">'
            "<h1>Who are you?</h1>"
            f'<form method="post" action="{action}">{buttons}<button>Nobody</button></form>'
        )

    async def _token(self, request: Request) -> Response:
        if (refused := await self._refused("token")) is not None:
            return refused
        if self.faults.answer is not None:
            return JSONResponse(self.faults.answer)
        form = {name: str(value) for name, value in (await request.form()).items()}
        if (client := self._client(request, form)) is None:
            return _error("invalid_client", "Invalid client or Invalid client credentials", 401)
        # Taken away whatever comes of it: a code is good once.
        code = self._codes.pop(form.get("code", ""), None)
        if code is None or self._clock() - code.at > _CODE_LASTS or code.client != client:
            return _error("invalid_grant", "Code not valid")
        if code.redirect != form.get("redirect_uri"):
            return _error("invalid_grant", "Incorrect redirect_uri")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if not hmac.compare_digest(_base64(digest), code.challenge):
            return _error("invalid_grant", "PKCE verification failed")
        access = secrets.token_urlsafe(24)
        answer = {"access_token": access, "token_type": "Bearer", "expires_in": 300}
        return JSONResponse({**answer, "id_token": self._id_token(code, access)})

    def _client(self, request: Request, form: Mapping[str, str]) -> str | None:
        given = request.headers.get("authorization", "")
        if given.startswith("Basic "):
            name, _, secret = b64decode(given.removeprefix("Basic ")).decode().partition(":")
            name, secret = unquote_plus(name), unquote_plus(secret)
        else:
            name, secret = form.get("client_id", ""), form.get("client_secret", "")
        right = self.clients.get(name)
        return name if right is not None and (right[0] or "") == secret else None

    def _id_token(self, code: _Code, access: str) -> str:
        at = int(self._clock().timestamp())
        half = hashlib.sha256(access.encode()).digest()[:16]
        claims = {
            "iss": self.issuer,
            "sub": code.subject,
            "aud": code.client,
            "iat": at,
            "exp": at + int(_TOKEN_LASTS.total_seconds()),
            "nonce": code.nonce,
            "at_hash": _base64(half),
            **self.people[code.subject],
        }
        return self._signed(_changed(claims, self.faults.claims))

    def _signed(self, claims: dict[str, Any]) -> str:
        algorithm = "RS256" if isinstance(self._key, RSAKey) else "ES256"
        header = {"alg": algorithm}
        if (kid := self._key.get("kid")) is not None:
            header["kid"] = str(kid)
        if self.faults.signs_by in ("none", "HS256"):
            header["alg"] = self.faults.signs_by
            parts = [_base64(json.dumps(one).encode()) for one in (header, claims)]
            text = ".".join(parts)
            public = self._key.as_pem(private=False)
            signature = hmac.digest(public, text.encode(), "sha256")
            return f"{text}.{_base64(signature) if header['alg'] == 'HS256' else ''}"
        key = self._key
        if self.faults.signs_by == "another key":
            # Under the name of the one that is published.
            key = RSAKey.generate_key(2048)
            header["alg"] = "RS256"
        return jwt.encode(header, claims, key)

    async def _refused(self, part: str) -> Response | None:
        self.asked[part] += 1
        if part in self.faults.hang:
            await asyncio.sleep(3600)
        status = self.faults.statuses.get(part)
        return None if status is None else Response("out of order", status)


def _changed(values: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**values, **other}.items() if value is not None}


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _error(error: str, description: str, status: int = 400) -> Response:
    return JSONResponse({"error": error, "error_description": description}, status)


@asynccontextmanager
async def oidc_double(
    clock: Callable[[], datetime], tls: ssl.SSLContext | None = None
) -> AsyncIterator[OidcDouble]:
    """A provider on the loopback while the block lasts."""
    double = OidcDouble(clock)
    async with served(double.app, tls=tls) as url:
        double.issuer = f"{url.rstrip('/')}{_REALM}"
        yield double
