"""What a certificate request says of its sender: its name, and the token that it may carry."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AttributeOID, NameOID

__all__ = ["BadRequest", "CertificateRequest", "read_request"]

_MOST = 64 * 1024


class BadRequest(ValueError):
    """This is no certificate request that anybody may sign; the text says why."""


@dataclass(frozen=True)
class CertificateRequest:
    """A request whose sender holds its private key."""

    common_name: str
    token: str | None
    """Its challengePassword. Never ``pp_preshared_key``: as an extension that would end up in the
    certificate, which anybody may read (contract, section 3)."""
    public_key: str
    """SHA-256 of the public key, in hexadecimal: the same machine asks with the same key."""


def read_request(pem: bytes | str) -> CertificateRequest:
    """Read a request, and prove that its sender holds the key.

    Raises:
        BadRequest: it is none, or is not signed by its own key.
    """
    raw = pem.encode() if isinstance(pem, str) else pem
    if len(raw) > _MOST:
        raise BadRequest(f"a certificate request has no {len(raw)} bytes")
    try:
        request = x509.load_pem_x509_csr(raw)
        sound = request.is_signature_valid
        names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        key = request.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        token = _challenge(request)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise BadRequest(f"this is no certificate request: {error}") from error
    if not sound:
        raise BadRequest("the request is not signed by the key that it is for")
    if len(names) != 1:
        raise BadRequest(f"the request names {len(names)} common names, not one")
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key)
    return CertificateRequest(str(names[0].value), token, digest.finalize().hex())


def _challenge(request: x509.CertificateSigningRequest) -> str | None:
    try:
        value = request.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD).value
    except x509.AttributeNotFound:
        return None
    return value.decode(errors="replace")
