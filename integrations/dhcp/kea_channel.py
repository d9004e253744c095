"""How commands reach Kea: one seam, because its own socket and its control agent differ in form.

Kea puts its errors into the member ``result`` of an answer that is a success for HTTP, so an answer
is only handed on after its result was looked at.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Protocol

import httpx
from pydantic import SecretStr

from integrations.dhcp.rules import SYSTEM
from integrations.errors import OutsideError, Refused, Unavailable, Unsupported

__all__ = ["AgentChannel", "Json", "KeaChannel", "UnixChannel", "ask"]

Json = dict[str, Any]
"""An object of Kea's protocol; it never leaves this package."""

_DONE, _UNSUPPORTED, _EMPTY = 0, 2, 3


class KeaChannel(Protocol):
    """Carries one command to Kea's DHCPv4 server and its answer back."""

    address: str

    async def send(self, command: str, arguments: Json | None) -> Json:
        """Return the answer as it came, its ``result`` not looked at.

        Raises:
            Unavailable: no answer, or not in time.
            Refused: not with these credentials, or not an answer of Kea's.
        """
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


async def ask(
    channel: KeaChannel, command: str, arguments: Json | None = None, *, operation: str
) -> Json | None:
    """Send a command and honour its result.

    Returns:
        The answer's arguments (an empty object if it has none), or None for "empty, not found".

    Raises:
        Unavailable: no answer, or not in time.
        Unsupported: this Kea does not know the command.
        Refused: Kea said no.
    """
    answer = await channel.send(command, arguments)
    result, said = answer.get("result"), str(answer.get("text", "no reason given"))
    if result == _EMPTY:
        return None
    if result == _DONE:
        found = answer.get("arguments", {})
        # list-commands answers with a list; everything else with an object.
        return found if isinstance(found, dict) else {"list": found}
    kind: type[OutsideError] = Unsupported if result == _UNSUPPORTED else Refused
    if said.startswith("unable to forward command"):
        kind = Unavailable  # the agent lives, the server behind it does not
    raise kind(
        system=SYSTEM, address=channel.address, operation=operation, said=f"{command}: {said}"
    )


class UnixChannel:
    """Kea's own control socket, for a program on the same host.

    Args:
        path: the socket.
        timeout: seconds that one command may take.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self.address = str(path)
        self._path = path
        self._timeout = timeout

    async def send(self, command: str, arguments: Json | None) -> Json:
        """Send one object, end the sending side, read one object to the end."""
        request: Json = {"command": command}
        if arguments is not None:
            request["arguments"] = arguments
        try:
            async with asyncio.timeout(self._timeout):
                raw = await self._exchange(json.dumps(request).encode())
        except TimeoutError:
            said = f"no answer within {self._timeout:g} s"
            raise self._failure(Unavailable, command, said) from None
        except PermissionError as error:
            raise self._failure(Refused, command, str(error)) from error
        except OSError as error:
            raise self._failure(Unavailable, command, str(error)) from error
        if not raw:
            # A server that ends in the middle of a command closes the socket without a word.
            raise self._failure(Unavailable, command, "the connection was closed without an answer")
        return _object(self, command, raw)

    async def _exchange(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._path)
        try:
            writer.write(request)
            writer.write_eof()
            await writer.drain()
            return await reader.read()
        finally:
            writer.close()

    def _failure(self, kind: type[OutsideError], command: str, said: str) -> OutsideError:
        return kind(system=SYSTEM, address=self.address, operation=f"run {command}", said=said)

    async def close(self) -> None:
        """Nothing is kept open between commands."""


class AgentChannel:
    """Kea's control agent over HTTP.

    Args:
        url: the agent's address.
        user: for basic authentication; empty for none.
        password: likewise.
        timeout: seconds that one command may take.
        transport: how to reach it otherwise than by a socket.
    """

    def __init__(
        self,
        url: str,
        user: str,
        password: SecretStr,
        timeout: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.address = url
        auth = httpx.BasicAuth(user, password.get_secret_value()) if user else None
        self._client = httpx.AsyncClient(auth=auth, timeout=timeout, transport=transport)
        self._timeout = timeout

    async def send(self, command: str, arguments: Json | None) -> Json:
        """Post one object that names the service; the answer is a list with one object for it."""
        request: Json = {"command": command, "service": ["dhcp4"]}
        if arguments is not None:
            request["arguments"] = arguments
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._client.post(self.address, json=request)
        except TimeoutError:
            said = f"no answer within {self._timeout:g} s"
            raise self._failure(Unavailable, command, said) from None
        except httpx.HTTPError as error:
            said = str(error) or type(error).__name__
            raise self._failure(Unavailable, command, said) from error
        if response.status_code in (401, 403):
            raise self._failure(
                Refused, command, f"HTTP {response.status_code}: wrong user or password"
            )
        if response.status_code != 200:
            kind = Unavailable if response.status_code >= 500 else Refused
            raise self._failure(kind, command, f"HTTP {response.status_code}")
        return _object(self, command, response.content)

    def _failure(self, kind: type[OutsideError], command: str, said: str) -> OutsideError:
        return kind(system=SYSTEM, address=self.address, operation=f"run {command}", said=said)

    async def close(self) -> None:
        """Close the connections that were kept open."""
        await self._client.aclose()


def _object(channel: KeaChannel, command: str, raw: bytes) -> Json:
    try:
        answer = json.loads(raw)
    except ValueError:
        answer = None
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict):
        raise Refused(
            system=SYSTEM,
            address=channel.address,
            operation=f"run {command}",
            said=f"this is not Kea's answer: {raw[:80]!r}",
        )
    return answer
