"""Two operations of OMAPI on host objects, with the outcome in our words; blocking, for threads.

pypureomapi speaks the protocol. What it lacks is the statements of a host, the words of a refusal,
and every signature but MD5.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pypureomapi

from integrations.dhcp.rules import SYSTEM
from integrations.errors import OutsideError, Refused, Unavailable
from integrations.records import Reservation

__all__ = ["Algorithm", "OmapiClient"]

Algorithm = Literal["hmac-md5", "hmac-sha1", "hmac-sha256", "hmac-sha512"]

_BAD_KEY = (
    "received message is signed with wrong authenticator",  # a wrong secret
    "received non-update response for open",  # an unknown key or algorithm
    "bad omapi message signature",
)


class _Signature(pypureomapi.OmapiAuthenticatorBase):  # type: ignore[misc]
    """Signs with any of dhcpd's algorithms, which OMAPI calls by this long name."""

    def __init__(self, key_name: str, secret: str, algorithm: Algorithm) -> None:
        super().__init__()
        self._digest = algorithm.removeprefix("hmac-")
        self._name = key_name.encode()
        self._key = b64decode(secret)
        self.algorithm = f"{algorithm}.SIG-ALG.REG.INT.".encode()
        self.authlen = hashlib.new(self._digest).digest_size

    def auth_object(self) -> dict[bytes, bytes]:
        return {b"name": self._name, b"algorithm": self.algorithm}

    def sign(self, message: bytes) -> bytes:
        return hmac.digest(self._key, message, self._digest)


class OmapiClient:
    """Adds and removes host objects; every call has a connection of its own.

    Args:
        host: where dhcpd listens for OMAPI.
        port: likewise.
        key_name: the ``omapi-key``.
        secret: its secret, in base64 as in dhcpd.conf.
        algorithm: its algorithm.
        timeout: seconds for each answer.
    """

    def __init__(
        self,
        host: str,
        port: int,
        key_name: str,
        secret: str,
        algorithm: Algorithm,
        timeout: float,
    ) -> None:
        self.address = f"{host}:{port}"
        self._where = (host, port)
        self._key = (key_name, secret, algorithm)
        self._timeout = timeout

    @contextmanager
    def _connected(self, operation: str) -> Iterator[pypureomapi.Omapi]:
        try:
            connection = pypureomapi.Omapi(*self._where, timeout=self._timeout)
            try:
                connection.initialize_authenticator(_Signature(*self._key))
                yield connection
            finally:
                connection.close()
        except pypureomapi.OmapiError as error:
            kind = Refused if str(error) in _BAD_KEY else Unavailable
            raise self._error(kind, operation, f"OMAPI: {error}") from error
        except ValueError as error:
            raise self._error(Refused, operation, f"the key's secret: {error}") from error
        except OSError as error:
            said = str(error) or f"no answer within {self._timeout:g} s"
            raise self._error(Unavailable, operation, said) from error

    def add(self, reservation: Reservation, operation: str) -> None:
        """Create a host object.

        Raises:
            Unavailable: no answer, or not in time.
            Refused: a wrong key, or dhcpd's own refusal: MAC or name are taken, bad values.
        """
        message = pypureomapi.OmapiMessage.open(b"host")
        message.message += [(b"create", _number(1)), (b"exclusive", _number(1))]
        values = {
            b"name": reservation.name.encode(),
            b"hardware-address": pypureomapi.pack_mac(reservation.mac),
            b"hardware-type": _number(1),
            b"ip-address": reservation.ip.packed,
        }
        statements = _statements(reservation)
        if statements:  # dhcpd refuses an empty value
            values[b"statements"] = statements
        message.update_object(values)
        with self._connected(operation) as connection:
            answer = connection.query_server(message)
        if answer.opcode != pypureomapi.OMAPI_OP_UPDATE:
            raise self._refused(operation, answer)

    def remove(self, name: str, operation: str) -> bool:
        """Delete a host object by its name; False if there was none.

        Raises:
            Unavailable: no answer, or not in time.
            Refused: a wrong key, or dhcpd's own refusal.
        """
        message = pypureomapi.OmapiMessage.open(b"host")
        message.update_object({b"name": name.encode()})
        with self._connected(operation) as connection:
            found = connection.query_server(message)
            if found.opcode != pypureomapi.OMAPI_OP_UPDATE:
                return False
            answer = connection.query_server(pypureomapi.OmapiMessage.delete(found.handle))
        details = dict(answer.message)
        if answer.opcode != pypureomapi.OMAPI_OP_STATUS or details.get(b"result") != _number(0):
            raise self._refused(operation, answer)
        return True

    def _refused(self, operation: str, answer: pypureomapi.OmapiMessage) -> OutsideError:
        details = dict(answer.message)
        words = details.get(b"message", b"no reason given").decode(errors="replace")
        code = int.from_bytes(details.get(b"result", b""), "big")
        return self._error(Refused, operation, f"OMAPI: {words} (result {code:#x})")

    def _error(self, kind: type[OutsideError], operation: str, said: str) -> OutsideError:
        return kind(system=SYSTEM, address=self.address, operation=operation, said=said)


def _number(value: int) -> bytes:
    return struct.pack("!I", value)


def _statements(reservation: Reservation) -> bytes:
    """The boot data as dhcpd.conf statements; dhcpd silently drops all if one cannot be read.

    The values were checked (``require_well_formed``): none can end its quotation.
    """
    lines = []
    if reservation.filename:
        lines.append(f'filename = "{reservation.filename}";')
    if reservation.next_server:
        octets = ":".join(f"{int(part):02x}" for part in reservation.next_server.split("."))
        lines.append(f"next-server = {octets};")
    if reservation.hostname:
        lines.append(f'option host-name = "{reservation.hostname}";')
    return " ".join(lines).encode()
