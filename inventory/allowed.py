"""What may be asked of a host where it is, and by whom: for the acts, and for buttons.

One place, so that no button is shown that would be refused.
"""

from __future__ import annotations

from enum import StrEnum

from inventory import rights
from inventory.errors import NotReady
from inventory.life import TRANSITIONS, Event, HostState
from inventory.models import Build, Host, Role
from inventory.rights import Actor

__all__ = [
    "MAY_BE_PROVISIONED",
    "Act",
    "before_reboot",
    "may_ask",
    "offered",
    "ready_build",
    "require_ready",
    "require_role",
]


class Act(StrEnum):
    """What people ask of a host."""

    RETRY = "retry"
    PROVISION = "provision"
    REBUILD = "rebuild"
    CANCEL = "cancel"
    DECOMMISSION = "decommission"
    PLAN = "plan"


MAY_BE_PROVISIONED = frozenset(
    {HostState.DISCOVERED, HostState.HELD, HostState.IN_OPERATION, HostState.CANCELLED}
)
"""Where a host may be for that, or for being built anew; of held hosts it takes more."""
_MAY_BE_CANCELLED = frozenset(
    one.source for one in TRANSITIONS if one.event is Event.CANCEL
) | frozenset({HostState.CANCELLING})
_BEFORE_REBOOT = frozenset({HostState.DISCOVERED, HostState.SELECTED, HostState.PREPARING})
_LEAVING = frozenset({HostState.CANCELLING, HostState.DECOMMISSIONING})
_WHEN_PROVISIONED = (
    "it can be provisioned when it is discovered, cancelled or held before its reboot, and be "
    "built anew when it is in operation"
)
_LOOKS_ONLY = frozenset({Act.PLAN})
_WITHOUT_USE = {
    HostState.DISCOVERED: frozenset({Act.REBUILD}),
    HostState.CANCELLING: frozenset({Act.CANCEL}),
    HostState.DECOMMISSIONING: frozenset({Act.DECOMMISSION}),
}
"""Acts that nobody is offered though they are not refused: another says the same, or it is done."""


def require_role(actor: Actor, act: Act) -> None:
    """Refuse whoever may not ask for an act of any host.

    Raises:
        Forbidden: says which role it takes.
    """
    rights.require(actor, _role(act))


def may_ask(actor: Actor, act: Act) -> bool:
    """Whether somebody may ask for an act of hosts that are ready for it."""
    return actor.may(_role(act))


def require_ready(act: Act, host: Host, build: Build | None, *, group_named: bool = False) -> None:
    """Refuse an act that a host cannot follow at this point of its life.

    Args:
        act: what is asked.
        host: of which; for an act that follows, locked.
        build: its open build.
        group_named: it was said which host group it becomes.

    Raises:
        NotReady: says when it can.
    """
    need = _need(act, host, build, group_named=group_named)
    if need:
        raise NotReady(host.name, host.state, need)


def ready_build(act: Act, host: Host, build: Build | None) -> Build:
    """The open build that an act goes on with.

    Raises:
        NotReady: the host cannot follow it now.
    """
    require_ready(act, host, build)
    if build is None:
        raise NotReady(host.name, host.state, "it has no open build")
    return build


def offered(actor: Actor, host: Host, build: Build | None) -> frozenset[Act]:
    """The acts that somebody may ask of a host as it is now, for buttons.

    Args:
        actor: who looks, and may see the host.
        host: which.
        build: its open build.
    """
    return frozenset(
        one
        for one in Act
        if may_ask(actor, one)
        and not _need(one, host, build, group_named=False)
        and one not in _WITHOUT_USE.get(host.state, ())
    )


def before_reboot(build: Build) -> bool:
    """Whether a held build was held before its host was told to restart into the installer."""
    return build.held_from in _BEFORE_REBOOT


def _role(act: Act) -> Role:
    return Role.VIEWER if act in _LOOKS_ONLY else Role.OPERATOR


def _need(act: Act, host: Host, build: Build | None, *, group_named: bool) -> str:
    """What it takes; empty: nothing is in the way."""
    held = build if host.state is HostState.HELD else None
    match act:
        case Act.RETRY if held is None:
            return "only a host that is held can be retried"
        case Act.PROVISION if host.state is HostState.IN_OPERATION:
            # Whoever asks may look at a page, or repeat a call, that is older than its system.
            return "it has a system: rebuild it if what is on its disk may be lost"
        case Act.PROVISION if not _provisionable(host, build):
            return _WHEN_PROVISIONED
        case Act.REBUILD if host.host_group_id is None and not group_named:
            return "nobody has said what it is to be: name a host group"
        case Act.REBUILD if held is not None and held.held_from in _LEAVING:
            return "what it had is being undone: retry that first"
        case Act.REBUILD if (held is None or before_reboot(held)) and not _provisionable(
            host, build
        ):
            return _WHEN_PROVISIONED
        case Act.CANCEL if host.state not in _MAY_BE_CANCELLED or build is None:
            return "a host can be cancelled while it is being built"
        case Act.CANCEL if build is not None and build.held_from is HostState.DECOMMISSIONING:
            return "it is leaving for good: retry that"
        case Act.DECOMMISSION if host.state is HostState.RETIRED:
            return "nothing of it is left outside"
        case _:
            return ""


def _provisionable(host: Host, build: Build | None) -> bool:
    match host.state:
        case HostState.DISCOVERED:
            return build is not None
        case HostState.HELD:
            return build is not None and before_reboot(build)
        case HostState.IN_OPERATION | HostState.CANCELLED:
            return build is None
        case _:
            return False
