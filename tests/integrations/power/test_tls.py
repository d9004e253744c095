"""Certificates that nobody vouches for: refused where we verify, accepted where it is by design."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from integrations.errors import Refused
from integrations.power import PowerState
from integrations.power.discovery import DiscoveryPower
from integrations.power.redfish import RedfishPower
from integrations.power.settings import DiscoverySettings, RedfishSettings

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


def self_signed(directory: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1, signed by itself, as the discovery image does."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    crt, pem = directory / "crt.pem", directory / "key.pem"
    crt.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return crt, pem


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return self_signed(tmp_path)


@pytest.fixture
async def url(certificate: tuple[Path, Path]) -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_the_images_certificate_is_taken_as_it_is(url: str) -> None:
    power = DiscoveryPower(DiscoverySettings(url=url))
    assert await power.state() is PowerState.ON
    await power.close()


async def test_with_an_authority_the_certificate_is_verified(
    url: str, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    known = DiscoveryPower(DiscoverySettings(url=url, ca_file=certificate[0]))
    assert await known.facts() == {}
    await known.close()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other, _ = self_signed(elsewhere)
    unknown = DiscoveryPower(DiscoverySettings(url=url, ca_file=other))
    with pytest.raises(Refused, match="check 'ca_file'"):
        await unknown.facts()
    await unknown.close()


async def test_a_bmc_that_nobody_vouches_for_is_refused(url: str) -> None:
    power = RedfishPower(RedfishSettings(url=url, user="admin", password="geheim"))
    with pytest.raises(Refused, match="authority in the setting 'verify'") as caught:
        await power.state()
    assert "geheim" not in str(caught.value)


async def test_a_bmc_may_be_left_unverified_or_known_by_its_file(
    url: str, certificate: tuple[Path, Path]
) -> None:
    for verify in (False, certificate[0]):
        settings = RedfishSettings(url=url, user="admin", password="geheim", verify=verify)
        # Beyond TLS: the answer that comes back is no Redfish.
        with pytest.raises(Refused, match="Id is missing"):
            await RedfishPower(settings).state()
