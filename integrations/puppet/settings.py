"""Where a Puppet CA is, and with which certificate we speak to it."""

from __future__ import annotations

import os
import ssl
import tempfile

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator

__all__ = ["PuppetSettings"]


class PuppetSettings(BaseModel):
    """How to reach one Puppet server's CA over mutual TLS.

    The certificate needs the extension ``pp_cli_auth``, as ``puppetserver ca generate --ca-client``
    gives it, or a rule of its own in ``auth.conf`` (contract, section 2).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    """e.g. ``https://puppet.example.org:8140``."""
    ca: str
    """Puppet's root and intermediate CA, as PEM."""
    certificate: str
    """Ours, as PEM."""
    key: SecretStr
    """Its private key, as PEM."""
    timeout: float = 60
    """Seconds for one answer: to sign took up to two on a slow machine, behind others longer."""

    @field_validator("url")
    @classmethod
    def _is_https(cls, value: str) -> str:
        if not value.startswith("https://"):
            raise ValueError(f"{value!r} is not an https URL: the CA knows us by our certificate")
        return value.rstrip("/")

    def tls(self) -> ssl.SSLContext:
        """TLS as ourselves, believing this CA only.

        Raises:
            ssl.SSLError: certificate, key or CA cannot be read, or do not belong together.
        """
        context = ssl.create_default_context(cadata=self.ca)
        # OpenSSL takes a certificate from a file only; nobody else can read this one.
        handle, name = tempfile.mkstemp(prefix="rackrise-tls-")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(f"{self.certificate}\n{self.key.get_secret_value()}\n")
            context.load_cert_chain(name)
        finally:
            os.unlink(name)
        return context
