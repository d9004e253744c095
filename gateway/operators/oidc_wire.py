"""Asks an OpenID provider over HTTPS: bounded in time and size, and what fails is a sentence."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

__all__ = ["ProviderAnswer", "ProviderAway", "SignInFailed", "Wire", "in_words"]

_MOST_BYTES = 1 << 20
_SEE_CA = (
    "An admin should give the CA that signed its certificate: RACKRISE_GATEWAY_OIDC_CA; if the "
    "certificate has expired, have it renewed."
)


class SignInFailed(Exception):
    """Somebody is not signed in.

    Args:
        said: what happened.
        advice: what to do, and who has to.
        status: of HTTP.
    """

    def __init__(self, said: str, advice: str, status: int = 403) -> None:
        self.said = said
        self.advice = advice
        self.status = status
        super().__init__(said)


class ProviderAway(SignInFailed):
    """The provider does not answer, or not as a provider does: nobody was refused."""

    def __init__(self, said: str, advice: str = "", status: int = 502) -> None:
        wait = "Try again in a while, or sign in with a password if you have one here."
        super().__init__(said, f"{advice} {wait}".lstrip(), status)


@dataclass(frozen=True)
class ProviderAnswer:
    """What it has answered."""

    status: int
    body: dict[str, Any]
    """Empty where it was no JSON object."""


class Wire:
    """How a provider is reached.

    Args:
        ca: of its certificate; None: the system's.
        seconds: longest time for one answer.

    Raises:
        OSError: the CA cannot be read.
    """

    def __init__(self, ca: Path | None, seconds: float) -> None:
        self._tls = ssl.create_default_context(cafile=ca)
        self._seconds = seconds

    async def get(self, url: str, what: str) -> dict[str, Any]:
        """Read a JSON object.

        Args:
            url: where.
            what: it is, for the sentence that says that it could not be read.

        Raises:
            ProviderAway: there is none.
        """
        answer = await self._ask("GET", url, what)
        if answer.status != httpx.codes.OK or not answer.body:
            raise ProviderAway(
                f"the provider's {what} at {url} cannot be read: HTTP {answer.status}"
                + ("" if answer.body else ", and no JSON object"),
                "An admin should compare RACKRISE_GATEWAY_OIDC_ISSUER with the provider's issuer.",
            )
        return answer.body

    async def post(
        self,
        url: str,
        what: str,
        form: Mapping[str, str],
        headers: Mapping[str, str],
    ) -> ProviderAnswer:
        """Send a form.

        Raises:
            ProviderAway: nobody answers, or only that it fails.
        """
        answer = await self._ask("POST", url, what, form, headers)
        if not (answer.status == httpx.codes.OK or 400 <= answer.status < 500):
            raise ProviderAway(f"the provider's {what} fails: HTTP {answer.status}")
        return answer

    async def _ask(
        self,
        method: str,
        url: str,
        what: str,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ProviderAnswer:
        sent = {"Accept": "application/json", **(headers or {})}
        try:
            async with (
                httpx.AsyncClient(verify=self._tls, timeout=self._seconds, trust_env=False) as http,
                http.stream(method, url, data=form, headers=sent) as answer,
            ):
                body = bytearray()
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > _MOST_BYTES:
                        raise ProviderAway(
                            f"the provider's {what} has more than {_MOST_BYTES} bytes"
                        )
                return ProviderAnswer(answer.status_code, _object(bytes(body)))
        except httpx.TimeoutException as error:
            said = f"the provider's {what} has not answered within {self._seconds:g} s"
            raise ProviderAway(said, status=504) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Not what the library says of the request: there may be a code in it.
            said = str(error) or type(error).__name__
            advice = _SEE_CA if "CERTIFICATE_VERIFY_FAILED" in said else ""
            raise ProviderAway(f"the provider's {what} is not reachable: {said}", advice) from error


def in_words(error: object, description: object) -> str:
    """An error of OAuth's as a provider tells it, fit for one line of a log."""
    parts = [_line(error, 60)]
    if description:
        parts.append(f"({_line(description, 200)})")
    return " ".join(parts)


def _line(text: object, most: int) -> str:
    return "".join(one if one.isprintable() else " " for one in str(text)[:most])


def _object(body: bytes) -> dict[str, Any]:
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}
