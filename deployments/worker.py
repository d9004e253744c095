"""The worker: takes runs from Prefect's work pool and runs them as coroutines in its own process.

Prefect's own workers start a process for each run, which costs two seconds of CPU time; a
provisioning flow mostly waits for others, so hundreds of them fit into one event loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import anyio.abc
from prefect import Flow
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.context import AsyncClientContext, SyncClientContext
from prefect.exceptions import Abort, Pause
from prefect.flow_engine import run_flow_async
from prefect.states import Cancelled, Crashed
from prefect.workers.base import (
    BaseJobConfiguration,
    BaseVariables,
    BaseWorker,
    BaseWorkerResult,
)

__all__ = ["POOL", "InProcessWorker"]

_log = logging.getLogger(__name__)

POOL = "rackrise"
"""The work pool's name, and the type of the workers that serve it."""
_UNWANTED = [StateType.CANCELLING, StateType.CANCELLED]
"""The second: by a dispatcher that took us for dead, while we were stopped."""


class _Result(BaseWorkerResult):
    """How a run ended, as Prefect's base class wants it told."""


class InProcessWorker(BaseWorker[BaseJobConfiguration, BaseVariables, BaseWorkerResult]):
    """A Prefect worker whose runs are coroutines of this process.

    Args:
        flows: the flow of each deployment, by the deployment's id.
        name: how Prefect's UI and our leases call it.
        limit: how many runs at a time.
    """

    type: str = POOL
    _description = "Runs Rackrise's flows as coroutines in one process."

    def __init__(
        self, flows: Mapping[UUID, Flow[Any, Any]], *, name: str, limit: int = 100
    ) -> None:
        super().__init__(work_pool_name=POOL, name=name, prefetch_seconds=0, limit=limit)
        self._flows = flows
        self._running: dict[UUID, asyncio.Task[Any]] = {}
        self._shared: contextvars.Context | None = None
        self._ready = asyncio.Event()
        self._draining = False

    async def setup(self) -> None:
        """Connect to Prefect, and make the API clients that all runs share.

        Without shared clients every run makes several of its own, each with a TLS context.
        """
        await super().setup()
        await self._exit_stack.enter_async_context(AsyncClientContext())
        self._exit_stack.enter_context(SyncClientContext())
        self._shared = contextvars.copy_context()
        self._ready.set()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: BaseJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> BaseWorkerResult:
        """Run one flow run to its end. Prefect calls this; failures become the run's state."""
        if flow_run.deployment_id is None or flow_run.deployment_id not in self._flows:
            raise RuntimeError(
                f"flow run {flow_run.name} belongs to no deployment of this worker; "
                "restart the worker to register its deployments again"
            )
        flow = self._flows[flow_run.deployment_id]
        if task_status is not None:
            task_status.started(self.name)  # type: ignore[arg-type]
        if self._shared is None:
            raise RuntimeError("the worker has not been set up")
        task = asyncio.create_task(
            _to_the_end(flow, flow_run), context=self._shared.copy(), name=f"run {flow_run.name}"
        )
        self._running[flow_run.id] = task
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            del self._running[flow_run.id]
        state = None if task.cancelled() else task.result()
        if state is None or state.is_cancelling():
            # The second: it came to its end before it could be cancelled, and nobody would say so.
            await self.client.set_flow_run_state(
                flow_run.id,
                Cancelled(message="Cancelled by a person; its hosts are held."),
                force=True,
            )
        return _Result(identifier=self.name, status_code=0)

    @property
    def running(self) -> frozenset[UUID]:
        """The flow runs that are in this process."""
        return frozenset(self._running)

    async def ready(self) -> None:
        """Wait until runs can be taken."""
        await self._ready.wait()

    async def drain(self, seconds: float) -> None:
        """Take no more runs, and wait so long for those under way."""
        self._draining = True
        if self._running:
            await asyncio.wait(self._running.values(), timeout=seconds)

    async def look(self) -> None:
        """Ask for due runs now instead of at the next poll: somebody knows that there is one."""
        await self.get_and_submit_flow_runs()

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Prefect's poll; nothing is taken while the worker leaves."""
        await self._cancel_on_request()
        return [] if self._draining else await super().get_and_submit_flow_runs()

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        # One that is still here was scheduled again because we seemed dead. It will end without
        # the hosts that it has lost; two of it in one process would both take them for their own.
        here = self.limiter.statistics().borrowers
        found = await super()._get_scheduled_flow_runs()
        return [one for one in found if one.flow_run.id not in here]

    async def _cancel_on_request(self) -> None:
        """See to runs that a person has cancelled; Prefect's base class stops at those that run."""
        if not self._running:
            return
        wanted = FlowRunFilter(
            id=FlowRunFilterId(any_=list(self._running)),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNWANTED)),
        )
        for run in await self.client.read_flow_runs(flow_run_filter=wanted):
            await self._cancel_run(run.id)

    async def kill_infrastructure(
        self,
        infrastructure_pid: str,
        configuration: BaseJobConfiguration,
        grace_seconds: int = 30,
    ) -> None:
        """Nothing to kill: a run that has not begun holds nothing of this process."""

    async def _cancel_run(self, flow_run_id: UUID) -> None:
        task = self._running.get(flow_run_id)
        if task is None:
            await super()._cancel_run(flow_run_id)
        elif not task.cancelling():
            task.cancel()


async def _to_the_end(flow: Flow[Any, Any], flow_run: FlowRun) -> State[Any] | None:
    try:
        state: State[Any] | None = await run_flow_async(
            flow, flow_run=flow_run, parameters=flow_run.parameters, return_type="state"
        )
    except Pause as pause:
        # Suspended until somebody resumes it; nothing of it is kept here meanwhile.
        return pause.state
    except Abort as refusal:
        # The server does not let it go on, and has its state; like Pause this is no Exception, and
        # would end the worker with all its other runs.
        _log.warning("run %s does not go on here: %s", flow_run.name, refusal)
        return flow_run.state or Crashed(message=str(refusal))
    return state
