"""Which hosts a wave may provision: asked when it starts, and again when a host's turn comes.

Hours may lie between the two, in which people do what they like with a host. So a wave installs
anew what has a system only if that was wished for, and only where it is the same system still.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from sqlmodel import col, select

from inventory.allowed import Act, require_ready
from inventory.built import Built, built_so_far
from inventory.database import AsyncSession
from inventory.errors import BadWave, InventoryError, NotReady, UnfitHosts, UnknownHost
from inventory.life import HostState
from inventory.models import Build, Host, Wave, WaveHost
from inventory.rights import Actor, in_scope

__all__ = ["admit", "require_fit"]


def require_fit(
    host: Host,
    build: Build | None,
    so_far: Built,
    *,
    rebuild: bool,
    group: int | None = None,
    admitted: Built | None = None,
) -> None:
    """Refuse a host that a wave must leave alone.

    Args:
        host: as it is now; at its turn, locked.
        build: its open build.
        so_far: how far it has been built.
        rebuild: what has a system may be installed anew.
        group: id of the host group that it is to become; asked for at its turn.
        admitted: how far it had been built when it came into the wave; None: it comes now.

    Raises:
        NotReady: says why.
    """
    # What is said of its system below is more than that there is one.
    over = host.state is HostState.IN_OPERATION
    require_ready(Act.REBUILD if over else Act.PROVISION, host, build, group_named=True)
    if admitted is not None and so_far.group_id not in (None, admitted.group_id, group):
        need = "somebody has asked for another host group after it had come into the wave"
        raise NotReady(host.name, host.state, need)
    if not so_far.operated:
        return
    if not rebuild:
        need = "it has a system, and a wave installs none anew unless a rebuild is asked for"
        raise NotReady(host.name, host.state, need)
    if admitted is not None and admitted != so_far:
        need = "somebody has had it built after it had come into the wave"
        raise NotReady(host.name, host.state, need)


async def admit(
    session: AsyncSession, actor: Actor, names: Sequence[str], *, rebuild: bool
) -> list[tuple[int, Built]]:
    """The hosts that are to be in a wave, in their order.

    Args:
        session: only read.
        actor: whose hosts they must be.
        names: in any case.
        rebuild: what has a system may be installed anew.

    Raises:
        UnfitHosts: says of each that cannot be in it why.
    """
    meant = {name: name.strip().lower() for name in names}
    found = await session.exec(
        select(Host).where(col(Host.name).in_(set(meant.values())), in_scope(actor.scope))
    )
    there = {one.name: one for one in found}
    ids = [one.id for one in there.values()]
    elsewhere = await _waves_of(session, ids)
    open_builds = await session.exec(
        select(Build).where(col(Build.host_id).in_(ids), col(Build.closed_at).is_(None))
    )
    builds = {one.host_id: one for one in open_builds}
    known = await built_so_far(session, ids)
    wrong, fit = dict[str, str](), dict[int, Built]()
    for name, times in Counter(names).items():
        host = there.get(meant[name])
        try:
            if host is None:
                raise UnknownHost(name)
            if times > 1:
                raise BadWave([f"the host {name} is named {times} times"])
            if host.id in fit:
                raise BadWave([f"the host {name} is named twice, spelt in two ways"])
            if host.id in elsewhere:
                wave = elsewhere[host.id]
                raise BadWave(
                    [f"the host {name} is in the wave {wave}; cancel that, or wait until it ends"]
                )
            so_far = known[host.id]
            require_fit(host, builds.get(host.id), so_far, rebuild=rebuild)
            fit[host.id] = so_far
        except InventoryError as error:
            wrong[name] = str(error)
    if wrong:
        raise UnfitHosts(wrong)
    return list(fit.items())


async def _waves_of(session: AsyncSession, host_ids: Collection[int]) -> dict[int, str]:
    found = await session.exec(
        select(WaveHost.host_id, Wave.name)
        .join(Wave, col(Wave.id) == col(WaveHost.wave_id))
        .where(col(WaveHost.host_id).in_(host_ids), col(WaveHost.let_go_at).is_(None))
    )
    return dict(found.all())
