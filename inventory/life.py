"""The life of a host: one table, one transition a line, each with the event that causes it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "AT_WORK",
    "NEEDS_PERSON",
    "TRANSITIONS",
    "WAITS_FOR_HOST",
    "WE_WORK",
    "Event",
    "ForbiddenTransition",
    "HostState",
    "Transition",
    "next_state",
]


class HostState(StrEnum):
    """Where a host is in its life."""

    DISCOVERED = "discovered"
    """Has sent its facts and awaits orders."""
    SELECTED = "selected"
    """Provisioning was asked for; nothing outside has been changed."""
    PREPARING = "preparing"
    """Address, boot configuration and records are being made."""
    REBOOTING = "rebooting"
    """Everything is verified; the host was told to restart into the installer."""
    INSTALLING = "installing"
    """Has fetched its kickstart."""
    INSTALLED = "installed"
    """Has reported the end of the installation; network installation is being ended."""
    FIRST_BOOT = "first_boot"
    """Boots from its own disk for the first time."""
    IN_OPERATION = "in_operation"
    """Has reported in from its own system. The build is closed."""
    HELD = "held"
    """A person is needed: the build says at which step, why, and what to do."""
    CANCELLING = "cancelling"
    """The build was given up; what it changed outside is being undone."""
    CANCELLED = "cancelled"
    """The build was given up, and what it had changed outside is undone."""
    DECOMMISSIONING = "decommissioning"
    """Its records are being removed."""
    RETIRED = "retired"
    """Nothing of it is left outside."""


WE_WORK = frozenset(
    {
        HostState.SELECTED,
        HostState.PREPARING,
        HostState.INSTALLED,
        HostState.CANCELLING,
        HostState.DECOMMISSIONING,
    }
)
WAITS_FOR_HOST = frozenset({HostState.REBOOTING, HostState.INSTALLING, HostState.FIRST_BOOT})
NEEDS_PERSON = frozenset({HostState.DISCOVERED, HostState.HELD, HostState.CANCELLED})


AT_WORK = frozenset(
    {HostState.REBOOTING, HostState.INSTALLING, HostState.INSTALLED, HostState.FIRST_BOOT}
)
"""From the order to reboot to the first report: only such a host asks for what makes it its own."""


class Event(StrEnum):
    """What moves a host from one state to the next."""

    FACTS = "facts"
    SELECT = "select"
    PREPARE = "prepare"
    REBOOT = "reboot"
    KICKSTART = "kickstart"
    BUILT = "built"
    NETBOOT_ENDED = "netboot ended"
    REPORT = "report"
    HOLD = "hold"
    RETRY = "retry"
    CANCEL = "cancel"
    REBUILD = "rebuild"
    DECOMMISSION = "decommission"
    RECORDS_GONE = "records gone"


@dataclass(frozen=True)
class Transition:
    """From a state, by an event, to a state."""

    source: HostState
    event: Event
    target: HostState


class ForbiddenTransition(ValueError):
    """An event came that a host in this state cannot follow."""

    def __init__(self, state: HostState, event: Event) -> None:
        self.state = state
        self.event = event
        possible = ", ".join(sorted(one.event for one in TRANSITIONS if one.source is state))
        super().__init__(
            f"a host that is {state} cannot follow {event!s}; it can: {possible or 'nothing'}"
        )


def _table() -> tuple[Transition, ...]:
    s, e = HostState, Event
    on_the_way = (
        s.SELECTED,
        s.PREPARING,
        s.REBOOTING,
        s.INSTALLING,
        s.INSTALLED,
        s.FIRST_BOOT,
    )
    forward = (
        # A host in discovery posts its facts again and again.
        Transition(s.DISCOVERED, e.FACTS, s.DISCOVERED),
        Transition(s.DISCOVERED, e.SELECT, s.SELECTED),
        Transition(s.SELECTED, e.PREPARE, s.PREPARING),
        Transition(s.PREPARING, e.REBOOT, s.REBOOTING),
        Transition(s.REBOOTING, e.KICKSTART, s.INSTALLING),
        # Anaconda may fetch its kickstart more than once, and a machine may be reset meanwhile.
        Transition(s.INSTALLING, e.KICKSTART, s.INSTALLING),
        Transition(s.INSTALLING, e.BUILT, s.INSTALLED),
        Transition(s.INSTALLED, e.NETBOOT_ENDED, s.FIRST_BOOT),
        Transition(s.FIRST_BOOT, e.REPORT, s.IN_OPERATION),
        # A new generation begins.
        Transition(s.IN_OPERATION, e.REBUILD, s.SELECTED),
        Transition(s.HELD, e.REBUILD, s.SELECTED),
        Transition(s.CANCELLED, e.REBUILD, s.SELECTED),
        Transition(s.CANCELLED, e.FACTS, s.DISCOVERED),
        Transition(s.RETIRED, e.FACTS, s.DISCOVERED),
        Transition(s.CANCELLING, e.RECORDS_GONE, s.CANCELLED),
        Transition(s.DECOMMISSIONING, e.RECORDS_GONE, s.RETIRED),
    )
    # A held host goes back to where it was held, so that it starts again at the unfinished step.
    holdable = (s.DISCOVERED, *on_the_way, s.CANCELLING, s.DECOMMISSIONING)
    held = tuple(Transition(state, e.HOLD, s.HELD) for state in holdable)
    resumed = tuple(Transition(s.HELD, e.RETRY, state) for state in holdable)
    cancelled = tuple(Transition(state, e.CANCEL, s.CANCELLING) for state in (*on_the_way, s.HELD))
    retired = tuple(
        Transition(state, e.DECOMMISSION, s.DECOMMISSIONING)
        for state in (
            s.DISCOVERED,
            *on_the_way,
            s.IN_OPERATION,
            s.HELD,
            s.CANCELLING,
            s.CANCELLED,
        )
    )
    return forward + held + resumed + cancelled + retired


TRANSITIONS: tuple[Transition, ...] = _table()
_NEXT = {(one.source, one.event): one.target for one in TRANSITIONS if one.event is not Event.RETRY}


def next_state(state: HostState, event: Event, *, held_from: HostState | None = None) -> HostState:
    """The state that a host enters when an event comes.

    Args:
        state: where it is.
        event: what came.
        held_from: where it was when it was held; needed for ``RETRY`` only.

    Raises:
        ForbiddenTransition: the table has no such line.
    """
    if event is Event.RETRY:
        if held_from is None or Transition(state, event, held_from) not in TRANSITIONS:
            raise ForbiddenTransition(state, event)
        return held_from
    try:
        return _NEXT[state, event]
    except KeyError:
        raise ForbiddenTransition(state, event) from None
