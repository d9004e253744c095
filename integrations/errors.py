"""What can go wrong with an outside system; the branch alone decides what happens next.

    OutsideError
    ├── Unavailable       nobody answers, or not in time         retry, growing delays
    │   └── Busy          answers, but asks to come back later   retry, growing delays
    ├── Unverified        said yes, but it is not there          retry, then hold
    ├── Conflict          somebody else's record is in the way   hold, name the owner
    └── Refused           wrong credentials or wrong input       hold at once
        ├── Exhausted     nothing left to give (an address range)
        └── Unsupported   the server does not know this operation

Every error is a sentence with the place in it: which system, at which address, during which
operation, and what the system itself said.
"""

from __future__ import annotations

__all__ = [
    "Busy",
    "Conflict",
    "Exhausted",
    "OutsideError",
    "Refused",
    "Unavailable",
    "Unsupported",
    "Unverified",
]


class OutsideError(Exception):
    """An outside system did not do what was asked.

    Args:
        system: which kind of system, in the field's words: ``"DHCP"``, ``"DNS"``, ``"Redfish"``.
        address: where it was reached: a URL, ``host:port`` or a socket path.
        operation: what was asked of it, as an operator would say it: ``"reserve 192.0.2.50"``.
        said: the system's own words, or what was seen instead of an answer.
    """

    branch = "outside"
    retriable = False

    def __init__(self, *, system: str, address: str, operation: str, said: str) -> None:
        self.system = system
        self.address = address
        self.operation = operation
        self.said = said
        super().__init__(f"{system} at {address} could not {operation}: {said}")

    def __reduce__(self) -> tuple[object, ...]:
        """Travel through pickles (Prefect keeps results) without losing the place."""
        return (_rebuild, (type(self), self.__dict__.copy()))


def _rebuild(kind: type[OutsideError], state: dict[str, object]) -> OutsideError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    Exception.__init__(
        error,
        f"{error.system} at {error.address} could not {error.operation}: {error.said}",
    )
    return error


class Unavailable(OutsideError):
    """Nobody answers, or not in time: try again later."""

    branch = "unavailable"
    retriable = True


class Busy(Unavailable):
    """The system answers, but asks to come back later."""

    branch = "busy"


class Unverified(OutsideError):
    """The system said yes, and reading back shows something else."""

    branch = "unverified"
    retriable = True


class Conflict(OutsideError):
    """Somebody else's record is in the way; it is named and never overwritten.

    Args:
        owner: whose record it is, as well as the system can tell.
    """

    branch = "conflict"

    def __init__(self, *, system: str, address: str, operation: str, said: str, owner: str) -> None:
        self.owner = owner
        super().__init__(system=system, address=address, operation=operation, said=said)


class Refused(OutsideError):
    """The system will not do this, however often it is asked: wrong credentials or input."""

    branch = "refused"


class Exhausted(Refused):
    """Nothing is left to give: every address of the range is taken."""

    branch = "refused"


class Unsupported(Refused):
    """The server does not know this operation."""

    branch = "refused"
