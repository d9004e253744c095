"""Certificates for the lab and its tests: an authority and what it signs, made anew each time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Authority", "ClientCertificate", "Pair"]

LOOPBACK = IPv4Address("127.0.0.1")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key as files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class ClientCertificate(Pair):
    """Who we are at a server, and which authority has signed it and us."""

    ca: Path


class Authority:
    """Signs certificates for one address under any common name."""

    def __init__(self, directory: Path, name: str, address: IPv4Address = LOOPBACK) -> None:
        self._directory = directory
        self._address = address
        self._lists = 0
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraint = x509.BasicConstraints(ca=True, path_length=0)
        made = self._builder(self._name, self._key.public_key())
        made = made.add_extension(constraint, critical=True)
        self.file = directory / f"{name}.pem"
        self.file.write_bytes(
            made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )

    def sign(self, common_name: str | None, *, other_name: str = "localhost") -> Pair:
        """A certificate; None has no common name at all."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
            if common_name is not None
            else [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Nobody")]
        )
        names = x509.SubjectAlternativeName(
            [x509.DNSName(other_name), x509.IPAddress(self._address)]
        )
        made = self._builder(subject, key.public_key()).add_extension(names, critical=False)
        stem = f"{common_name or 'nobody'}-{other_name}"
        pair = Pair(self._directory / f"{stem}.pem", self._directory / f"{stem}.key")
        pair.certificate.write_bytes(
            made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return pair

    def revoke(self, *pairs: Pair) -> Path:
        """The list of revoked certificates, newer than the last one."""
        now = datetime.now(UTC)
        self._lists += 1
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._name)
            # Whole seconds are all that a list has.
            .last_update(now - timedelta(minutes=5) + timedelta(seconds=self._lists))
            .next_update(now + timedelta(days=1))
            .add_extension(x509.CRLNumber(self._lists), critical=False)
        )
        for pair in pairs:
            certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
            revoked = (
                x509.RevokedCertificateBuilder()
                .serial_number(certificate.serial_number)
                .revocation_date(now)
                .build()
            )
            builder = builder.add_revoked_certificate(revoked)
        file = self._directory / "crl.pem"
        file.write_bytes(
            builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        return file

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
        )
