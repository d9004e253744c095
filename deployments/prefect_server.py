"""Prefect's server by itself, set up as ``rackrise up`` has it: ``rackrise prefect``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from deployments.guarding import from_here, in_url, require_guarded, same_origin
from deployments.up import PREFECT_SETTINGS

__all__ = ["become", "settings"]


def settings(host: str, port: int, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a server that listens there; what is set already stays.

    Raises:
        Unguarded: it would be open to a network.
    """
    require_guarded(host, environment)
    origin = f"http://{in_url(from_here(host))}:{port}"
    return {**PREFECT_SETTINGS, **same_origin(origin), **environment}


def become(host: str, port: int) -> None:
    """Go on as Prefect's server.

    Raises:
        Unguarded: it would be open to a network.
    """
    command = [sys.executable, "-m", "prefect", "server", "start"]
    command += ["--host", host, "--port", str(port)]
    os.execve(sys.executable, command, settings(host, port, os.environ))  # noqa: S606
