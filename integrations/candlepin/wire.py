"""Requests to Candlepin: who asks, and what an answer other than the expected one means."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from integrations.candlepin.settings import CandlepinSettings, OAuthLogin
from integrations.candlepin.signing import OAuth
from integrations.errors import Busy, OutsideError, Refused, Unavailable, Unverified

__all__ = ["AS_CONSUMER", "AS_USER", "SYSTEM", "Wire"]

SYSTEM = "Candlepin"
AS_USER, AS_CONSUMER = "cp-user", "cp-consumer"
"""Headers that say in whose name a signed request is made."""
_OURS = "X-Version"
"""Candlepin's own answers carry it; those of a server that runs without Candlepin do not."""
_LONGEST_QUOTE = 500

Query = Mapping[str, str | Sequence[str]]
M = TypeVar("M", bound=BaseModel)


class Wire:
    """One connection pool to one Candlepin, under one login.

    Args:
        settings: where and as whom.
        transport: instead of the network; for tests.

    Raises:
        Refused: its CA cannot be used.
    """

    def __init__(
        self, settings: CandlepinSettings, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.settings = settings
        login = settings.login
        auth: httpx.Auth
        if isinstance(login, OAuthLogin):
            auth, self._ourselves = OAuth(login), {AS_USER: login.user}
        else:
            auth = httpx.BasicAuth(login.user, login.password.get_secret_value())
            self._ourselves = {}
        tls: ssl.SSLContext | bool = False
        if transport is None:
            try:
                # Made once: reading the system's CAs takes longer than a request.
                tls = settings.tls()
            except ssl.SSLError as error:
                raise self.error(Refused, "prepare TLS", f"its CA is not PEM: {error}") from error

        def client() -> httpx.AsyncClient:
            return httpx.AsyncClient(
                auth=auth,
                transport=transport,
                verify=tls,
                timeout=settings.timeout,
                limits=httpx.Limits(max_connections=settings.connections),
                trust_env=False,
                headers={"Accept": "application/json"},
                # A session that one host was given must not serve another, nor us.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            )

        self._http = client()
        # Hosts that do not read what they asked for hold these connections, and not ours.
        self._passing = client()

    async def close(self) -> None:
        """Give back connections."""
        await self._http.aclose()
        await self._passing.aclose()

    def url(self, path: str, query: Query | None = None) -> httpx.URL:
        """An address below Candlepin's own, spelt as it is signed."""
        return httpx.URL(self.settings.url + path, params=query)

    async def ask(
        self,
        method: str,
        path: str,
        operation: str,
        *,
        query: Query | None = None,
        body: Any = None,
    ) -> httpx.Response:
        """Send a request in our own name; the caller looks at the status.

        Raises:
            Unavailable: nobody answers, or somebody else than Candlepin, or it is suspended.
            Refused: its certificate is not believed.
        """
        request = self._http.build_request(
            method, self.url(path, query), json=body, headers=self._ourselves
        )
        answer = await self.send(request, operation)
        self.require_candlepin(answer, operation)
        return answer

    async def send(
        self, request: httpx.Request, operation: str, *, stream: bool = False
    ) -> httpx.Response:
        """Send a request as it is, signed; ``stream``: whoever called reads and closes the answer.

        Raises:
            Unavailable: nobody answers.
            Refused: its certificate is not believed.
        """
        try:
            return await (self._passing if stream else self._http).send(request, stream=stream)
        except httpx.HTTPError as error:
            said = str(error) or repr(error)
            if "CERTIFICATE_VERIFY_FAILED" in said:
                said = f"its certificate is not of the CA that we were given: {said}"
                raise self.error(Refused, operation, said) from error
            raise self.error(Unavailable, operation, said) from error

    def build(
        self, method: str, path: str, query: Query, headers: Mapping[str, str], body: bytes | None
    ) -> httpx.Request:
        """A request with exactly these headers, and those that HTTP itself needs."""
        return self._http.build_request(
            method, self.url(path, query), headers=headers, content=body
        )

    def require_candlepin(self, answer: httpx.Response, operation: str) -> None:
        """Tell Candlepin's own refusals from those of whatever stands in its place.

        Raises:
            Unavailable: it is away, not deployed, or suspended.
            Busy: it asks to come back later.
        """
        if (away := self.absence(answer)) is not None:
            raise self.error(Unavailable, operation, away)
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise self.error(Busy, operation, self.said(answer))

    def absence(self, answer: httpx.Response) -> str | None:
        """Why this answer shows that Candlepin is not there; its body need not have been read.

        Returns:
            None: it is there, whatever it says.
        """
        status = answer.status_code
        if status == httpx.codes.NOT_FOUND and _OURS not in answer.headers:
            return (
                f"HTTP 404 without {_OURS}: a server answers there, and Candlepin is not deployed"
            )
        if status >= 500 and status != httpx.codes.NOT_IMPLEMENTED:
            return self.said(answer) if answer.is_closed else f"HTTP {status}"
        return None

    def expect(self, answer: httpx.Response, operation: str, *expected: int) -> None:
        """Take only these statuses for success.

        Raises:
            Refused: it is another one.
        """
        if answer.status_code not in expected:
            raise self.error(Refused, operation, self.said(answer))

    def read(self, shape: type[M], answer: httpx.Response, operation: str) -> M:
        """The answer as a record.

        Raises:
            Unverified: it has another shape.
        """
        try:
            return shape.model_validate_json(answer.content)
        except ValidationError as error:
            raise self.unexpected(operation, error) from error

    def said(self, answer: httpx.Response) -> str:
        """Status and words of a refusal; never the whole of a long answer."""
        try:
            words = str(answer.json()["displayMessage"])
        except (ValueError, TypeError, KeyError):
            words = answer.text
        return (
            f"HTTP {answer.status_code}, {' '.join(words.split())[:_LONGEST_QUOTE] or 'no words'}"
        )

    def unexpected(self, operation: str, error: ValidationError) -> Unverified:
        """An answer of another shape; the answer itself is not told, it may hold a key."""
        faults = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}"
            for one in error.errors(include_url=False, include_input=False)
        )
        said = f"an answer of another shape than Candlepin's: {faults}"
        return Unverified(system=SYSTEM, address=self.settings.url, operation=operation, said=said)

    def error(self, kind: type[OutsideError], operation: str, said: str) -> OutsideError:
        """An error of a branch, with this Candlepin's place in it."""
        return kind(system=SYSTEM, address=self.settings.url, operation=operation, said=said)
