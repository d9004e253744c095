"""How this API answers: empty 200s, JSON, and errors as plain text that is labelled JSON.

The labels are upstream's, and so are the words where clients match them (contract, section 2.4).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address

from fastapi import Request, Response
from starlette.datastructures import FormData

from integrations.errors import Conflict, OutsideError, Unavailable, Unsupported
from integrations.records import normal_mac

__all__ = [
    "NOT_FOUND",
    "Form",
    "ProxyError",
    "address",
    "as_json",
    "done",
    "done_json",
    "form_of",
    "mac_address",
    "refuse",
    "text",
]

NOT_FOUND = "Requested url was not found"


class ProxyError(Exception):
    """An answer other than 200, as status and sentence."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status
        self.said = said


def text(status: int, said: str) -> Response:
    """An error: the bare sentence, labelled JSON as upstream does."""
    return Response(
        said.encode("utf-8", "replace"),
        status,
        media_type="application/json",
        headers={"X-Content-Type-Options": "nosniff"},
    )


def as_json(value: object) -> Response:
    """A JSON answer."""
    return Response(json.dumps(value, separators=(",", ":")), media_type="application/json")


def done() -> Response:
    """The empty 200 of a write."""
    return Response(b"", media_type="text/html")


def done_json() -> Response:
    """The empty 200 of those writes that upstream labels JSON."""
    return Response(b"", media_type="application/json")


def refuse(error: OutsideError, before: str = "") -> ProxyError:
    """Turn what went wrong behind us into upstream's vocabulary: 409, 501, and 400 for the rest.

    Args:
        error: what went wrong.
        before: how the sentence begins, e.g. ``"Update errors: "``.
    """
    if isinstance(error, Conflict):
        return ProxyError(409, before + error.said)
    if isinstance(error, Unsupported):
        return ProxyError(501, before + error.said)
    if isinstance(error, Unavailable):
        # Upstream's words, by which clients know that it is worth trying again.
        return ProxyError(400, f"{before}No response from {error.system} server")
    return ProxyError(400, before + error.said)


@dataclass(frozen=True)
class Form:
    """Fields of a form body; ``key[]`` and ``key`` are the same list."""

    data: FormData

    def get(self, key: str) -> str:
        """The field's last value; empty where it is not given."""
        return next(reversed(self.all(key)), "")

    def all(self, key: str) -> list[str]:
        """All values of a field."""
        values = [*self.data.getlist(key), *self.data.getlist(f"{key}[]")]
        return [value for value in values if isinstance(value, str)]


async def form_of(request: Request) -> Form:
    """The form fields of a request; a body of another type has none, as upstream has it."""
    return Form(await request.form())


def mac_address(given: str) -> str:
    """A MAC address in lower case.

    Raises:
        ProxyError: 400 in upstream's words.
    """
    try:
        return normal_mac(given)
    except ValueError as error:
        raise ProxyError(400, f"Invalid MAC {given}") from error


def address(given: str) -> IPv4Address:
    """An IPv4 address.

    Raises:
        ProxyError: 400 in upstream's words.
    """
    try:
        return IPv4Address(given)
    except AddressValueError as error:
        raise ProxyError(400, f"Invalid IP Address {given}") from error
