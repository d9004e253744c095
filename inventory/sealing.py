"""Secrets that we must read again, sealed: the database alone does not tell them."""

from __future__ import annotations

from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["Sealer", "WrongKey"]


class WrongKey(Exception):
    """A secret was sealed with another key."""

    def __init__(self) -> None:
        super().__init__(
            "the secret cannot be read: it was kept with another RACKRISE_SECRET_KEY; give all "
            "programs the same, or change the secret"
        )


class Sealer:
    """Seals and opens secrets with a key that is made of the installation's.

    Args:
        key: ``RACKRISE_SECRET_KEY``: long and random, the same for all programs.
    """

    def __init__(self, key: str) -> None:
        made = HKDF(SHA256(), 32, salt=None, info=b"rackrise sealed secrets").derive(key.encode())
        self._fernet = Fernet(urlsafe_b64encode(made))

    def seal(self, secret: str) -> str:
        """The secret as it is kept."""
        return self._fernet.encrypt(secret.encode()).decode()

    def open(self, sealed: str) -> str:
        """The secret as it was.

        Raises:
            WrongKey: it was sealed with another key.
        """
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise WrongKey from None
