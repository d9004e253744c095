"""The CA of a Puppet server: what certificate a host has, to sign it, and to take it away."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Self

import httpx
from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from integrations.errors import (
    Busy,
    OutsideError,
    Refused,
    Unavailable,
    Unsupported,
    Unverified,
)
from integrations.puppet.names import is_certname
from integrations.puppet.settings import PuppetSettings

__all__ = ["SYSTEM", "CertificateState", "CertificateStatus", "PuppetCa"]

SYSTEM = "Puppet CA"
_LONGEST_QUOTE = 500


class CertificateState(StrEnum):
    """What the CA has of a name."""

    REQUESTED = "requested"
    SIGNED = "signed"
    REVOKED = "revoked"


def _moment(value: object) -> object:
    # The CA's own spelling, which no ISO reader takes: 2026-11-21T13:39:22UTC.
    if isinstance(value, str) and value.endswith("UTC"):
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SUTC").replace(tzinfo=UTC)
    return value


class CertificateStatus(BaseModel):
    """One certificate, or the request for one."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    state: CertificateState
    fingerprint: str
    """Of the request while it waits, of the certificate once it is signed; SHA-256."""
    serial_number: int | None = None
    not_after: Annotated[datetime | None, BeforeValidator(_moment)] = None

    def __str__(self) -> str:
        until = f" until {self.not_after:%Y-%m-%d}" if self.not_after else ""
        return f"{self.state}{until}, SHA-256 {self.fingerprint.replace(':', '')[:16].lower()}…"


_STATUSES = TypeAdapter(list[CertificateStatus])


