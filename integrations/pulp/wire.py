"""Requests to Pulp under one login: Basic costs the server over a CPU second for each request."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from integrations.errors import Refused, Unavailable, Unverified
from integrations.pulp.refusals import SYSTEM, refusal, said
from integrations.pulp.settings import PulpSettings

__all__ = ["Clock", "Sleep", "Wire"]

M = TypeVar("M", bound=BaseModel)
Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]


class _Page(BaseModel):
    next: str | None
    results: list[object]


class _Started(BaseModel):
    task: str


class Wire:
    """Sends requests, logs in when needed, and classifies refusals.

    Args:
        settings: where and as whom.
        transport: instead of the network, for API and content alike.
        sleep: awaited between looks at a task.
        clock: seconds, for the deadlines of tasks.
    """

    def __init__(
        self,
        settings: PulpSettings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
        clock: Clock = time.monotonic,
    ) -> None:
        self.settings = settings
        self.address = settings.url + settings.api_root
        self.sleep = sleep
        self.clock = clock
        # Made once: reading the system's CAs takes longer than a request.
        try:
            tls = ssl.create_default_context(cafile=str(settings.ca) if settings.ca else None)
        except OSError as error:
            said = f"its CA {settings.ca} cannot be read: {error.strerror or error}"
            raise self.refused("prepare TLS", said) from error

        def client() -> httpx.AsyncClient:
            return httpx.AsyncClient(
                transport=transport, verify=tls, timeout=settings.timeout, trust_env=False
            )

        self._http = client()
        # Pulp checks where an unsafe request comes from when it is asked over TLS.
        self._http.headers["Referer"] = self.address
        self.content = client()
        """Asks the content app, which must not see our login."""
        self._login = asyncio.Lock()
        self._logins = 0

    async def close(self) -> None:
        """Give back connections; Pulp forgets the login by itself."""
        await self._http.aclose()
        await self.content.aclose()

    async def read(
        self,
        shape: type[M],
        href: str,
        *,
        operation: str,
        query: Mapping[str, str] | None = None,
    ) -> M:
        """Read one object.

        Args:
            shape: what it must be.
            href: as Pulp gave it, or relative to the API's root.
            operation: what for, in an operator's words.
            query: filters.

        Raises:
            OutsideError: any answer but 200, or none, by branch.
        """
        return self._parsed(shape, await self._ask("GET", href, operation, query=query), operation)

    async def listed(
        self, shape: type[M], href: str, *, operation: str, query: Mapping[str, str] | None = None
    ) -> list[M]:
        """Read all pages of a list, with the arguments of ``read``.

        Without the right to see a thing the list just lacks it.
        """
        found: list[M] = []
        page = await self.read(_Page, href, operation=operation, query=query)
        while True:
            try:
                found += TypeAdapter(list[shape]).validate_python(page.results)  # type: ignore[valid-type]
            except ValidationError as error:
                raise self._unexpected(operation, str(error)) from error
            if page.next is None:
                return found
            # Behind a proxy Pulp may name itself otherwise: only path and query are taken.
            target = httpx.URL(page.next).raw_path.decode()
            page = await self.read(_Page, target, operation=operation)

    async def create(
        self, shape: type[M], href: str, body: Mapping[str, object], *, operation: str
    ) -> M:
        """Create what Pulp creates at once."""
        answer = await self._ask("POST", href, operation, body=body, expected=201)
        return self._parsed(shape, answer, operation)

    async def change(
        self, shape: type[M], href: str, body: Mapping[str, object], *, operation: str
    ) -> str | None:
        """Change some fields.

        Returns:
            The href of the task that does it; None: it is done.
        """
        answer = await self._ask("PATCH", href, operation, body=body, expected=(200, 202))
        if answer.status_code == httpx.codes.OK:
            self._parsed(shape, answer, operation)
            return None
        return self._parsed(_Started, answer, operation).task

    async def start(
        self,
        method: str,
        href: str,
        *,
        operation: str,
        body: Mapping[str, object] | None = None,
    ) -> str:
        """Start a task and return its href."""
        answer = await self._ask(method, href, operation, body=body, expected=202)
        return self._parsed(_Started, answer, operation).task

    async def _ask(
        self,
        method: str,
        href: str,
        operation: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        expected: int | tuple[int, ...] = 200,
    ) -> httpx.Response:
        wanted = expected if isinstance(expected, tuple) else (expected,)
        logins = self._logins
        if logins == 0 and self.settings.user:
            logins = await self._log_in(logins)
        answer = await self._send(method, href, operation, query=query, body=body)
        if _login_is_over(answer) and self.settings.user:
            # Nothing was done, so that even a creation can be sent again.
            await self._log_in(logins)
            answer = await self._send(method, href, operation, query=query, body=body)
        if answer.status_code not in wanted:
            raise refusal(
                answer, user=self.settings.user, address=self.address, operation=operation
            )
        return answer

    async def _log_in(self, logins: int) -> int:
        """Log in, unless another request did so since; returns how many logins there were."""
        async with self._login:
            if self._logins != logins:
                return self._logins
            # With an old login in the cookies Pulp would ask for its CSRF token.
            self._http.cookies.clear()
            operation = f"log in as {self.settings.user}"
            auth = (self.settings.user, self.settings.password.get_secret_value())
            answer = await self._send("POST", "login/", operation, auth=auth)
            if answer.status_code != httpx.codes.CREATED:
                raise refusal(
                    answer, user=self.settings.user, address=self.address, operation=operation
                )
            self._logins += 1
            return self._logins

    async def _send(
        self,
        method: str,
        href: str,
        operation: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        auth: tuple[str, str] | None = None,
    ) -> httpx.Response:
        token = self._http.cookies.get("csrftoken")
        try:
            return await self._http.request(
                method,
                httpx.URL(self.address).join(href),
                params=query,
                json=body,
                auth=auth,
                headers={"X-CSRFToken": token} if token else None,
            )
        except httpx.HTTPError as error:
            raise Unavailable(
                system=SYSTEM,
                address=self.address,
                operation=operation,
                said=str(error) or repr(error),
            ) from error

    def _parsed(self, shape: type[M], answer: httpx.Response, operation: str) -> M:
        try:
            return shape.model_validate_json(answer.text)
        except ValidationError as error:
            raise self._unexpected(operation, answer.text[:200]) from error

    def _unexpected(self, operation: str, text: str) -> Unverified:
        return Unverified(
            system=SYSTEM,
            address=self.address,
            operation=operation,
            said=f"an answer of another shape than Pulp 3's: {text}",
        )

    def refused(self, operation: str, text: str) -> Refused:
        """The error for something that is not in Pulp as it must be."""
        return Refused(system=SYSTEM, address=self.address, operation=operation, said=text)


def _login_is_over(answer: httpx.Response) -> bool:
    return answer.status_code == httpx.codes.UNAUTHORIZED or (
        answer.status_code == httpx.codes.FORBIDDEN and "CSRF" in said(answer)
    )
