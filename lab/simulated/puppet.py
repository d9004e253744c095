"""Puppet on a simulated site: a server around the CA's double, and agents that run on it.

It asks the gateway whom to sign and what a host is, and tells it facts and reports, over TLS with
its own certificate, as a real one does with our scripts. What a run does to a machine is nothing.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, NameOID

from deployments.up import GatewayTls
from lab.authority import Authority, ClientCertificate
from lab.doubles.puppet import PuppetDouble
from lab.process import until
from serving.listeners import Listener, served, tcp_socket, tls_context, url_of

__all__ = ["SimulatedPuppet", "simulated_puppet"]

SERVER = "puppet.sim.example"
ORCHESTRATOR = "rackrise.sim.example"
_SIGNED_SECONDS = 240.0
"""``attend`` signs what autosign missed within a minute."""


@dataclass
class SimulatedPuppet:
    """The server as hosts and Rackrise see it."""

    url: str
    client: ClientCertificate
    """What Rackrise speaks to its CA with."""
    gateway_port: int
    double: PuppetDouble
    _agents: httpx.AsyncClient
    _gateway: httpx.AsyncClient

    @property
    def gateway(self) -> GatewayTls:
        """How the gateway listens for it."""
        ours = self.client
        return GatewayTls(self.gateway_port, ours.certificate, ours.key, ours.ca)

    def site_table(self) -> str:
        """Its part of the site file."""
        return f"""
[[puppet]]
name = "simulated"
url = "{self.url}"
certname = "{SERVER}"
credentials = "lab-puppet"
"""

    async def request(self, name: str, token: str) -> None:
        """A host asks for its certificate; a real agent does so in its installer."""
        path = f"/puppet-ca/v1/certificate_request/{name}"
        answer = await self._agents.put(path, content=_request(name, token))
        answer.raise_for_status()

    async def run(self, name: str, facts: Mapping[str, Any]) -> None:
        """A host's first run: it waits for its certificate, gets its catalog, and reports.

        Raises:
            TimeoutError: nobody signs it.
            httpx.HTTPError: the gateway does not say what the host is.
        """
        status = f"/puppet-ca/v1/certificate_status/{name}"

        async def signed() -> bool:
            answer = await self._agents.get(status)
            return answer.is_success and answer.json()["state"] == "signed"

        await until(signed, what=f"{name} is signed", deadline=_SIGNED_SECONDS, every=0.2)
        told = {"name": name, "values": facts, "timestamp": datetime.now(UTC).isoformat()}
        (await self._gateway.post(f"/puppet/facts/{name}", json=told)).raise_for_status()
        answer = (await self._gateway.get(f"/puppet/enc/{name}")).raise_for_status()
        environment = yaml.safe_load(answer.text)["environment"]
        # A report is told once, whatever becomes of it.
        await self._gateway.post("/puppet/reports", content=_report(name, environment))

    async def autosign(self, name: str, pem: str) -> bool:
        """Ask the gateway, as the script ``rackrise-autosign`` does."""
        try:
            answer = await self._gateway.post(f"/puppet/autosign/{name}", content=pem)
        except httpx.HTTPError:
            return False
        return answer.is_success


@asynccontextmanager
async def simulated_puppet(
    directory: Path, address: IPv4Address, gateway_port: int
) -> AsyncIterator[SimulatedPuppet]:
    """Serve the double over TLS while the block lasts.

    Args:
        directory: exists and is empty; gets certificates.
        address: of the site's servers.
        gateway_port: where the gateway will have its TLS listener.
    """
    authority = Authority(directory, "puppet-ca", address)
    server, ours = authority.sign(SERVER), authority.sign(ORCHESTRATOR)
    double = PuppetDouble()
    tls = tls_context(server.certificate, server.key, authority.file)
    listener = Listener(tcp_socket(str(address), 0), tls)
    as_server = ssl.create_default_context(cafile=authority.file)
    as_server.load_cert_chain(server.certificate, server.key)
    async with AsyncExitStack() as stack:
        agents = await stack.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(double.app), base_url="http://puppet")
        )
        gateway = await stack.enter_async_context(
            httpx.AsyncClient(
                verify=as_server, base_url=f"https://{address}:{gateway_port}", timeout=20
            )
        )
        puppet = SimulatedPuppet(
            url=url_of(listener),
            client=ClientCertificate(ours.certificate, ours.key, authority.file),
            gateway_port=gateway_port,
            double=double,
            _agents=agents,
            _gateway=gateway,
        )
        double.autosign = puppet.autosign
        await stack.enter_async_context(served(double.app, [listener]))
        yield puppet


def _request(name: str, token: str) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder(subject)
    builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, token.encode())
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(Encoding.PEM)


def _report(name: str, environment: str) -> str:
    return f"""\
--- !ruby/object:Puppet::Transaction::Report
host: {name}
time: '{datetime.now(UTC).isoformat()}'
configuration_version: 1
transaction_uuid: {uuid4()}
report_format: 12
puppet_version: 7.23.0
status: changed
transaction_completed: true
cached_catalog_status: not_used
environment: {environment}
logs: []
resource_statuses: {{}}
"""
