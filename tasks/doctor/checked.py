"""What the doctor says of each thing that it has looked at."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

__all__ = ["Checked", "Kind", "Outcome", "failures_last"]


class Kind(StrEnum):
    """The kinds of systems that can be looked at by themselves."""

    DHCP = "dhcp"
    TFTP = "tftp"
    DNS = "dns"
    TREES = "trees"
    PULP = "pulp"
    PUPPET = "puppet"
    CANDLEPIN = "candlepin"
    POWER = "power"
    GATEWAY = "gateway"


class Outcome(StrEnum):
    """How a check has ended."""

    OK = "ok"
    NOT_TRIED = "not tried"
    """What it depends on has failed, or is not there."""
    FAILED = "failed"


class Checked(BaseModel):
    """One check of one system."""

    model_config = ConfigDict(frozen=True)

    system: str
    """As people call it: ``DHCP``, ``Pulp``."""
    place: str
    """Where exactly: the proxy with subnet or zone, the name in the site file."""
    check: str
    """What was tried, as a sentence that is true if it is well."""
    outcome: Outcome
    seen: str
    """What was seen, in the system's own words where it refuses; or why it was not tried."""
    advice: str = ""
    """What to do; empty where nothing is to be done."""
    seconds: float = 0.0
    """How long it took."""


def failures_last(found: Iterable[Checked]) -> list[Checked]:
    """By system, those with failures last, and in each what has failed last."""
    listed = list(found)
    order = list(Outcome)
    ill = {one.system for one in listed if one.outcome is Outcome.FAILED}
    return sorted(
        listed,
        key=lambda one: (one.system in ill, one.system, order.index(one.outcome), one.place),
    )
