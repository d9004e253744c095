"""What the inventory refuses, each in a sentence that says what to do.

    InventoryError
    ├── MacClaimed         an interface of this host already belongs to another
    ├── BadName            no host can be called so
    ├── NameTaken          another host has this name
    ├── AddressTaken       another interface has this address
    ├── BuildOpen          the host has an open build
    ├── NotReady           the host is at a point of its life that does not allow this
    │   └── StillRuns      its run has not let go of it yet
    ├── UnknownBmc         the site file names no such BMC
    ├── UnknownGroup       there is no host group of this name
    ├── UnknownHost        there is no host of this name
    ├── UnknownSite        nothing says at which site the host is
    ├── Forbidden          somebody may not do this
    ├── NotSignedIn        name and password, or a token, are not right
    ├── UnknownPerson      nobody has this name
    ├── BadPerson          a person cannot be made so
    ├── UnknownWave        there is no wave of this name
    ├── BadWave            a wave cannot be started so, or not be changed now
    ├── BadCondition       a discovery rule's condition or name cannot be computed
    ├── BadRule            a discovery rule is wrong; all problems, each with its field
    ├── NameOfOperator     the site file names a rule that was made by hand
    ├── OfSiteFile         the site file owns a rule that was to be changed by hand
    ├── RuleExists         there is a discovery rule of this name already
    ├── RuleFailed         a rule takes a host, and cannot provision it
    ├── UnknownRule        there is no discovery rule of this name
    └── SiteFileError      a site file is wrong; all problems, each with its line

Errors of outside systems have a tree of their own in ``integrations/errors.py``; these never come
from outside and are never worth a retry.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

__all__ = [
    "AddressTaken",
    "BadCondition",
    "BadName",
    "BadPerson",
    "BadRule",
    "BadWave",
    "BuildOpen",
    "Forbidden",
    "InventoryError",
    "MacClaimed",
    "NameOfOperator",
    "NameTaken",
    "NotAdmitted",
    "NotReady",
    "NotSignedIn",
    "OfSiteFile",
    "RuleExists",
    "RuleFailed",
    "StillRuns",
    "UnfitHosts",
    "UnknownBmc",
    "UnknownGroup",
    "UnknownHost",
    "UnknownPerson",
    "UnknownRule",
    "UnknownSite",
    "UnknownWave",
    "WaveExists",
    "WrongTime",
]


class InventoryError(Exception):
    """The inventory does not take this."""


class MacClaimed(InventoryError):
    """An interface that a host reports already belongs to another host."""

    def __init__(self, mac: str, owner: str) -> None:
        self.mac = mac
        self.owner = owner
        super().__init__(
            f"the MAC address {mac} belongs to the host {owner}; decommission that host if the "
            "interface was moved, or give one of the two another address"
        )


class NameTaken(InventoryError):
    """Another host has the name."""

    def __init__(self, name: str, owner: str) -> None:
        self.name = name
        self.owner = owner
        super().__init__(f"the name {name} belongs to {owner}; choose another name")


class BadName(InventoryError):
    """No host can be called so."""

    def __init__(self, text: str) -> None:
        shown = text if len(text) < 100 else f"{text[:100]}…"
        super().__init__(
            f"{shown!r} is no name for a host: parts of letters, digits and dashes with dots "
            "between them, 63 characters a part and 253 together at most"
        )


class AddressTaken(InventoryError):
    """Another interface has the address."""

    def __init__(self, ip: str, owner: str) -> None:
        self.ip = ip
        self.owner = owner
        super().__init__(f"the address {ip} belongs to the host {owner}; choose another address")


class BuildOpen(InventoryError):
    """A host has one open build at a time, and it has one."""

    def __init__(self, host: str, build_id: UUID | None) -> None:
        self.host = host
        self.build_id = build_id
        super().__init__(
            f"the host {host} has an open build ({build_id}); cancel it or wait until it ends"
        )


class NotReady(InventoryError):
    """The host is at a point of its life at which this cannot be asked of it."""

    def __init__(self, host: str, state: str, need: str) -> None:
        self.host = host
        self.state = state
        super().__init__(f"the host {host} is {state}; {need}")


class StillRuns(NotReady):
    """The run that a host travelled in has not let go of it yet: seconds later it has."""

    def __init__(self, host: str, state: str) -> None:
        need = "the run that it travelled in has not let go of it yet: try again in a few seconds"
        super().__init__(host, state, need)


class NotAdmitted(InventoryError):
    """A host may not register at Candlepin.

    Args:
        reason: why, for whoever reads the host's log.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class UnknownBmc(InventoryError):
    """The site file names no BMC of this name."""

    def __init__(self, name: str, others: list[str]) -> None:
        super().__init__(
            f"there is no BMC {name!r}; there are: {', '.join(others) or 'none'}; BMCs come from "
            "the site file"
        )


