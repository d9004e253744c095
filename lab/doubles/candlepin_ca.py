"""The throw-away CA of Candlepin's double: identities of hosts, and what opens their content."""

from __future__ import annotations

import base64
import json
import secrets
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["CandlepinCa", "Issued"]

_RED_HAT = "1.3.6.1.4.1.2312.9"
_YEAR = timedelta(days=365)
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, as PEM."""

    certificate: str
    key: str
    serial: int
    expires: datetime


class CandlepinCa:
    """Signs with one key that nobody keeps. Elliptic curves: a real one has RSA keys."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "candlepin-ca")])
        constraint = x509.BasicConstraints(ca=True, path_length=0)
        now = datetime.now(UTC)
        builder = self._builder(
            self._name, self._key.public_key(), x509.random_serial_number(), now, now + _YEAR
        )
        signed = builder.add_extension(constraint, critical=True).sign(self._key, hashes.SHA256())
        self.certificate = signed.public_bytes(_PEM).decode()
        """Whom the gateway must believe."""

    def identity(
        self, uuid: str, name: str, owner: str, *, until: datetime | None = None
    ) -> Issued:
        """The certificate of a consumer: CN is its UUID, O its organization (contract, 2.4)."""
        names = [
            x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one[:64])]))
            for one in (uuid, name)
        ]
        extra: list[tuple[x509.ExtensionType, bool]] = [(x509.SubjectAlternativeName(names), False)]
        return self._issue(uuid, owner, extra, until)

    def content_access(self, uuid: str, owner: str) -> Issued:
        """What opens an organization's content. It must not pass for an identity."""
        extra: list[tuple[x509.ExtensionType, bool]] = [
            (_utf8(f"{_RED_HAT}.6", "3.4"), False),
            (_utf8(f"{_RED_HAT}.8", "OrgLevel"), False),
        ]
        issued = self._issue(uuid, owner, extra, None)
        data = base64.encodebytes(zlib.compress(json.dumps({"products": []}).encode())).decode()
        blocks = (
            f"-----BEGIN ENTITLEMENT DATA-----\n{data}-----END ENTITLEMENT DATA-----\n"
            f"-----BEGIN RSA SIGNATURE-----\n{data}-----END RSA SIGNATURE-----\n"
        )
        return Issued(issued.certificate + blocks, issued.key, issued.serial, issued.expires)

    def _issue(
        self,
        uuid: str,
        owner: str,
        extensions: list[tuple[x509.ExtensionType, bool]],
        until: datetime | None,
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, uuid),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, owner),
            ]
        )
        # Candlepin's documents give serials as 64 bits.
        serial, now = secrets.randbits(62) + 1, datetime.now(UTC)
        expires = until or now + _YEAR
        begins = min(now, expires) - timedelta(hours=1)
        builder = self._builder(subject, key.public_key(), serial, begins, expires)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        signed = builder.sign(self._key, hashes.SHA256())
        private = key.private_bytes(
            _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Issued(signed.public_bytes(_PEM).decode(), private.decode(), serial, expires)

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        serial: int,
        begins: datetime,
        expires: datetime,
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(serial)
            .not_valid_before(begins)
            .not_valid_after(expires)
        )


def _utf8(oid: str, text: str) -> x509.UnrecognizedExtension:
    value = text.encode()
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), bytes([0x0C, len(value)]) + value)
