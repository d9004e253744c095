"""How people sign in to the console at an OpenID provider, where a site has one."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from inventory.models import Role

__all__ = ["OidcRights", "OidcSettings", "is_private_to_this_machine"]


class OidcRights(BaseModel):
    """What the people of one group at the provider may do here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: str = Field(min_length=1)
    """As the provider writes it."""
    role: Role
    sites: tuple[str, ...] = ()
    """Names of the sites that they are limited to; empty: all."""
    host_groups: tuple[str, ...] = ()
    """Names of the host groups that they are limited to; empty: all."""


class OidcSettings(BaseSettings):
    """The part of the gateway's settings that is about an OpenID provider."""

    model_config = SettingsConfigDict(
        env_prefix="RACKRISE_GATEWAY_", frozen=True, populate_by_name=True
    )

    oidc_issuer: str = ""
    """Where people may sign in beside their passwords here: the provider's issuer, letter for
    letter as it names itself; empty: nowhere."""
    oidc_client_id: str = ""
    """As which we are known to it."""
    oidc_client_secret: SecretStr | None = None
    """Of the client; None: it is a public one, and PKCE alone protects the code."""
    oidc_ca: Path | None = None
    """CA of its certificate; None: the system's."""
    oidc_name: str = Field(default="OpenID", min_length=1, max_length=60)
    """What it is called on the button."""
    oidc_scopes: tuple[str, ...] = ("openid", "profile")
    """What is asked for; some providers tell groups only for a scope of their own."""
    oidc_groups_claim: str = Field(default="groups", min_length=1)
    """The claim of the ID token that lists a person's groups."""
    oidc_rights: tuple[OidcRights, ...] = ()
    """Which groups may do what, as JSON: ``[{"group": "racks", "role": "operator", "sites":
    ["east"], "host_groups": []}]``. The first in which somebody is decides."""
    oidc_seconds: float = Field(default=10, gt=0, le=60)
    """Longest time that the provider may take while somebody signs in."""

    @field_validator("oidc_issuer")
    @classmethod
    def _is_an_issuer(cls, issuer: str) -> str:
        if not issuer:
            return issuer
        parts = urlsplit(issuer)
        if any(one.isspace() for one in issuer):
            raise ValueError("an issuer has no space in it")
        if parts.query or parts.fragment or not parts.hostname or "@" in parts.netloc:
            raise ValueError("an issuer is a URL without query, fragment and user")
        plain = parts.scheme == "http" and is_private_to_this_machine(parts.hostname)
        if parts.scheme != "https" and not plain:
            raise ValueError("an issuer begins with https://")
        return issuer

    @field_validator("oidc_scopes")
    @classmethod
    def _asks_for_an_id_token(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        if "openid" not in scopes:
            raise ValueError("openid must be among the scopes: without it there is no ID token")
        return scopes

    @model_validator(mode="after")
    def _oidc_is_complete(self) -> Self:
        # With a part of them only, the button would be missing, and nobody would say why.
        needed = ("oidc_issuer", "oidc_client_id", "oidc_rights")
        missing = [one for one in needed if not getattr(self, one)]
        given = len(missing) < len(needed) or self.oidc_client_secret is not None
        if missing and given:
            listed = ", ".join(needed)
            raise ValueError(f"OpenID needs {listed}: {', '.join(missing)} not given")
        return self


def is_private_to_this_machine(host: str) -> bool:
    """Whether what is sent to a host never leaves this machine, so that it may be plain."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
