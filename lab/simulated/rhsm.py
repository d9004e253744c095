"""A host's registration on a simulated site: the calls of subscription-manager, in their order."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx

__all__ = ["Registration", "register"]

_SECONDS = 30.0
_TRIES = 20


@dataclass(frozen=True)
class Registration:
    """What a kickstart has a host do."""

    url: str
    """Of the front."""
    ca: str
    """As PEM."""
    owner: str
    keys: str


async def register(what: Registration, name: str, packages: Iterable[str], repository: str) -> None:
    """Register, look at what was given, and report; again where the front is away.

    Raises:
        httpx.HTTPError: it was refused, or away for as long as a host would ask.
    """
    for number in range(_TRIES):
        try:
            await _register(what, name, packages, repository)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                raise
            last: httpx.HTTPError = error
        except httpx.TransportError as error:
            last = error
        else:
            return
        await asyncio.sleep(1 + number / 4)
    raise last


async def _register(
    what: Registration, name: str, packages: Iterable[str], repository: str
) -> None:
    context = ssl.create_default_context(cadata=what.ca)
    async with httpx.AsyncClient(base_url=what.url, verify=context, timeout=_SECONDS) as http:
        status = (await http.get("/status/")).raise_for_status().json()
        rels = {one["rel"] for one in (await http.get("/")).raise_for_status().json()}
        answer = await http.post(
            "/consumers",
            params={"owner": what.owner, "activation_keys": what.keys},
            json={"type": "system", "name": name, "facts": {"network.fqdn": name}},
        )
        consumer = answer.raise_for_status().json()
    await asyncio.to_thread(_load, context, consumer["idCert"])
    place = f"/consumers/{consumer['uuid']}"
    async with httpx.AsyncClient(base_url=what.url, verify=context, timeout=_SECONDS) as http:
        (await http.get(f"{place}/certificates/serials")).raise_for_status()
        (await http.get(f"{place}/release")).raise_for_status()
        if "packages" in rels and "combined_reporting" in status["managerCapabilities"]:
            report = _report(packages, repository)
            (await http.put(f"{place}/profiles", json=report)).raise_for_status()


def _report(packages: Iterable[str], repository: str) -> list[dict[str, Any]]:
    listed = [
        {"name": one, "version": "1", "release": "1", "arch": "noarch", "epoch": 0, "vendor": None}
        for one in packages
    ]
    repositories = [{"repositoryid": "labos", "baseurl": [repository]}]
    return [
        {"content_type": "rpm", "profile": listed},
        {"content_type": "enabled_repos", "profile": repositories},
        {"content_type": "modulemd", "profile": []},
    ]


def _load(context: ssl.SSLContext, identity: dict[str, Any]) -> None:
    """OpenSSL takes a certificate from a file only."""
    with tempfile.NamedTemporaryFile("w", prefix="rackrise-identity-") as file:
        file.write(f"{identity['cert']}\n{identity['key']}\n")
        file.flush()
        context.load_cert_chain(file.name)
