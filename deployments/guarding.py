"""Guards Prefect's API: whoever reaches it may start flows and read the credentials in its blocks.

Its server asks for a name and a password, or for nothing. On the network of the hosts that are
provisioned there are machines that nobody has looked at yet, so it is never left open.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

__all__ = [
    "USER",
    "Unguarded",
    "from_here",
    "guarded",
    "in_url",
    "is_loopback",
    "made_once",
    "require_guarded",
    "same_origin",
]

USER = "rackrise"
"""The one user that Prefect's API knows."""
_SERVER, _CLIENT = "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"


class Unguarded(RuntimeError):
    """Prefect's API would be open to a network."""


def made_once(file: Path) -> str:
    """A secret that is made when it is first asked for; its file is its owner's to read only.

    Raises:
        RuntimeError: the file is there and empty: something has cut it off.
    """
    if not file.exists():
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as out:
            out.write(secrets.token_hex(32))
    secret = file.read_text().strip()
    if not secret:
        raise RuntimeError(
            f"{file} is empty: restore it from a backup, or remove it to get another"
        )
    return secret


def guarded(secret: str, origin: str) -> dict[str, str]:
    """Environment of Prefect's server and of all that speaks with it.

    Nothing against forged requests of other sites (CSRF) is switched on: browsers send this
    password only where Prefect's own page does so, never by themselves, and each write would cost
    a look-up more.

    Args:
        secret: the password.
        origin: URL of Prefect's UI.
    """
    both = f"{USER}:{secret}"
    return {
        _SERVER: both,
        _CLIENT: both,
        **same_origin(origin),
    }


def same_origin(origin: str) -> dict[str, str]:
    """Environment of a Prefect server whose API is for its own page."""
    return {
        # Else scripts of any page in an operator's browser may read its answers.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origin,
        # Where the page came from, or it does not work through a tunnel or a proxy.
        "PREFECT_UI_API_URL": "/api",
    }


def in_url(host: str) -> str:
    """An address as URLs have it."""
    return f"[{host}]" if ":" in host else host


def from_here(host: str) -> str:
    """The address by which programs on this machine reach what listens there."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
    return everywhere.get(host, host)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_guarded(host: str, environment: Mapping[str, str]) -> None:
    """See that Prefect's server asks who comes, before it listens to a network.

    Raises:
        Unguarded: it would not.
    """
    _, _, password = environment.get(_SERVER, "").partition(":")
    if not password and not is_loopback(host):
        raise Unguarded(
            f"Prefect's API would be open to everybody who reaches {host}: set {_SERVER} and "
            f"{_CLIENT} to the same {USER}:PASSWORD, or let it listen on 127.0.0.1"
        )
