"""The thirty-four arrows of the specification under their numbers: the one table of steps.

Numbers are used in the database, in task names, in the console and in talk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "ACTORS",
    "ARROWS",
    "PROFILED",
    "TITLES",
    "WAY",
    "Arrow",
    "Evidence",
    "Needs",
    "Phase",
    "arrow",
    "arrows_of",
    "deed",
]


class Phase(StrEnum):
    """A part of a host's life that one flow carries out; the last two have no arrows."""

    DISCOVERY = "discovery-intake"
    INCEPTION = "inception"
    ANACONDA = "anaconda-build"
    FIRST_BOOT = "first-boot"
    CANCEL = "cancel"
    """Undoes what a build has changed outside."""
    DECOMMISSION = "decommission"
    """Undoes what all builds of a host have changed outside."""


class Evidence(StrEnum):
    """How we know that an arrow happened, the best last."""

    IMPLIED = "implied"
    """A later arrow cannot have happened without it."""
    REPORTED = "reported"
    """A system or the host told us."""
    OBSERVED = "observed"
    """Read back from the system that owns it."""

    @property
    def rank(self) -> int:
        """Higher is better."""
        return list(Evidence).index(self)


class Needs(StrEnum):
    """A system that a host group may do without."""

    CANDLEPIN = "Candlepin"
    PUPPET = "Puppet"


@dataclass(frozen=True)
class Arrow:
    """One arrow: who tells whom what, in which phase."""

    number: int
    phase: Phase
    source: str
    target: str
    text: str
    needs: Needs | None = None
    """Asked for only where the host group has this system."""

    @property
    def label(self) -> str:
        """What an operator reads: ``12 Proxy → DHCP: creates the reservation``."""
        return f"{self.number} {self.source} → {self.target}: {self.text}"


def _table() -> tuple[Arrow, ...]:
    d, i, a, f = Phase.DISCOVERY, Phase.INCEPTION, Phase.ANACONDA, Phase.FIRST_BOOT
    candlepin, puppet = Needs.CANDLEPIN, Needs.PUPPET
    return (
        Arrow(1, d, "User", "Host", "powers on"),
        Arrow(2, d, "Host", "DHCP", "requests a temporary address"),
        Arrow(3, d, "Host", "TFTP", "downloads discovery image and kernel"),
        Arrow(4, d, "Host", "Proxy", "sends facts"),
        Arrow(5, d, "Proxy", "Rackrise", "forwards facts"),
        Arrow(6, i, "User", "Rackrise", "asks for provisioning"),
        Arrow(7, i, "Rackrise", "Proxy", "asks for a free address"),
        Arrow(8, i, "Proxy", "DHCP", "finds a free address"),
        Arrow(9, i, "Rackrise", "Proxy", "sends the boot configuration"),
        Arrow(10, i, "Proxy", "TFTP", "writes the boot configuration"),
        Arrow(11, i, "Proxy", "Pulp", "fetches Anaconda kernel and image"),
        Arrow(12, i, "Rackrise", "Proxy", "asks for the reservation"),
        Arrow(13, i, "Proxy", "DHCP", "creates the reservation"),
        Arrow(14, i, "Rackrise", "Proxy", "asks for the names"),
        Arrow(15, i, "Proxy", "DNS", "creates the records"),
        Arrow(16, i, "Rackrise", "Proxy", "asks for the reboot"),
        Arrow(17, i, "Proxy", "Host", "reboots it"),
        Arrow(18, a, "Host", "DHCP", "requests the reserved address"),
        Arrow(19, a, "Host", "TFTP", "downloads Anaconda kernel and image"),
        Arrow(20, a, "Host", "Proxy", "asks for the kickstart"),
        Arrow(21, a, "Proxy", "Rackrise", "forwards, gets the kickstart"),
        Arrow(22, a, "Host", "Pulp", "installs packages from the tree"),
        Arrow(23, a, "Host", "Candlepin", "subscribes", candlepin),
        Arrow(24, a, "Host", "Puppet", "has its certificate signed", puppet),
        Arrow(25, a, "Host", "Pulp", "sends its package profile", candlepin),
        Arrow(26, a, "Host", "Pulp", "sends its repository report", candlepin),
        Arrow(27, a, "Host", "Rackrise", "turns off build mode"),
        Arrow(28, a, "Rackrise", "Proxy", "asks to end network installation"),
        Arrow(29, a, "Proxy", "TFTP", "replaces the boot configuration"),
        Arrow(30, f, "Host", "DHCP", "requests the reserved address"),
        Arrow(31, f, "Host", "Puppet", "sends initial facts", puppet),
        Arrow(32, f, "Puppet", "Rackrise", "forwards the facts", puppet),
        Arrow(33, f, "Host", "Puppet", "sends its initial report", puppet),
        Arrow(34, f, "Puppet", "Rackrise", "forwards the report", puppet),
    )


ARROWS: tuple[Arrow, ...] = _table()
WAY: tuple[Phase, ...] = tuple(dict.fromkeys(one.phase for one in ARROWS))
"""The phases that the arrows belong to, in their order."""
ACTORS = (
    "User", "Host", "DHCP", "TFTP", "DNS", "Proxy", "Rackrise", "Pulp", "Candlepin", "Puppet",
)  # fmt: skip
"""From left to right as they are drawn, so that most arrows are short."""
TITLES = {
    Phase.DISCOVERY: "Discovery",
    Phase.INCEPTION: "Inception",
    Phase.ANACONDA: "Boot into Anaconda",
    Phase.FIRST_BOOT: "First boot",
}
"""What the phases are called where they are drawn."""


PROFILED = (25, 26)
"""What a host with subscriptions must have reported before its first boot is judged."""


def arrow(number: int) -> Arrow:
    """The arrow with a number, 1 to 34."""
    return ARROWS[number - 1]


def deed(numbers: Sequence[int]) -> str:
    """What arrows that are carried out together come to, under all their numbers.

    ``12, 13 Proxy → DHCP: creates the reservation``: the last is the deed, the others ask for it.
    Empty where there are none.
    """
    before = "".join(f"{number}, " for number in numbers[:-1])
    return f"{before}{arrow(numbers[-1]).label}" if numbers else ""


def arrows_of(phase: Phase) -> tuple[Arrow, ...]:
    """The arrows of a phase in their order."""
    return tuple(one for one in ARROWS if one.phase is phase)
