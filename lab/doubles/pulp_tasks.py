"""Task queue of Pulp's double: workers can be lost, and their tasks then hang as real ones do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count

__all__ = ["PulpTask", "TaskFailure", "TaskQueue"]

_UNFINISHED = ("waiting", "running")


class TaskFailure(Exception):
    """The work failed; the text becomes the task's description of its error."""


def _now() -> str:
    return datetime.now(UTC).isoformat()


@dataclass
class PulpTask:
    """One task as Pulp shows it."""

    href: str
    name: str
    resource: str
    """What only one task at a time may change; empty: nothing."""
    work: Callable[[PulpTask], Awaitable[list[str]]]
    """Does it, and gives the hrefs of what it made."""
    state: str = "waiting"
    started_at: str | None = None
    error: dict[str, str] | None = None
    progress: dict[str, dict[str, object]] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    worker: str = ""

    def report(self, code: str, message: str, done: int, total: int | None = None) -> None:
        """Show a line of progress."""
        state = "completed" if done == total else "running"
        self.progress[code] = {
            "message": message,
            "code": code,
            "state": state,
            "done": done,
            "total": total,
            "suffix": None,
        }

    def shown(self) -> dict[str, object]:
        """The task as JSON."""
        return {
            "pulp_href": self.href,
            "name": self.name,
            "state": self.state,
            "started_at": self.started_at,
            "error": self.error,
            # Never the worker: real Pulp does not say either.
            "worker": None,
            "progress_reports": list(self.progress.values()),
            # As long as a version is being made Pulp names it so.
            "created_resources": ["<unavailable>"] if self.state == "running" else self.created,
            "exclusive_resources": self.resource,
        }


class TaskQueue:
    """Gives tasks to workers, one at a time for each resource."""

    def __init__(self) -> None:
        self.tasks: dict[str, PulpTask] = {}
        self.workers: set[str] = set()
        self.missing: dict[str, str] = {}
        """Time of the last heartbeat of each worker that was killed."""
        self._numbers = count(1)
        self._running: dict[str, asyncio.Task[None]] = {}

    def add_worker(self) -> str:
        """Start a worker and return its name."""
        name = f"{next(self._numbers)}@double"
        self.workers.add(name)
        self.assign()
        return name

    def kill(self, worker: str) -> None:
        """Lose a worker: what it does stays "running"."""
        self.workers.remove(worker)
        self.missing[worker] = _now()
        work = self._running.pop(worker, None)
        if work is not None:
            work.cancel()

    def give_up(self, worker: str) -> None:
        """Notice that a worker is lost, which Pulp does after 100 to 1000 s."""
        del self.missing[worker]
        for task in self.tasks.values():
            if task.worker == worker and task.state == "running":
                task.state, task.error = "failed", {"reason": "Worker has gone missing."}
        self.assign()

    def add(self, task: PulpTask) -> None:
        """Queue a task."""
        self.tasks[task.href] = task
        self.assign()

    async def do_now(self, task: PulpTask) -> None:
        """Do a task without a worker, as an API process does immediate ones."""
        self.tasks[task.href] = task
        task.state, task.started_at = "running", _now()
        await self._work(task)

    def assign(self) -> None:
        """Give waiting tasks to idle workers."""
        taken: set[str] = set()
        for task in self.tasks.values():
            idle = self.workers - self._running.keys()
            if task.state == "waiting" and idle and task.resource not in taken:
                task.worker = min(idle)
                task.state, task.started_at = "running", _now()
                self._running[task.worker] = asyncio.create_task(self._supervise(task))
            if task.resource and task.state in _UNFINISHED:
                taken.add(task.resource)

    async def stop(self) -> None:
        """End all work."""
        running = list(self._running.values())
        for work in running:
            work.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _supervise(self, task: PulpTask) -> None:
        await self._work(task)
        del self._running[task.worker]
        self.assign()

    async def _work(self, task: PulpTask) -> None:
        try:
            task.created = await task.work(task)
            task.state = "completed"
        except TaskFailure as failure:
            task.state, task.error = "failed", {"traceback": "…", "description": str(failure)}
