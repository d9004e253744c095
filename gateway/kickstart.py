"""Gives a host its kickstart (arrows 20 and 21): for the build's token, to its own machine only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import ValidationError
from sqlmodel import col, select

from gateway.answers import Refusal, faults_of
from gateway.tellings import locked_build
from inventory import callbacks, consumers, kickstarts, steps
from inventory.arrows import Evidence
from inventory.builds import hold
from inventory.certificates import release_key
from inventory.context import BuildContext, contexts
from inventory.database import AsyncSession
from inventory.hosts import host_by_mac, move
from inventory.life import Event, HostState
from inventory.models import Build, CallbackKind, Host, Interface
from templates.for_build import kickstart_input
from templates.render import UnknownTemplate, render_kickstart

__all__ = ["explain_missing_token", "give_kickstart"]


async def give_kickstart(
    session: AsyncSession,
    *,
    token: str,
    macs: Sequence[str],
    remote: str,
    limit: int,
    at: datetime,
) -> str | Refusal:
    """Render the kickstart and note that the host has it.

    A refusal is returned, not raised, where something must be kept all the same: a host that is in
    a loop is held, and that has to be committed.

    Raises:
        Refusal: 404 unknown token; 403 another machine's token; 405 not in build;
            409 not ready, or not to be rendered, with the reason.
    """
    host, build = await locked_build(session, token)
    await _require_own_machine(session, host, macs)
    _require_in_build(host, build)
    if build.kickstarts >= limit:
        return await _stop_loop(session, host, build, at)
    context = (await contexts(session, [build.id])).get(build.id)
    if context is None:
        raise Refusal(409, f"{host.name} has no host group, so nobody has said what it is to be")
    text = _render(context, token)
    group = context.group
    shown = kickstarts.without_secrets(text, token, group.root_password_hash, group.activation_key)
    await kickstarts.keep(session, build.id, shown, at)

    # The installer starts from nothing at each fetch; the limit above keeps that from going on.
    build.deadline = at + timedelta(minutes=context.group.install_minutes)
    build.kickstarts += 1
    if build.kickstarts > 1:
        await _begin_anew(session, context, build)
    await move(session, host, Event.KICKSTART, at)
    seen = f"kickstart given to {remote}"
    await steps.finish(session, build.id, (20, 21), evidence=Evidence.OBSERVED, seen=seen, at=at)
    await steps.imply(
        session, build.id, (18, 19), seen="the installer asked for its kickstart", at=at
    )
    await callbacks.keep(
        session,
        kind=CallbackKind.KICKSTART,
        # Each fetch is news: a loop is seen by their number.
        key=f"kickstart:{build.id}:{at.isoformat()}",
        host_id=build.host_id,
        build_id=build.id,
        remote=remote,
        body="",
        at=at,
    )
    return text


async def _require_own_machine(session: AsyncSession, host: Host, macs: Sequence[str]) -> None:
    if not macs:
        return
    found = await session.exec(select(Interface.mac).where(col(Interface.host_id) == host.id))
    if not set(found) & set(macs):
        raise Refusal(
            403,
            f"the token belongs to {host.name}, and the machine that sent it has only "
            f"{', '.join(macs)}; it reads another machine's boot configuration",
        )


async def _begin_anew(session: AsyncSession, context: BuildContext, build: Build) -> None:
    """The installer has started once more: what it had asked for, it will ask for again."""
    if context.puppet is not None:
        await release_key(session, build)
    if context.candlepin is not None:
        await consumers.begin_anew(session, build)


def _require_in_build(host: Host, build: Build) -> None:
    if build.closed_at is not None:
        raise Refusal(405, f"this build of {host.name} has ended ({build.outcome})")
    if host.state is HostState.HELD:
        raise Refusal(405, f"{host.name} is held: {build.held_reason}")
    if host.state in (HostState.DISCOVERED, HostState.SELECTED, HostState.PREPARING):
        raise Refusal(409, f"{host.name} is {host.state}: its records are not all verified yet")
    if host.state not in (HostState.REBOOTING, HostState.INSTALLING):
        raise Refusal(405, f"{host.name} is {host.state} and no longer in build mode")


async def _stop_loop(session: AsyncSession, host: Host, build: Build, at: datetime) -> Refusal:
    reason = f"fetched its kickstart {build.kickstarts} times without an end of the installation"
    await steps.fail(session, build.id, 22, reason, at)
    await hold(
        session,
        build,
        step=22,
        reason=reason,
        advice="look at the installer's console for what makes it restart; then retry",
        at=at,
    )
    # Whoever resumes the host gives it a new series of attempts.
    build.kickstarts = 0
    return Refusal(409, f"{host.name} {reason}; it is held")


def _render(context: BuildContext, token: str) -> str:
    place = f"the kickstart of {context.host.name} cannot be rendered"
    try:
        values = kickstart_input(context, token)
        return render_kickstart(values, context.group.kickstart_template)
    except ValidationError as error:
        raise Refusal(
            409, f"{place}: host group {context.group.name}: {faults_of(error)}"
        ) from None
    except UnknownTemplate as error:
        raise Refusal(409, f"{place}: host group {context.group.name}: {error}") from None


async def explain_missing_token(session: AsyncSession, macs: Sequence[str]) -> Refusal:
    """Why a request without a token is not served; a MAC address only makes the sentence better.

    An address can be claimed by anybody, and a kickstart holds secrets.
    """
    need = "the kickstart is given for the token of a build (?token=…) only"
    found = [(mac, await host_by_mac(session, mac)) for mac in macs]
    names = sorted({host.name for _, host in found if host is not None})
    if macs and not names:
        return Refusal(404, f"no host has the MAC address {', '.join(macs)}")
    if len(names) > 1:
        return Refusal(409, f"the MAC addresses belong to several hosts: {', '.join(names)}")
    if names:
        return Refusal(401, f"{need}; that of {names[0]} is in its boot configuration")
    return Refusal(401, need)
