"""Believes an ID token, or says why not: signature, and who it is from, for and about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jws, jwt
from joserfc.errors import ClaimError, ExpiredTokenError, MissingClaimError
from joserfc.jwk import ECKey, JWKRegistry, RSAKey

from gateway.operators.oidc_wire import SignInFailed

__all__ = ["ALGORITHMS", "Expected", "SigningKey", "UnknownKey", "signing_keys", "verified"]

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Never ``none``; nor HS256, for which whoever knows the public key could sign."""
_LEEWAY = 60
"""Seconds that two clocks may differ."""
_LONGEST_SUBJECT = 255

SigningKey = RSAKey | ECKey

_AGAIN = "Sign in again. If this comes back, an admin should see the gateway's log."
_CLAIMS = {
    "iss": ("it is from another issuer", "An admin should see RACKRISE_GATEWAY_OIDC_ISSUER."),
    "aud": ("it is for another client", "An admin should see RACKRISE_GATEWAY_OIDC_CLIENT_ID."),
    "azp": ("it was made for another client", "An admin should see the client at the provider."),
    "nonce": ("it belongs to another sign-in", _AGAIN),
    "at_hash": ("it belongs to another access token", _AGAIN),
    "iat": ("it was made in the future", "Compare the clocks of provider and gateway."),
    "nbf": ("it is good in the future only", "Compare the clocks of provider and gateway."),
}


@dataclass(frozen=True)
class Expected:
    """What must be in the token."""

    issuer: str
    client_id: str
    nonce: str
    access_token: str | None
    at: datetime
    """The present."""


class UnknownKey(Exception):
    """No key that is known has signed it: perhaps the provider has new ones."""


def signing_keys(document: Mapping[str, Any]) -> list[SigningKey]:
    """The keys of a JWKS that may sign; what is not understood is passed over."""
    listed = document.get("keys")
    found: list[SigningKey] = []
    for one in listed if isinstance(listed, list) else []:
        if not isinstance(one, dict) or one.get("use", "sig") != "sig":
            continue
        try:
            key = JWKRegistry.import_key(one)
        except Exception:  # noqa: S112  one bad key must not take the others with it
            continue
        if isinstance(key, RSAKey | ECKey):
            found.append(key)
    return found


def verified(token: str, keys: Sequence[SigningKey], expected: Expected) -> dict[str, Any]:
    """The claims of a token that is to be believed.

    Raises:
        UnknownKey: none of the keys has signed it; says which way.
        SignInFailed: says why it is not believed.
    """
    header = _header(token)
    claims = _signed(token, header, keys)
    options = {
        "iss": {"essential": True, "value": expected.issuer},
        "aud": {"essential": True, "value": expected.client_id},
    }
    params = {
        "nonce": expected.nonce,
        "client_id": expected.client_id,
        "access_token": expected.access_token,
    }
    try:
        CodeIDToken(claims, header, options, params).validate(
            now=int(expected.at.timestamp()), leeway=_LEEWAY
        )
    except ExpiredTokenError:
        raise _refused("it has expired", "Compare the clocks of provider and gateway.") from None
    except MissingClaimError as error:
        raise _refused(f"it has no claim {error.claim}", _AGAIN) from None
    except ClaimError as error:
        known = _CLAIMS.get(error.claim)
        raise _refused(*(known or (f"its claim {error.claim} is not right", _AGAIN))) from None
    except Exception as error:
        # Whatever a library stumbles over in what came from outside: it is not believed.
        raise _refused(f"its claims cannot be read ({type(error).__name__})", _AGAIN) from error
    subject = claims["sub"]
    if not 0 < len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
        raise _refused("its subject is no name for anybody", _AGAIN)
    return claims


def _header(token: str) -> dict[str, Any]:
    try:
        header = jws.extract_compact(token.encode()).headers()
        algorithm, kid = header["alg"], header.get("kid")
    except Exception as error:
        raise _refused("it is no signed token", _AGAIN) from error
    if algorithm not in ALGORITHMS:
        raise _refused(
            f"it is signed by {str(algorithm)[:20]!r}, which anybody could do",
            f"An admin should have the provider sign with one of {', '.join(ALGORITHMS)}.",
        )
    if kid is not None and not isinstance(kid, str):
        raise _refused("it is no signed token", _AGAIN)
    return header


def _signed(token: str, header: dict[str, Any], keys: Sequence[SigningKey]) -> dict[str, Any]:
    algorithm, kid = header["alg"], header.get("kid")
    kind = ECKey if algorithm.startswith("ES") else RSAKey
    fitting = [
        one
        for one in keys
        if isinstance(one, kind)
        and one.get("alg") in (None, algorithm)
        and (kid is None or one.get("kid") == kid)
    ]
    if not fitting:
        raise UnknownKey("it is signed with a key that the provider does not publish")
    for key in fitting:
        try:
            return jwt.decode(token, key, algorithms=[algorithm]).claims
        except Exception:  # noqa: S112  of several keys one may be right
            continue
    # Keys without an id, or with the one of the key before, look as if they fitted.
    raise UnknownKey("its signature is not right")


def _refused(why: str, advice: str) -> SignInFailed:
    return SignInFailed(f"the provider's ID token is not believed: {why}", advice)
