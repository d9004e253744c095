"""What an OpenID provider publishes of itself, and whether we can go by it."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from gateway.answers import faults_of
from gateway.oidc_settings import is_private_to_this_machine
from gateway.operators.id_token import ALGORITHMS
from gateway.operators.oidc_wire import ProviderAway, Wire

__all__ = ["Discovery", "discovered"]

_SEE_ISSUER = "An admin should set RACKRISE_GATEWAY_OIDC_ISSUER as the provider writes it."


class Discovery(BaseModel):
    """What we use of it."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    methods: list[str] = Field(
        default=["client_secret_basic"], alias="token_endpoint_auth_methods_supported"
    )
    challenges: list[str] | None = Field(default=None, alias="code_challenge_methods_supported")
    algorithms: list[str] | None = Field(
        default=None, alias="id_token_signing_alg_values_supported"
    )
    names_itself: bool = Field(
        default=False, alias="authorization_response_iss_parameter_supported"
    )


async def discovered(wire: Wire, issuer: str) -> Discovery:
    """Read a provider's discovery document.

    Raises:
        ProviderAway: there is none, it is of another issuer, or we cannot sign in by it.
    """
    url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    document = await wire.get(url, "discovery document")
    try:
        found = Discovery.model_validate(document)
    except ValidationError as error:
        raise ProviderAway(
            f"the provider's discovery document at {url} is not right: {faults_of(error)}",
            _SEE_ISSUER,
        ) from None
    _require_fitting(found, issuer)
    return found


def _require_fitting(found: Discovery, issuer: str) -> None:
    if found.issuer != issuer:
        raise ProviderAway(
            f"the provider calls itself {found.issuer[:200]!r}, and not {issuer!r}",
            _SEE_ISSUER,
        )
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        url = getattr(found, name)
        if not _is_safe(url):
            raise ProviderAway(
                f"the provider's {name} is {url[:200]!r}, and must begin with https://",
                "An admin should see the provider's settings: the name that it is reached by.",
            )
    if found.challenges is not None and "S256" not in found.challenges:
        raise ProviderAway(
            "the provider knows no PKCE with S256", "An admin should allow it there."
        )
    if found.algorithms is not None and not set(found.algorithms) & set(ALGORITHMS):
        raise ProviderAway(
            f"the provider signs ID tokens by {', '.join(found.algorithms)} only",
            f"An admin should have it sign with one of {', '.join(ALGORITHMS)}.",
        )


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    plain = parts.scheme == "http" and is_private_to_this_machine(host or "")
    return bool(host) and (parts.scheme == "https" or plain)
