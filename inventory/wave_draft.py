"""A wave as somebody asks for it, before it is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

from inventory.errors import BadWave
from inventory.host_names import LABEL

__all__ = ["MOST_HOSTS", "Draft", "require_sound"]

MOST_HOSTS = 10_000
_MOST = 2**31 - 1
"""What PostgreSQL's integers hold."""


@dataclass(frozen=True)
class Draft:
    """A wave as it is asked for."""

    name: str
    host_group: str
    """Name of the group that the hosts become."""
    hosts: tuple[str, ...]
    """Names, in the order in which they are ordered."""
    canary: int = 1
    growth: float = 2.0
    """How many times as large as the batch before a batch is; 1: all are as large as the canary."""
    largest: int = 0
    """Hosts of a batch at most; 0: no limit."""
    failure_share: float = 0.1
    """It stops when more than this share of the hosts tried have failed; from 0 to 1."""
    per_subnet: int = 0
    """Hosts under way at a time in the group's subnet, whoever ordered them; 0: no limit."""
    per_boot_server: int = 0
    per_pulp: int = 0
    rebuild: bool = False
    """Hosts that have a system may be in it, and are installed anew; else they are refused."""


def require_sound(draft: Draft) -> None:
    """Refuse a draft that makes no sense, whatever hosts there are.

    Raises:
        BadWave: says all that is wrong.
    """
    wrong = [*_wrong_words(draft), *_wrong_numbers(draft)]
    if wrong:
        raise BadWave(wrong)


def _wrong_words(draft: Draft) -> list[str]:
    wrong = []
    if not LABEL.fullmatch(draft.name):
        wrong.append(f"{draft.name!r} is no name: lower-case letters, digits and -, 63 at most")
    elif draft.name == "new":
        wrong.append("no wave is called new: the console's form is at that address")
    if not draft.hosts:
        wrong.append("it has no hosts: name at least one")
    if len(draft.hosts) > MOST_HOSTS:
        wrong.append(f"it has {len(draft.hosts)} hosts, and a wave has {MOST_HOSTS} at most")
    return wrong


def _wrong_numbers(draft: Draft) -> list[str]:
    wrong = []
    if not 1 <= draft.canary <= _MOST:
        wrong.append(f"canary is {draft.canary}, and must be 1 at least")
    if not (math.isfinite(draft.growth) and draft.growth >= 1):
        wrong.append(f"growth is {draft.growth}, and must be 1 at least")
    if not 0 <= draft.failure_share <= 1:
        wrong.append(f"the share of failures is {draft.failure_share}, and must be from 0 to 1")
    for what, number in (
        ("the largest batch", draft.largest),
        ("the limit per subnet", draft.per_subnet),
        ("the limit per boot server", draft.per_boot_server),
        ("the limit per Pulp", draft.per_pulp),
    ):
        if not 0 <= number <= _MOST:
            wrong.append(f"{what} is {number}, and must be 0 (none) or more")
    if 0 < draft.largest < draft.canary:
        wrong.append("the canary is larger than the largest batch")
    return wrong
