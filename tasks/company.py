"""Hosts travel in company: one task does one system's work for all, each on its own account.

A task gives every host its own outcome. A host that fails among others is taken out and goes on
in a run of its own; the task itself fails, and is retried, only when nothing could be done for
anybody.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID, uuid4

from prefect import get_run_logger, runtime
from prefect.client.schemas.objects import State
from prefect.tasks import exponential_backoff
from pydantic import BaseModel, ConfigDict

from integrations.errors import Conflict, OutsideError, Refused, Unavailable, Unverified
from inventory import claims, steps
from inventory.arrows import Evidence, Needs, Phase, deed
from inventory.context import Arrival, BuildContext, arrivals, contexts
from inventory.database import CHANNEL_CALLBACKS, AsyncSession, is_passing, notify
from tasks import departures
from tasks.means import means

__all__ = [
    "RETRY",
    "Company",
    "LostBuild",
    "NothingDone",
    "Problem",
    "Seen",
    "Traveller",
    "advice",
    "each",
    "each_arrival",
    "holds_claim",
    "require_claim",
    "step",
]

Known = TypeVar("Known", Arrival, BuildContext)

_COMPANY: ContextVar[UUID] = ContextVar("company")
"""In which the work for a host is done: the worker alone does not tell its runs apart."""


class Traveller(BaseModel):
    """One host on its way through a phase."""

    model_config = ConfigDict(frozen=True)

    build: UUID
    host: str


class Company(BaseModel):
    """The hosts that one flow run takes through a phase."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    phase: Phase
    travellers: tuple[Traveller, ...]
    needs: frozenset[Needs] = frozenset()
    """Systems that some of its hosts have to do with: tasks of others would only cost time."""
    again: bool = False
    """Some of its hosts have been built before."""

    @property
    def builds(self) -> list[UUID]:
        """The builds of its hosts."""
        return [one.build for one in self.travellers]

    @property
    def hosts(self) -> list[str]:
        """Their names."""
        return [one.host for one in self.travellers]

    def only(self, builds: set[UUID]) -> Company:
        """The same company without those who are not among ``builds``."""
        staying = tuple(one for one in self.travellers if one.build in builds)
        return self.model_copy(update={"travellers": staying})

    def __str__(self) -> str:
        return self.hosts[0] if len(self.travellers) == 1 else f"{len(self.travellers)} hosts"


@dataclass(frozen=True)
class Seen:
    """What was seen of an arrow, and how good that evidence is."""

    words: str
    evidence: Evidence = Evidence.OBSERVED


class Problem(Exception):
    """Something stands in the way of one host that is no outside system's doing.

    Args:
        what: a sentence with the place in it.
        advice: what a person can do about it.
    """

    def __init__(self, what: str, advice: str) -> None:
        self.advice = advice
        super().__init__(what)


class LostBuild(Exception):
    """Another worker or run has taken the build over; this one writes nothing more."""


class NothingDone(Exception):
    """A task could do nothing for anybody. Holds each host's own error.

    Its words become the message of the failed run: step, host, reason, and what to do.
    """

    def __init__(
        self, numbers: tuple[int, ...], failed: dict[Traveller, Exception], what: str = ""
    ) -> None:
        self.numbers = numbers
        self.failed = failed
        self.what = deed(numbers) or what or "a step"
        host, first = next((one.host, error) for one, error in failed.items())
        more = len(failed) - 1
        others = f" It failed for {more} more {'hosts' if more > 1 else 'host'}." if more else ""
        super().__init__(
            f"{self.what}: failed for {host}: {str(first).rstrip('.')}. {advice(first)}{others}"
        )

    @property
    def passing(self) -> bool:
        """Whether our own database was away for any of them, which says nothing of any host."""
        return any(is_passing(error) for error in self.failed.values())

    @property
    def retriable(self) -> bool:
        """Whether trying again can help anybody."""
        return any(_retriable(error) for error in self.failed.values())


def _retriable(error: Exception) -> bool:
    """Only the branch of the error tree decides; a fault of our own is not repeated."""
    return (isinstance(error, OutsideError) and error.retriable) or is_passing(error)


async def _worth_retrying(task: Any, run: Any, state: State[Any]) -> bool:
    error = await state.aresult(raise_on_failure=False)
    if isinstance(error, NothingDone):
        return error.retriable
    return isinstance(error, Exception) and _retriable(error)


_RETRIES = int(os.environ.get("RACKRISE_RETRIES", "4"))
_FIRST_DELAY = float(os.environ.get("RACKRISE_RETRY_SECONDS", "2"))

RETRY: dict[str, Any] = {
    "retries": _RETRIES,
    "retry_delay_seconds": exponential_backoff(_FIRST_DELAY),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": _worth_retrying,
    "persist_result": False,
}
"""How every task is retried: growing, jittered delays, if the error's branch allows it."""


def step(name: str, *numbers: int) -> dict[str, Any]:
    """The settings of a task that takes a company one step further.

    Args:
        name: what an operator calls it.
        numbers: the arrows that it carries out. Its runs are called as on the diagram, and with
            their hosts: a timeline shows nothing else. Without numbers they are called ``name``.
    """
    called = f"{name} ({', '.join(map(str, numbers))})" if numbers else name
    return {"name": called, "task_run_name": f"{deed(numbers) or called} · {{company}}", **RETRY}


def advice(error: Exception) -> str:
    """What a person can do about an error."""
    match error:
        case Problem():
            return error.advice
        case Conflict():
            return (
                f"Remove the record of {error.owner} at {error.address}, or give this host another "
                "name or address; then retry."
            )
        case Unavailable():
            return (
                f"See that {error.system} at {error.address} runs and can be reached; then retry."
            )
        case Unverified():
            return (
                f"{error.system} at {error.address} says yes and does not do it: see its log; "
                "then retry."
            )
        case Refused():
            return f"Correct what {error.system} at {error.address} refuses; then retry."
        case LostBuild():
            return "Nothing: the other run says what becomes of it."
        case _:
            return "This is a fault of Rackrise: see the flow run's log, report it, then retry."


