"""A work pool with our deployments, and nothing left over in it from the test before."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import (
    PREFECT_WORKER_ENABLE_CANCELLATION,
    PREFECT_WORKER_PREFETCH_SECONDS,
    PREFECT_WORKER_QUERY_SECONDS,
    temporary_settings,
)

from deployments.catalogue import Registered, register
from deployments.worker import InProcessWorker
from tests.flows.bench import bench, no_pauses

__all__ = ["Prefect", "Working", "bench", "no_pauses"]

_OPEN = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]
_SECONDS = 30


class Prefect:
    """The server of the test run, with our deployments registered."""

    def __init__(self, client: PrefectClient, registered: Registered) -> None:
        self.client = client
        self.registered = registered

    async def ended(self, run: UUID) -> FlowRun:
        """A run in its final state."""
        async with asyncio.timeout(_SECONDS):
            while True:
                found = await self.client.read_flow_run(run)
                if found.state is not None and found.state.is_final():
                    return found
                await asyncio.sleep(0.05)

    async def becomes(self, run: UUID, wanted: StateType) -> None:
        """Wait for a run's state."""
        async with asyncio.timeout(_SECONDS):
            while (await self.client.read_flow_run(run)).state_type is not wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def open_runs(self) -> list[FlowRun]:
        """Runs that have not ended, but for those that a schedule has made."""
        state = FlowRunFilterState.model_validate({"type": {"any_": _OPEN}})
        found = await self.client.read_flow_runs(flow_run_filter=FlowRunFilter(state=state))
        return [run for run in found if not run.auto_scheduled]


@pytest.fixture
async def prefect(prefect_api: str) -> AsyncIterator[Prefect]:
    async with get_client() as client:
        server = Prefect(client, await register(client))
        for run in await server.open_runs():
            await client.delete_flow_run(run.id)
        yield server


Working = Callable[[], AbstractAsyncContextManager[InProcessWorker]]


@pytest.fixture
def working(prefect: Prefect) -> Working:
    """Starts a worker in the test's own loop, as ``deployments.work`` does."""

    @asynccontextmanager
    async def start() -> AsyncIterator[InProcessWorker]:
        settings = {
            PREFECT_WORKER_ENABLE_CANCELLATION: True,
            PREFECT_WORKER_QUERY_SECONDS: 1,
            PREFECT_WORKER_PREFETCH_SECONDS: 0,
        }
        with temporary_settings(settings):
            worker = InProcessWorker(prefect.registered.flows, name="test")
            task = asyncio.create_task(worker.start(printer=logging.getLogger("worker").info))
            try:
                async with asyncio.timeout(_SECONDS):
                    await worker.ready()
                yield worker
            finally:
                await worker.drain(_SECONDS)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    return start
