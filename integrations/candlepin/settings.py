"""Where a Candlepin is, and as whom we speak to it."""

from __future__ import annotations

import ssl

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

__all__ = ["CandlepinSettings", "OAuthLogin", "UserLogin"]


class _Login(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OAuthLogin(_Login):
    """OAuth 1.0 without a token (RFC 5849), as an application that Candlepin trusts."""

    key: str = Field(min_length=1)
    """As in Candlepin's setting ``candlepin.auth.oauth.consumer.KEY.secret``."""
    secret: SecretStr
    user: str = Field(default="admin", min_length=1)
    """Candlepin's user in whose name we speak, but for what is passed on for a consumer."""


class UserLogin(_Login):
    """Basic, as a user of Candlepin's own database. Nothing can be passed on for consumers."""

    user: str = Field(min_length=1)
    password: SecretStr


class CandlepinSettings(BaseModel):
    """How to reach one Candlepin."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    """With its path: ``https://candlepin.example.org:8443/candlepin``."""
    login: OAuthLogin | UserLogin
    ca: str | None = None
    """CA of its certificate, as PEM; None: the system's."""
    timeout: float = 30
    """Seconds for one answer; a registration makes a key and certificates."""
    job_timeout: float = 600
    """Seconds for an asynchronous job."""
    connections: int = Field(default=50, ge=1)
    """At a time; whoever is one too many waits for one."""

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("https://", "http://")):
            raise ValueError(f"{value!r} is not an https URL")
        return value.rstrip("/")

    def tls(self) -> ssl.SSLContext:
        """TLS that believes this CA only.

        Raises:
            ssl.SSLError: the CA cannot be read.
        """
        return ssl.create_default_context(cadata=self.ca)
