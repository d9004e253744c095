"""The Puppet CAs that the contract is tried on."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, NameOID

from integrations.puppet import PuppetCa, PuppetSettings
from lab.doubles.puppet import PuppetDouble
from lab.servers.puppet import PuppetServer, puppet

_NUMBERS = count(1)
DOUBLE = PuppetSettings(url="https://puppet.example.test:8140", ca="", certificate="", key="")


@dataclass
class Site:
    """One CA, as Rackrise and as a host reach it."""

    ca: PuppetCa
    agent: httpx.AsyncClient
    """A host's calls: nobody has signed its certificate yet."""
    server: PuppetServer | None = None

    async def submit(self, name: str, pem: str) -> httpx.Response:
        """Hand in a certificate request, as an agent does."""
        return await self.agent.put(
            f"/puppet-ca/v1/certificate_request/{name}",
            content=pem,
            headers={"Content-Type": "text/plain"},
        )


def new_name() -> str:
    return f"host{next(_NUMBERS)}.lab.example"


def new_key() -> rsa.RSAPrivateKey:
    """A key as agents make it; that takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def csr(
    name: str,
    *,
    token: str | None = None,
    also: Sequence[str] = (),
    key: rsa.RSAPrivateKey | None = None,
) -> str:
    """The request of a machine, with a new key if none is given."""
    key = key or new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder(subject)
    if token is not None:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, token.encode())
    if also:
        names = x509.SubjectAlternativeName([x509.DNSName(one) for one in also])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@asynccontextmanager
async def double_site() -> AsyncIterator[Site]:
    double = PuppetDouble()
    transport = httpx.ASGITransport(double.app)
    async with (
        PuppetCa(DOUBLE, transport=transport) as ca,
        httpx.AsyncClient(transport=transport, base_url=DOUBLE.url) as agent,
    ):
        yield Site(ca, agent)


def settings_of(server: PuppetServer, **changes: object) -> PuppetSettings:
    """How Rackrise reaches a real server."""
    return PuppetSettings.model_validate(
        {
            "url": server.here,
            "ca": server.ca.read_text(),
            "certificate": server.certificate.read_text(),
            "key": server.key.read_text(),
            **changes,
        }
    )


@asynccontextmanager
async def real_site() -> AsyncIterator[Site]:
    with TemporaryDirectory(prefix="puppet-") as directory:
        async with puppet(Path(directory)) as server, PuppetCa(settings_of(server)) as ca:
            tls = ssl.create_default_context(cafile=server.ca)
            async with httpx.AsyncClient(verify=tls, base_url=server.here, timeout=60) as agent:
                yield Site(ca, agent, server)


SITES = {"double": double_site, "puppetserver": real_site}
