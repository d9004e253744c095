"""The double of a Puppet server's CA: the calls that Rackrise and agents make, in this process.

It passes the contract tests of the real one (``tests/integrations/puppet``). It speaks plain HTTP
through an ASGI transport, so whoever can call it is its administrator, and what it signs is no
certificate: nobody may show one to anybody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

__all__ = ["PuppetDouble"]

_STAMP = "%Y-%m-%dT%H:%M:%SUTC"
_LIFE = timedelta(days=5 * 365)


@dataclass
class _Entry:
    """What the CA has of one name."""

    pem: str
    state: str = "requested"
    serial: int | None = None


@dataclass
class PuppetDouble:
    """A CA that keeps its certificates in memory.

    Args:
        down: every call ends in 503, as while the server starts.
        drops: what is asked of it is answered with yes, and not done.
        autosign: is asked of each request, by name and PEM; None: all wait.
    """

    down: bool = False
    drops: bool = False
    autosign: Callable[[str, str], Awaitable[bool]] | None = None
    changes: list[tuple[str, str]] = field(default_factory=list)
    """What its log says: ``signed`` or ``removed``, and whose."""
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _serial: int = 0

    def names(self) -> list[str]:
        """The names that it has a certificate or a request of."""
        return sorted(self._entries)

    def forget(self) -> None:
        """Be a new CA."""
        self._entries.clear()

    @property
    def app(self) -> Starlette:
        """The API, version 1."""
        base = "/puppet-ca/v1"
        return Starlette(
            routes=[
                Route(f"{base}/certificate_status/{{name}}", self._status, methods=["GET"]),
                Route(f"{base}/certificate_status/{{name}}", self._change, methods=["PUT"]),
                Route(f"{base}/certificate_status/{{name}}", self._delete, methods=["DELETE"]),
                Route(f"{base}/certificate_statuses/{{any}}", self._statuses, methods=["GET"]),
                Route(f"{base}/certificate_request/{{name}}", self._request, methods=["GET"]),
                Route(f"{base}/certificate_request/{{name}}", self._ask, methods=["PUT"]),
                Route(f"{base}/clean", self._clean, methods=["PUT"]),
            ]
        )

    async def _status(self, request: Request) -> Response:
        entry = self._entries.get(name := request.path_params["name"])
        if self.down:
            return _text(503, "Service Unavailable")
        return JSONResponse(_told(name, entry)) if entry else _text(404, "Resource not found.")

    async def _statuses(self, request: Request) -> Response:
        wanted = request.query_params.get("state")
        return JSONResponse(
            [_told(name, one) for name, one in self._entries.items() if wanted in (None, one.state)]
        )

    async def _change(self, request: Request) -> Response:
        name, wanted = request.path_params["name"], (await request.json()).get("desired_state")
        entry = self._entries.get(name)
        if self.down:
            return _text(503, "Service Unavailable")
        if wanted is None:
            return _text(400, 'Missing required parameter "desired_state"')
        if wanted not in ("signed", "revoked"):
            words = "Must specify desired state of 'signed' or 'revoked' for host"
            return _text(400, f"State {wanted} invalid; {words} {name}.")
        if wanted == "signed":
            return self._sign(name, entry)
        if entry is None or entry.state == "requested":
            said = f"Cannot revoke certificate for host {name} without a signed certificate"
            return _text(409, said)
        if not self.drops:
            entry.state = "revoked"
        return Response(status_code=204)

    def _sign(self, name: str, entry: _Entry | None) -> Response:
        if entry is None:
            return _text(404, "Invalid certificate subject.")
        if entry.state != "requested":
            said = f"Cannot sign certificate for host {name} without a certificate request"
            return _text(409, said)
        if strange := _alternative_names(entry.pem, name):
            words = "contains extra subject alternative names"
            listed = ", ".join(f"DNS:{one}" for one in strange)
            return _text(409, f"CSR '{name}' {words} ({listed}), which are disallowed.")
        if not self.drops:
            self._serial += 1
            entry.state, entry.serial = "signed", self._serial
            self.changes.append(("signed", name))
        return Response(status_code=204)

    async def _delete(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._entries:
            return _text(404, "Resource not found.")
        if not self.drops:
            del self._entries[name]
            self.changes.append(("removed", name))
        return Response(status_code=204)

    async def _clean(self, request: Request) -> Response:
        if self.down:
            return _text(503, "Service Unavailable")
        names = (await request.json()).get("certnames")
        if names is None:
            return _text(400, "Missing required key: 'certnames'.")
        # A request that waits is passed by, and counts as nothing there.
        there = [
            one for one in names if one in self._entries and self._entries[one].state != "requested"
        ]
        for one in there:
            if not self.drops:
                del self._entries[one]
                self.changes.append(("removed", one))
        missing = [one for one in names if one not in there]
        said = "The following certs do not exist and cannot be revoked"
        return _text(200, f"{said}: {missing}" if missing else "Successfully cleaned all certs.")

    async def _request(self, request: Request) -> Response:
        entry = self._entries.get(name := request.path_params["name"])
        if entry is None or entry.state != "requested":
            return _text(404, f"Could not find certificate_request {name}")
        return _text(200, entry.pem)

    async def _ask(self, request: Request) -> Response:
        name, pem = request.path_params["name"], (await request.body()).decode()
        if name != name.lower():
            return _text(400, "Certificate names must be lower case.")
        common = _common_name(pem)
        if common != name:
            return _text(400, f'Instance name "{common}" does not match requested key "{name}"')
        if known := self._entries.get(name):
            words = f"already has a {known.state} certificate; ignoring certificate request"
            return _text(400, f"{name} {words}")
        self._entries[name] = _Entry(pem)
        if self.autosign is not None and await self.autosign(name, pem):
            self._sign(name, self._entries.get(name))
        return Response(status_code=200)


def _text(status: int, words: str) -> Response:
    return PlainTextResponse(words, status)


def _told(name: str, entry: _Entry) -> dict[str, object]:
    digest = hashlib.sha256(f"{entry.state} {entry.pem}".encode()).hexdigest().upper()
    fingerprint = ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))
    told: dict[str, object] = {
        "name": name,
        "state": entry.state,
        "fingerprint": fingerprint,
        "fingerprints": {"SHA256": fingerprint, "default": fingerprint},
        "dns_alt_names": [],
        "subject_alt_names": [],
        "authorization_extensions": {},
    }
    if entry.serial is not None:
        now = datetime.now(UTC)
        told |= {
            "serial_number": entry.serial,
            "not_before": now.strftime(_STAMP),
            "not_after": (now + _LIFE).strftime(_STAMP),
        }
    return told


def _common_name(pem: str) -> str:
    subject = x509.load_pem_x509_csr(pem.encode()).subject
    return str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _alternative_names(pem: str, name: str) -> list[str]:
    request = x509.load_pem_x509_csr(pem.encode())
    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [one for one in names.get_values_for_type(x509.DNSName) if one != name]
