"""What becomes of what a host tells about its build: each in one transaction, told once or often.

Nothing is orchestrated here. A telling is kept, the host is moved, the dispatcher is woken.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field

from gateway.answers import Refusal
from inventory import callbacks, repositories, steps
from inventory.arrows import Evidence
from inventory.builds import build_by_token, hold, lock_build, resume
from inventory.database import AsyncSession
from inventory.hosts import keep_facts, lock_host, move
from inventory.life import Event, HostState
from inventory.models import Build, CallbackKind, Host, HostGroup, StepState
from inventory.puppet import adopt_reports
from inventory.reports import FirstReport, Text

__all__ = [
    "Progress",
    "Telling",
    "locked_build",
    "require_ended",
    "tell_built",
    "tell_failed",
    "tell_progress",
    "tell_report",
]

PACKAGES_INSTALLED = "packages installed"
_NOT_YET = frozenset({HostState.DISCOVERED, HostState.SELECTED, HostState.PREPARING})
_IN_INSTALLER = frozenset({HostState.REBOOTING, HostState.INSTALLING})
_TAIL = 2000
"""Characters of a log that are shown as the reason; the whole is in the callback."""


@dataclass(frozen=True)
class Telling:
    """What a host said, by whom and when."""

    token: str
    remote: str
    body: str
    """Fit to be stored, and without the token, which hosts' logs may repeat."""
    at: datetime


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Progress(_Message):
    """How far an installer is."""

    stage: Text = Field(min_length=1, max_length=100)
    """``packages installed`` is the evidence for arrow 22; others are kept and shown."""
    detail: Text = Field(default="", max_length=2000)


async def locked_build(session: AsyncSession, token: str) -> tuple[Host, Build]:
    """The build that a token was issued for, open or closed, and its host; both locked.

    Raises:
        Refusal: 404, no build has this token. There is no falling back to addresses.
    """
    build = await build_by_token(session, token)
    if build is None:
        raise Refusal(404, "no build has this token")
    host = await lock_host(session, build.host_id)
    return host, await lock_build(session, build.id)


async def tell_built(session: AsyncSession, telling: Telling) -> str:
    """The installation has ended (arrow 27). Told again, also by a build that is over, it is heard.

    Returns:
        What became of it, for the log.

    Raises:
        Refusal: 404 unknown token; 405 the host was never sent into the installer.
    """
    host, build = await locked_build(session, telling.token)
    _require_begun(host, build)
    if await _keep(session, telling, build, CallbackKind.BUILT, f"built:{build.id}") is None:
        return f"{host.name} said built again"
    await steps.finish(
        session,
        build.id,
        27,
        evidence=Evidence.OBSERVED,
        seen=f"built, from {telling.remote}",
        at=telling.at,
    )
    await _end_installation(session, host, build, "the installation has ended", telling.at)
    if build.closed_at is not None:
        return f"{host.name} said built for a build that has ended ({build.outcome})"
    return f"{host.name} is {host.state}"


async def _end_installation(
    session: AsyncSession, host: Host, build: Build, seen: str, at: datetime
) -> None:
    """Spend the token, imply what came before, and move the host out of its installer."""
    build.token_spent_at = build.token_spent_at or at
    await steps.imply(session, build.id, (18, 19, 20, 21, 22), seen=seen, at=at)
    if build.closed_at is not None:
        return
    if host.state is HostState.HELD and build.held_from in _IN_INSTALLER:
        # It was held because it was late or had failed; its end is the newer word.
        await resume(session, build, at)
    if host.state is HostState.REBOOTING:
        await move(session, host, Event.KICKSTART, at)
    if host.state is HostState.INSTALLING:
        await move(session, host, Event.BUILT, at)
        build.deadline = await _first_boot_deadline(session, build, at)


async def _first_boot_deadline(
    session: AsyncSession, build: Build, at: datetime
) -> datetime | None:
    group = await session.get(HostGroup, build.host_group_id)
    return at + timedelta(minutes=group.first_boot_minutes) if group else None


async def require_ended(session: AsyncSession, token: str) -> str:
    """Say that network installation is ended for a host, so that it may restart.

    Raises:
        Refusal: 404 unknown token; 409 not yet, and it is worth asking again.
    """
    host, build = await locked_build(session, token)
    replaced = (await steps.states(session, [build.id]))[build.id][29]
    if replaced.state is not StepState.DONE:
        raise Refusal(409, f"the boot configuration of {host.name} is not replaced yet; ask again")
    return f"network installation of {host.name} is ended"


