"""Pulp's tasks: followed until they end, with a deadline of ours and an eye on lost workers.

A task whose worker died stays "running" for up to 1000 seconds (contract, section 4), so that
waiting for its end alone would look like work.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field

from integrations.errors import Refused, Unavailable
from integrations.pulp.refusals import SYSTEM, task_failure
from integrations.pulp.wire import Wire

__all__ = ["OnProgress", "Progress", "PulpStatus", "TaskCalls"]

_BETWEEN_HEARTBEATS = timedelta(seconds=60)
"""More than any worker's; ten seconds by default."""
_FIRST_DELAY, _LONGEST_DELAY, _GROWTH = 0.25, 5.0, 1.5


class Progress(BaseModel):
    """One line of a task's progress, such as "Downloading Artifacts"."""

    model_config = ConfigDict(frozen=True)

    message: str
    code: str
    """For programs: ``sync.downloading.artifacts``."""
    state: str
    done: int
    total: int | None
    """None: not known."""


OnProgress = Callable[[tuple[Progress, ...]], Awaitable[None]]
"""Is told all lines whenever one of them changed."""


class _Error(BaseModel):
    description: str | None = None
    reason: str | None = None


class Task(BaseModel):
    """One look at a task; ``created`` is to be believed only when it is completed."""

    href: str = Field(validation_alias="pulp_href")
    state: str
    started_at: datetime | None = None
    error: _Error | None = None
    progress: tuple[Progress, ...] = Field((), validation_alias="progress_reports")
    created: tuple[str, ...] = Field((), validation_alias="created_resources")


class _Process(BaseModel):
    name: str
    last_heartbeat: datetime


class PulpStatus(BaseModel):
    """What Pulp says of itself without being logged in."""

    model_config = ConfigDict(frozen=True)

    workers: tuple[_Process, ...] = Field(validation_alias="online_workers")
    content_apps: tuple[_Process, ...] = Field(validation_alias="online_content_apps")


class TaskCalls:
    """The ``tasks``, ``workers`` and ``status`` mounts."""

    _wire: Wire

    async def status(self) -> PulpStatus:
        """Which of Pulp's processes live: without workers no task ends.

        Raises:
            Unavailable: Pulp does not answer.
        """
        return await self._wire.read(PulpStatus, "status/", operation="tell how it is")

    async def _finished(
        self,
        href: str,
        *,
        operation: str,
        deadline: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> Task:
        """Follow a task to its end.

        Args:
            href: of the task.
            operation: what it is for.
            deadline: seconds; None: that of the settings for all but a sync.
            on_progress: told of progress.

        Raises:
            Unavailable: not ended in time, or no progress and its worker is missing; the task may
                still end.
            OutsideError: it failed or was cancelled.
        """
        wire = self._wire
        started = changed = wire.clock()
        end = started + (wire.settings.task_timeout if deadline is None else deadline)
        delay, seen = _FIRST_DELAY, None
        while True:
            task = await wire.read(Task, href, operation=operation)
            now = wire.clock()
            if on_progress and task.progress != (seen.progress if seen else ()):
                await on_progress(task.progress)
            if task.state == "completed":
                return task
            if task.state in ("failed", "canceled", "skipped"):
                raise task_failure(_why(task), address=wire.address, operation=operation)
            if seen != task:
                seen, changed, delay = task, now, _FIRST_DELAY
            elif now - changed >= wire.settings.patience:
                await self._look_for_workers(task, operation, now - changed)
                changed = now
            if now >= end:
                raise self._hangs(task, operation, f"not ended within {now - started:.0f} s")
            await wire.sleep(delay)
            delay = min(delay * _GROWTH, _LONGEST_DELAY)

    async def _look_for_workers(self, task: Task, operation: str, idle: float) -> None:
        """Raise if a task has no progress because nobody works on it."""
        if not (await self.status()).workers:
            raise self._hangs(task, operation, "no pulpcore-worker runs: start one")
        try:
            missing = await self._wire.listed(
                _Process, "workers/", operation=operation, query={"missing": "true"}
            )
        except Refused:
            # Only an administrator is told of lost workers; for others the deadline has to do.
            return
        # One that died before the task began cannot have been its worker; a task that waits may
        # wait for another one's.
        since = task.started_at and task.started_at - _BETWEEN_HEARTBEATS
        lost = [one for one in missing if since is None or one.last_heartbeat >= since]
        if lost:
            names = ", ".join(f"{w.name} (last heard of {w.last_heartbeat:%H:%M:%S})" for w in lost)
            raise self._hangs(
                task,
                operation,
                f"no progress for {idle:.0f} s, and missing is worker {names}; Pulp gives its"
                " tasks up within 1000 s, and what waits for them goes on by itself",
            )

    def _hangs(self, task: Task, operation: str, text: str) -> Unavailable:
        doing = [line for line in task.progress if line.state == "running"]
        at = "".join(f", {line.message} {line.done}/{line.total or '?'}" for line in doing)
        return Unavailable(
            system=SYSTEM,
            address=self._wire.address,
            operation=operation,
            said=f"task {task.href} is {task.state}{at}: {text}",
        )


def _why(task: Task) -> str:
    error = task.error
    # Never the traceback, which is the third of its keys.
    return (error and (error.description or error.reason)) or f"the task was {task.state}"