class UnknownGroup(InventoryError):
    """There is no host group of this name."""

    def __init__(self, name: str, others: list[str]) -> None:
        super().__init__(
            f"there is no host group {name!r}; there are: {', '.join(others) or 'none'}; host "
            "groups come from the site file"
        )


class UnknownHost(InventoryError):
    """There is no host of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no host {name!r}; see those that are: rackrise hosts list")


class UnknownSite(InventoryError):
    """Nothing says at which site a host is."""

    def __init__(self, mac: str, ip: str | None) -> None:
        super().__init__(
            f"no site is known for the host with MAC address {mac}: its address {ip or '(none)'} "
            "lies in no known subnet; describe the subnet in the site file and apply it"
        )


class BadCondition(InventoryError):
    """An expression of a discovery rule cannot be computed.

    Args:
        rule: the rule's name.
        what: ``condition`` or ``host_name``.
        line: line in the expression, from 1; None where the fault shows only when it is computed.
        said: Jinja2's own words.
    """

    def __init__(self, *, rule: str, what: str, said: str, line: int | None = None) -> None:
        self.rule = rule
        self.what = what
        self.line = line
        self.said = said
        at = f", line {line}" if line is not None else ""
        super().__init__(f"discovery rule {rule}, {what}{at}: {said}")


class Forbidden(InventoryError):
    """Somebody may not do this."""

    def __init__(self, who: str, why: str) -> None:
        super().__init__(f"{who} may not do this: {why}; an admin can change that")


class NotSignedIn(InventoryError):
    """Nobody is believed to ask; never says what exactly was not right."""

    def __init__(self, said: str = "name or password are not right") -> None:
        super().__init__(said)


class UnknownPerson(InventoryError):
    """Nobody has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is nobody called {name!r}; see: rackrise user list")


class BadPerson(InventoryError):
    """A person, password or token cannot be made so."""


class UnknownWave(InventoryError):
    """There is no wave of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no wave {name!r}; see those that are: rackrise waves list")


class WaveExists(InventoryError):
    """Another wave has the name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is a wave {name} already; choose another name")


class BadWave(InventoryError):
    """A wave cannot be started so.

    Args:
        problems: a sentence for each.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


class UnfitHosts(InventoryError):
    """Some hosts cannot be in a wave as they are now.

    Args:
        reasons: by the names that they were asked for by.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        self.reasons = dict(reasons)
        first = list(reasons.items())[:20]
        lines = [f"  {name}: {reason}" for name, reason in first]
        if len(reasons) > len(first):
            lines.append(f"  and {len(reasons) - len(first)} more")
        said = f"the wave is not started: {len(reasons)} of its hosts cannot be in it"
        super().__init__("\n".join([said, *lines]))


class WrongTime(InventoryError):
    """A wave is at a point at which this cannot be asked of it."""

    def __init__(self, name: str, state: str, need: Collection[str]) -> None:
        wanted = " or ".join(sorted(need))
        super().__init__(f"the wave {name} is {state}; for this it must be {wanted}")


class BadRule(InventoryError):
    """A discovery rule cannot be kept as it is.

    Args:
        rule: its name.
        problems: field and sentence of each.
    """

    def __init__(self, rule: str, problems: Sequence[tuple[str, str]]) -> None:
        self.rule = rule
        self.problems = tuple(problems)
        lines = (f"discovery rule {rule}, {what}: {said}" for what, said in problems)
        super().__init__("\n".join(lines))


class NameOfOperator(InventoryError):
    """A site file names a discovery rule that was made by hand."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the discovery rule {name!r} of the site file has the name of one that was made by "
            "hand; nothing was applied. Give it another name in the file, or take the other away: "
            f'rackrise rules remove "{name}"'
        )


class OfSiteFile(InventoryError):
    """A discovery rule belongs to the site file."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the discovery rule {name!r} comes from the site file: edit it there (enabled = false "
            "takes it out of use), then rackrise site apply"
        )


class RuleExists(InventoryError):
    """Another discovery rule has the name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is a discovery rule {name!r} already; choose another name")


class RuleFailed(InventoryError):
    """A discovery rule takes a host, and the host cannot be provisioned by it."""

    def __init__(self, rule: str, error: InventoryError) -> None:
        self.rule = rule
        told = str(error)
        super().__init__(
            told if isinstance(error, BadCondition) else f"discovery rule {rule}: {told}"
        )


class UnknownRule(InventoryError):
    """There is no discovery rule of this name."""

    def __init__(self, name: str, others: list[str]) -> None:
        super().__init__(
            f"there is no discovery rule {name!r}; there are: {', '.join(others) or 'none'}"
        )