async def tell_failed(session: AsyncSession, telling: Telling) -> str:
    """The installer gave up: the host is held with its last words.

    Raises:
        Refusal: 404 unknown token; 405 the host was never sent into the installer.
    """
    host, build = await locked_build(session, telling.token)
    _require_begun(host, build)
    key = f"failed:{build.id}:{_digest(telling.body)}"
    if await _keep(session, telling, build, CallbackKind.FAILED, key) is None:
        return f"{host.name} said failed again"
    if build.closed_at is not None or host.state not in _IN_INSTALLER:
        return f"{host.name} said failed while {host.state}; kept, nothing changed"
    at = telling.at
    build.token_spent_at = build.token_spent_at or at
    done = await steps.states(session, [build.id])
    at_step = next(
        (number for number in (20, 22) if done[build.id][number].state is not StepState.DONE), 27
    )
    reason = f"the installer reported a failure: {telling.body.strip()[-_TAIL:] or '(no log)'}"
    await steps.fail(session, build.id, at_step, reason, at)
    await hold(
        session,
        build,
        step=at_step,
        reason=reason,
        advice="mend what the log names, retry, and restart the host into its installer",
        at=at,
    )
    return f"{host.name} is held at step {at_step}"


async def tell_progress(session: AsyncSession, telling: Telling, progress: Progress) -> str:
    """How far the installer is (arrow 22).

    Raises:
        Refusal: 404 unknown token; 405 the host was never sent into the installer.
    """
    host, build = await locked_build(session, telling.token)
    _require_begun(host, build)
    key = f"progress:{build.id}:{build.kickstarts}:{_digest(telling.body)}"
    if await _keep(session, telling, build, CallbackKind.PROGRESS, key) is None:
        return f"{host.name} said {progress.stage} again"
    if build.closed_at is None and host.state in _IN_INSTALLER:
        if progress.stage == PACKAGES_INSTALLED:
            await steps.finish(
                session,
                build.id,
                22,
                evidence=Evidence.REPORTED,
                seen=progress.detail or progress.stage,
                at=telling.at,
            )
        else:
            await steps.begin(session, [build.id], 22, None, telling.at)
            await steps.note(session, build.id, 22, progress.detail or progress.stage)
    return f"{host.name}: {progress.stage} {progress.detail}".rstrip()


async def tell_report(session: AsyncSession, telling: Telling, report: FirstReport) -> str:
    """The installed system runs from its own disk. What follows is the first-boot flow's.

    Only a system that was installed with the build's kickstart, and runs, has the script that says
    so: where ``built`` was lost, the report stands for it.

    Raises:
        Refusal: 404 unknown token; 405 the host was never sent into the installer.
    """
    host, build = await locked_build(session, telling.token)
    _require_begun(host, build)
    if await _keep(session, telling, build, CallbackKind.REPORT, f"report:{build.id}") is None:
        return f"{host.name} reported again"
    if build.id not in await steps.done(session, [build.id], 27):
        await _infer_built(session, host, build, telling, report)
    if build.closed_at is None:
        values = report.model_dump(mode="json")
        await keep_facts(session, build.host_id, "first_boot", values, telling.at)
        await repositories.keep(
            session, build.host_id, report.repositories, source="first_boot", at=telling.at
        )
    return f"{host.name} runs from {report.root_device or 'its disk'}"


async def _infer_built(
    session: AsyncSession, host: Host, build: Build, telling: Telling, report: FirstReport
) -> None:
    seen = "the installed system has reported; its word that it was built was lost"
    await steps.imply(session, build.id, 27, seen=seen, at=telling.at)
    await _end_installation(session, host, build, seen, telling.at)
    if build.closed_at is None:
        # Its agent may have been quicker than its first report.
        started = telling.at - timedelta(seconds=report.uptime_seconds)
        await adopt_reports(session, build, since=started)


def _require_begun(host: Host, build: Build) -> None:
    if build.closed_at is None and host.state in _NOT_YET:
        raise Refusal(405, f"{host.name} is {host.state} and not in build mode")


async def _keep(
    session: AsyncSession, telling: Telling, build: Build, kind: CallbackKind, key: str
) -> int | None:
    return await callbacks.keep(
        session,
        kind=kind,
        key=key,
        host_id=build.host_id,
        build_id=build.id,
        remote=telling.remote,
        body=telling.body,
        at=telling.at,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]
