"""What runs are called and tagged with, whoever makes them: by that they are found in Prefect."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from hashlib import sha256

from inventory.arrows import Phase

__all__ = ["artifact_key", "run_name", "run_tags"]

_MOST_GROUPS = 3
"""Of a run's hosts: each tag is a row more for every event of the run."""
_NOT_IN_KEYS = re.compile(r"[^a-z0-9]+")


def run_name(phase: Phase, hosts: Sequence[str]) -> str:
    """``inception · web01.example.org``, ``inception · 24 hosts``."""
    return f"{phase.value} · {hosts[0] if len(hosts) == 1 else f'{len(hosts)} hosts'}"


def run_tags(hosts: Sequence[str], groups: Collection[str]) -> list[str]:
    """A lone host's name, and the host groups where they are few; the phase is the deployment's."""
    lone = [f"host:{hosts[0]}"] if len(hosts) == 1 else []
    few = sorted(groups) if len(groups) <= _MOST_GROUPS else []
    return [*lone, *(f"group:{one}" for one in few)]


def artifact_key(kind: str, name: str) -> str:
    """A key for an artifact of a thing, in the few letters that Prefect takes there."""
    digest = sha256(name.encode()).hexdigest()[:6]
    return f"{kind}-{_NOT_IN_KEYS.sub('-', name.lower()).strip('-')}-{digest}"