async def each(
    company: Company,
    numbers: tuple[int, ...],
    work: Callable[[BuildContext], Awaitable[Seen]],
    *,
    recheck: bool = False,
    always: bool = False,
) -> Company:
    """Do one step for every host of a company; finished steps are passed over.

    Args:
        company: who is under way.
        numbers: the arrows that the step carries out; none where it only decides something.
        work: does it for one host and says what was seen.
        recheck: look again at arrows that are done but were not observed.
        always: look again at all of them: what was seen may be gone since.

    Returns:
        The company without the hosts that failed; those go on in runs of their own.

    Raises:
        NothingDone: it failed for all of them.
    """
    return await _each(company, numbers, work, contexts, recheck=recheck, always=always)


async def each_arrival(
    company: Company,
    numbers: tuple[int, ...],
    work: Callable[[Arrival], Awaitable[Seen]],
    *,
    recheck: bool = False,
) -> Company:
    """The same for hosts in discovery, of which nobody has said what they are to become."""
    return await _each(company, numbers, work, arrivals, recheck=recheck)


async def _each(
    company: Company,
    numbers: tuple[int, ...],
    work: Callable[[Known], Awaitable[Seen]],
    read: Callable[[AsyncSession, Iterable[UUID]], Awaitable[dict[UUID, Known]]],
    *,
    recheck: bool,
    always: bool = False,
) -> Company:
    m = means()
    run_id = runtime.flow_run.id
    async with m.sessions.begin() as session:
        ours = await claims.still_ours(session, company.builds, company.id, m.worker)
        finished = set[UUID]()
        if not always:
            finished = await _finished(session, ours, numbers, recheck=recheck)
        todo = ours - finished
        await steps.begin(session, todo, numbers, UUID(run_id) if run_id else None, m.clock())
        situations = await read(session, todo)
    going = company.only(ours)
    if not todo:
        return going
    travellers = [one for one in going.travellers if one.build in todo]
    answers = await asyncio.gather(
        *(_within(company, work(situations[one.build])) for one in travellers),
        return_exceptions=True,
    )
    failed: dict[Traveller, Exception] = {}
    async with m.sessions.begin() as session:
        # Another worker may have taken some over while we worked: nothing more is written of them.
        kept = await claims.still_ours(session, todo, company.id, m.worker)
        lost = todo - kept
        for one, answer in zip(travellers, answers, strict=True):
            if one.build in lost or isinstance(answer, LostBuild):
                lost.add(one.build)
            elif isinstance(answer, Exception):
                failed[one] = answer
                await steps.fail(session, one.build, numbers, str(answer), m.clock())
            elif isinstance(answer, BaseException):
                raise answer
            else:
                await steps.finish(
                    session,
                    one.build,
                    numbers,
                    evidence=answer.evidence,
                    seen=answer.words,
                    at=m.clock(),
                )
    _log(numbers, failed)
    staying = ours - lost - {one.build for one in failed}
    what = runtime.task_run.task_name or ""
    if failed and not staying:
        raise NothingDone(numbers, failed, what) from next(iter(failed.values()))
    away = {one: LostBuild("another run has it now") for one in company.travellers} | failed
    for one, error in away.items():
        if one.build not in staying:
            departures.note(one.host, deed(numbers) or what, error)
    await _go_alone(company, set(failed))
    return company.only(staying)


async def _within(company: Company, work: Awaitable[Seen]) -> Seen:
    _COMPANY.set(company.id)
    return await work


async def holds_claim(session: AsyncSession, build: UUID) -> bool:
    """Whether the company of this work has the build, and will until the transaction ends.

    Another run of this very worker may have it by now: a worker that had lost its lease goes on.
    """
    return bool(await claims.still_ours(session, [build], _COMPANY.get(), means().worker))


async def require_claim(session: AsyncSession, build: UUID) -> None:
    """Make sure that the build is ours, and will be until the transaction ends.

    Raises:
        LostBuild: we were too slow, and another worker or run has it.
    """
    if not await holds_claim(session, build):
        raise LostBuild(f"build {build} is another run's now")


async def _finished(
    session: AsyncSession, builds: set[UUID], numbers: tuple[int, ...], *, recheck: bool
) -> set[UUID]:
    if not numbers:
        return set()
    done = await steps.done(session, builds, numbers)
    if not recheck:
        return done
    found = await steps.states(session, done)
    return {
        build
        for build in done
        if all(found[build][number].evidence in (Evidence.OBSERVED, None) for number in numbers)
    }


def _log(numbers: tuple[int, ...], failed: dict[Traveller, Exception]) -> None:
    logger = get_run_logger()
    arrows = ", ".join(str(number) for number in numbers)
    for one, error in failed.items():
        fault = None if isinstance(error, OutsideError | Problem) else error
        logger.error("%s failed at %s: %s", one.host, arrows, error, exc_info=fault)


async def _go_alone(company: Company, leaving: set[Traveller]) -> None:
    """Give hosts that failed among others a claim each; the dispatcher starts their runs."""
    if not leaving:
        return
    m = means()
    async with m.sessions.begin() as session:
        builds = [one.build for one in leaving]
        for build in await claims.still_ours(session, builds, company.id, m.worker):
            await claims.end(session, [build], company.id, m.clock())
            await claims.claim(session, company.phase, [build], company=uuid4(), at=m.clock())
        await notify(session, CHANNEL_CALLBACKS)