class PuppetCa:
    """Drives the CA API, version 1, of one Puppet server (contract: ``puppet.md``, section 2).

    All methods raise from ``integrations.errors``.

    Example:
        async with PuppetCa(settings) as ca:
            await ca.clean("web01.example.org")

    Args:
        settings: where it is and who we are.
        transport: instead of the network; for tests.
    """

    def __init__(
        self, settings: PuppetSettings, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.settings = settings
        tls: ssl.SSLContext | bool = False
        if transport is None:
            try:
                tls = settings.tls()
            except (ssl.SSLError, ValueError) as error:
                said = f"our certificate, key or the CA cannot be used: {error}"
                raise Refused(
                    system=SYSTEM, address=settings.url, operation="prepare TLS", said=said
                ) from error
        self._http = httpx.AsyncClient(
            base_url=f"{settings.url}/puppet-ca/v1",
            transport=transport,
            verify=tls,
            timeout=settings.timeout,
            trust_env=False,
            # Else the type of an answer is */* (contract).
            headers={"Accept": "application/json"},
        )

    async def close(self) -> None:
        """Give back connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def status(self, name: str) -> CertificateStatus | None:
        """What the CA has under a name; None: nothing."""
        operation = f"tell the certificate of {name}"
        answer = await self._ask("GET", f"certificate_status/{_checked(name)}", operation)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        self._expect(answer, operation, httpx.codes.OK)
        try:
            return CertificateStatus.model_validate_json(answer.text)
        except ValidationError as error:
            raise self._unexpected(operation, answer) from error

    async def pending(self) -> list[CertificateStatus]:
        """All requests that wait to be signed."""
        operation = "list the requests that wait"
        # The word in the path is not read, but must be there.
        answer = await self._ask("GET", "certificate_statuses/any?state=requested", operation)
        self._expect(answer, operation, httpx.codes.OK)
        try:
            found = _STATUSES.validate_json(answer.text)
        except ValidationError as error:
            raise self._unexpected(operation, answer) from error
        return [one for one in found if one.state is CertificateState.REQUESTED]

    async def request(self, name: str) -> str | None:
        """The request of a name, as PEM, while it waits; None: none does."""
        operation = f"give the request of {name}"
        answer = await self._ask(
            "GET", f"certificate_request/{_checked(name)}", operation, accept="text/plain"
        )
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        self._expect(answer, operation, httpx.codes.OK)
        return answer.text

    async def sign(self, name: str) -> CertificateStatus:
        """Sign the request of a name; one that is signed already is success.

        Raises:
            Refused: there is no request, or it asks for what the CA does not give.
            Unverified: it said yes, and the certificate is not there.
        """
        operation = f"sign the certificate of {name}"
        answer = await self._put_state(name, "signed", operation)
        if answer.status_code != httpx.codes.CONFLICT:
            self._expect(answer, operation, httpx.codes.NO_CONTENT)
        # A conflict is also what a second sign gets: what is there decides, and not the answer.
        there = await self.status(name)
        if there is not None and there.state is CertificateState.SIGNED:
            return there
        if answer.status_code == httpx.codes.CONFLICT:
            raise self._refused(operation, answer)
        raise self._unverified(operation, there)

    async def revoke(self, name: str) -> CertificateStatus:
        """Revoke the certificate of a name; a revoked one is success.

        Hosts and servers learn of it only when they load the CA's list anew, seconds later.

        Raises:
            Refused: there is no signed certificate.
            Unverified: it said yes, and the certificate is not revoked.
        """
        operation = f"revoke the certificate of {name}"
        answer = await self._put_state(name, "revoked", operation)
        self._expect(answer, operation, httpx.codes.NO_CONTENT)
        there = await self.status(name)
        if there is None or there.state is not CertificateState.REVOKED:
            raise self._unverified(operation, there)
        return there

    async def clean(self, name: str) -> None:
        """Leave nothing under a name, so that its next life can begin; nothing there is success.

        Two calls: the first revokes and removes a certificate and passes a waiting request by, the
        second removes that.

        Raises:
            Unverified: it said yes, and something is still there.
        """
        operation = f"clean {name}"
        # 200 with a sentence also for names that it does not have (contract).
        answer = await self._ask("PUT", "clean", operation, body={"certnames": [_checked(name)]})
        self._expect(answer, operation, httpx.codes.OK)
        await self.forget(name)

    async def forget(self, name: str) -> None:
        """Drop what waits under a name without revoking anything; nothing there is success.

        Raises:
            Unverified: it said yes, and something is still there.
        """
        operation = f"drop what it has of {name}"
        answer = await self._ask("DELETE", f"certificate_status/{_checked(name)}", operation)
        if answer.status_code != httpx.codes.NOT_FOUND:
            self._expect(answer, operation, httpx.codes.NO_CONTENT)
        there = await self.status(name)
        if there is not None:
            raise self._unverified(operation, there)

    async def _put_state(self, name: str, state: str, operation: str) -> httpx.Response:
        place = f"certificate_status/{_checked(name)}"
        return await self._ask("PUT", place, operation, body={"desired_state": state})

    async def _ask(
        self,
        method: str,
        place: str,
        operation: str,
        *,
        body: Mapping[str, object] | None = None,
        accept: str = "application/json",
    ) -> httpx.Response:
        try:
            return await self._http.request(method, place, json=body, headers={"Accept": accept})
        except httpx.HTTPError as error:
            said = str(error) or repr(error)
            kind: type[OutsideError] = Unavailable
            if "CERTIFICATE_VERIFY_FAILED" in said:
                kind, said = Refused, f"its certificate is not of the CA that we were given: {said}"
            elif "ALERT" in said and "CERTIFICATE" in said:
                kind, said = Refused, f"it does not accept our certificate: {said}"
            raise kind(
                system=SYSTEM, address=self.settings.url, operation=operation, said=said
            ) from error

    def _expect(self, answer: httpx.Response, operation: str, expected: int) -> None:
        if answer.status_code != expected:
            raise self._refused(operation, answer)

    def _refused(self, operation: str, answer: httpx.Response) -> OutsideError:
        status = answer.status_code
        words = " ".join(answer.text.split())[:_LONGEST_QUOTE] or "no words"
        said = f"HTTP {status}, {words}"
        kind: type[OutsideError] = Refused
        if status == httpx.codes.FORBIDDEN:
            said += (
                " (our certificate lacks the extension pp_cli_auth, and no rule of auth.conf names"
                " it)"
            )
        elif status in (429, 503):
            kind = Busy
        elif status >= 500:
            kind = Unavailable
        elif status == httpx.codes.METHOD_NOT_ALLOWED:
            kind = Unsupported
        return kind(system=SYSTEM, address=self.settings.url, operation=operation, said=said)

    def _unverified(self, operation: str, there: CertificateStatus | None) -> Unverified:
        return Unverified(
            system=SYSTEM,
            address=self.settings.url,
            operation=operation,
            said=f"it answered yes, and has {there.state if there else 'nothing'} under the name",
        )

    def _unexpected(self, operation: str, answer: httpx.Response) -> Unverified:
        return Unverified(
            system=SYSTEM,
            address=self.settings.url,
            operation=operation,
            said=f"an answer of another shape than a Puppet CA's: {answer.text[:200]}",
        )


def _checked(name: str) -> str:
    """A certname that may stand in a path.

    Raises:
        ValueError: it is none; the CA takes lower case only.
    """
    if not is_certname(name):
        raise ValueError(f"{name!r} is not a certname: lower case letters, digits, dots, - and _")
    return name
