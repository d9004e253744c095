"""Hosts that come back into discovery instead of going on: counted, told, and stopped in the end.

A machine that boots the network again and again would otherwise be installed again and again, or
wait for its deadline without anybody knowing why. Nothing is ever installed because of it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from inventory import builds
from inventory.database import AsyncSession
from inventory.life import HostState
from inventory.models import Build, Host

__all__ = ["came_back"]

_APART = timedelta(seconds=60)
"""Facts that come sooner are those of the same boot: an image tells them several times."""

_WHERE = {
    HostState.REBOOTING: (20, "instead of its installer, after it was sent there"),
    HostState.INSTALLING: (22, "instead of its installer, which it had begun"),
    HostState.INSTALLED: (30, "instead of its own disk, after its installation"),
    HostState.FIRST_BOOT: (30, "instead of its own disk, after its installation"),
    HostState.IN_OPERATION: (30, "instead of its own disk, after it went into operation"),
}
"""At which step it is missed, and what it should have booted."""


async def came_back(
    session: AsyncSession, host: Host, build: Build, *, limit: int, at: datetime
) -> str | None:
    """Note that a host has sent facts from discovery though it should be elsewhere.

    Args:
        session: in the caller's transaction, with the host locked.
        host: in any state.
        build: its newest.
        limit: boots after which it is held, where its state allows that.
        at: the present.

    Returns:
        What is not well, in a sentence; None: nothing, or nothing new.
    """
    if host.state not in _WHERE:
        return None
    before = max(host.state_since, build.network_booted_at or host.state_since)
    if at - before < _APART:
        return None
    build = await builds.lock_build(session, build.id)
    build.network_boots += 1
    build.network_booted_at = at
    step, instead = _WHERE[host.state]
    times = "once" if build.network_boots == 1 else f"{build.network_boots} times"
    build.trouble = f"it has booted the discovery image {times} {instead}"
    build.trouble_since = at
    said = f"{host.name}: {build.trouble}"
    holdable = host.state in (HostState.REBOOTING, HostState.INSTALLING, HostState.FIRST_BOOT)
    if build.network_boots >= limit and holdable:
        await builds.hold(
            session,
            build,
            step=step,
            reason=build.trouble,
            advice="See its boot order, and what its firmware and the boot server say; then retry",
            at=at,
        )
        # Whoever lets it go on gives it a new series of attempts.
        build.network_boots = 0
    await session.flush()
    return said
