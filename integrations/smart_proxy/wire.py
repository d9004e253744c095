"""One request to a Smart Proxy and what its answer means; the features build on it."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import (
    BaseModel,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from integrations.errors import Refused, Unavailable, Unverified
from integrations.smart_proxy.classify import refusal

__all__ = ["Answer", "Form", "SmartProxySettings", "Wire"]

Form = Mapping[str, str | Sequence[str]]
T = TypeVar("T")
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
_DIGEST_SECONDS = 120.0
Sleep = Callable[[float], Awaitable[None]]

_READ_BACK_DELAYS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 3.7)
"""Seconds between reads after a write: 10 s in all, as the ISC provider's readers may lag."""

_TRANSIENT_TLS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLWantReadError)


class SmartProxySettings(BaseModel):
    """Where a Smart Proxy is and how we prove who we are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    """e.g. ``https://proxy.example.org:8443``."""
    boot_url: str = ""
    """Where it serves ``/httpboot`` if on another listener, e.g. ``http://proxy...:8000``."""
    client_cert: Path | None = None
    client_key: Path | None = None
    ca: Path | None = None
    """CA that signed the proxy's certificate; None: the system's."""
    timeout: float = 60
    """Seconds for one answer."""

    @field_validator("url", "boot_url")
    @classmethod
    def _without_slash(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError(f"{value!r} is not an http or https URL")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _cert_with_key(self) -> Self:
        if (self.client_cert is None) != (self.client_key is None):
            raise ValueError("client_cert and client_key belong together: give both or none")
        return self


class Answer:
    """A 200 with its body."""

    def __init__(self, text: str, address: str, operation: str) -> None:
        self.text = text
        self._address = address
        self._operation = operation

    def parsed(self, shape: TypeAdapter[T]) -> T:
        """The body as JSON of this shape, whatever its label: some of it is called HTML.

        Raises:
            Unverified: it is something else.
        """
        try:
            return shape.validate_json(self.text)
        except ValidationError as error:
            raise self.unexpected() from error

    def unexpected(self) -> Unverified:
        """The error for a body that is not what this call answers."""
        return Unverified(
            system="Smart Proxy",
            address=self._address,
            operation=self._operation,
            said=f"200 with an unexpected body: {self.text[:200]!r}",
        )


class Wire:
    """Sends form-encoded requests, one connection each, and classifies refusals.

    Args:
        settings: where and as whom.
        transport: instead of the network: a mock, or an ASGI app in this process.
        sleep: awaited between reads of a read-back; tests give one that does not wait.
    """

    def __init__(
        self,
        settings: SmartProxySettings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.address = settings.url
        self.boot_address = settings.boot_url or settings.url
        self._sleep = sleep
        self._http = httpx.AsyncClient(
            transport=transport,
            verify=_tls(settings) if transport is None else True,
            timeout=settings.timeout,
            # On a kept connection WEBrick needs 45 ms for an answer with a body, and 3-9 ms on a
            # new one (contract, section 2.5).
            limits=httpx.Limits(max_keepalive_connections=0),
            follow_redirects=False,
            trust_env=False,
            headers={"Accept": "application/json"},
        )

    async def close(self) -> None:
        """Give back connections."""
        await self._http.aclose()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        operation: str,
        form: Form | None = None,
        query: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Send a request that must be answered with 200.

        Args:
            method: HTTP method.
            path: starts with the feature's mount, which also names the feature.
            operation: what it is for, in an operator's words.
            form: body; most features ignore JSON bodies.
            query: parameters of the URL.
            auth: user and password of a BMC.
            timeout: seconds, where an answer may take longer than the settings say.

        Raises:
            OutsideError: any other answer, or none, by branch.
        """
        response = await self._send(
            method, path, operation, form=form, query=query, auth=auth, timeout=timeout
        )
        return self._accept(response, path, operation)

    async def find(
        self, path: str, *, operation: str, missing: str, method: str = "GET"
    ) -> Answer | None:
        """Send a request where a 404 may mean that there is none.

        Args:
            path: starts with the feature's mount.
            operation: what it is for, in an operator's words.
            missing: pattern of the text of that 404; a feature that is not served answers 404 too.
            method: HTTP method.
        """
        response = await self._send(method, path, operation)
        if response.status_code == httpx.codes.NOT_FOUND and re.match(missing, response.text):
            return None
        return self._accept(response, path, operation)

    async def boot_file(self, path: str, *, operation: str) -> AsyncIterator[bytes] | None:
        """The bytes of a file below the boot root as HTTP boot serves them; None: no such file."""
        request = self._http.build_request("GET", f"{self.boot_address}/httpboot/{quote(path)}")
        with self._translated(operation):
            response = await self._http.send(request, stream=True)
            if response.status_code != httpx.codes.OK:
                await response.aread()
        if response.status_code == httpx.codes.OK:
            return self._body(response, operation)
        if response.status_code == httpx.codes.NOT_FOUND and response.text == "Not found":
            return None
        self._accept(response, "/httpboot", operation)
        return None

    async def boot_file_digest(self, path: str, *, operation: str) -> tuple[int, str] | None:
        """Size and SHA-256 of a boot file as its proxy reads it from its disk (RFC 9530).

        Returns:
            None where the proxy does not say, as no upstream one does, or has no such file.
        """
        with self._translated(operation):
            response = await self._http.head(
                f"{self.boot_address}/httpboot/{quote(path)}",
                headers={"Want-Repr-Digest": "sha-256=1"},
                # The file is read to its end before this is answered.
                timeout=_DIGEST_SECONDS,
            )
        told = _DIGEST.search(response.headers.get("repr-digest", ""))
        size = response.headers.get("content-length", "")
        if response.status_code != httpx.codes.OK or told is None or not size.isdecimal():
            return None
        return int(size), base64.b64decode(told[1]).hex()

    async def read_back(self, holds: Callable[[], Awaitable[bool]]) -> bool:
        """Read until what was written is there: providers may lag by seconds (section 3.3).

        Returns:
            Whether it was there within 10 s.
        """
        for delay in _READ_BACK_DELAYS:
            if delay:
                await self._sleep(delay)
            if await holds():
                return True
        return False

    def unverified(self, operation: str, said: str) -> Unverified:
        """The error for a 200 that reading back does not confirm."""
        return Unverified(
            system="Smart Proxy", address=self.address, operation=operation, said=said
        )

    def refused(self, operation: str, said: str) -> Refused:
        """The error for input that the proxy could only answer wrongly."""
        return Refused(system="Smart Proxy", address=self.address, operation=operation, said=said)

    async def _send(
        self,
        method: str,
        path: str,
        operation: str,
        *,
        form: Form | None = None,
        query: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
    ) -> httpx.Response:
        with self._translated(operation):
            return await self._http.request(
                method,
                f"{self.address}{path}",
                data=dict(form) if form is not None else None,
                params=dict(query) if query else None,
                auth=auth,
                timeout=httpx.USE_CLIENT_DEFAULT if timeout is None else timeout,
            )

    def _accept(self, response: httpx.Response, path: str, operation: str) -> Answer:
        if response.status_code == httpx.codes.OK:
            return Answer(response.text, self.address, operation)
        raise refusal(
            feature=path.removeprefix("/").partition("/")[0],
            status=response.status_code,
            text=response.text,
            address=self.address,
            operation=operation,
        )

    async def _body(self, response: httpx.Response, operation: str) -> AsyncIterator[bytes]:
        try:
            with self._translated(operation):
                async for chunk in response.aiter_bytes():
                    yield chunk
        finally:
            await response.aclose()

    @contextmanager
    def _translated(self, operation: str) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            fault = _tls_fault(error)
            kind = Unavailable if fault is None else Refused
            raise kind(
                system="Smart Proxy",
                address=self.address,
                operation=operation,
                said=str(fault or error) or type(error).__name__,
            ) from error


def _tls(settings: SmartProxySettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.client_cert is not None:
        context.load_cert_chain(settings.client_cert, settings.client_key)
    return context


def _tls_fault(error: BaseException) -> ssl.SSLError | None:
    """The refusal of a certificate behind an error: waiting does not mend it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, _TRANSIENT_TLS):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None
