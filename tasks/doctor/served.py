"""Whether a file is served over HTTP, without fetching it."""

from __future__ import annotations

import httpx

from integrations.errors import Refused, Unavailable

__all__ = ["require_served"]


async def require_served(http: httpx.AsyncClient, url: str, system: str) -> str:
    """See that a file can be fetched; only its beginning is.

    Raises:
        Refused: it is not there.
        Unavailable: the server does not answer, or fails.
    """
    place = {"system": system, "address": url, "operation": "give the file"}
    try:
        async with http.stream("GET", url, follow_redirects=True) as answer:
            if answer.status_code >= 500:
                raise Unavailable(**place, said=f"HTTP {answer.status_code}")
            if answer.status_code != httpx.codes.OK:
                raise Refused(**place, said=f"HTTP {answer.status_code}: it is not there")
            size = answer.headers.get("Content-Length", "an untold number of")
            return f"{url}, {size} bytes"
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise Refused(**place, said=str(error)) from error
    except httpx.HTTPError as error:
        raise Unavailable(**place, said=str(error) or repr(error)) from error
