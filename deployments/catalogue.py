"""The deployments of Rackrise as data, and their registration with Prefect."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.exceptions import ObjectAlreadyExists

from deployments.forms import form
from deployments.worker import POOL, InProcessWorker
from flows.anaconda_build import anaconda_build
from flows.attend import attend
from flows.auto_provision import auto_provision
from flows.cancel import cancel
from flows.decommission import decommission
from flows.discovery_intake import discovery_intake
from flows.doctor import doctor
from flows.drift import drift
from flows.first_boot import first_boot
from flows.inception import inception
from flows.plan import plan
from flows.sync_content import sync_content
from flows.tidy import tidy
from flows.wave import wave
from inventory.arrows import Phase

__all__ = ["CATALOGUE", "Registered", "register"]


@dataclass(frozen=True)
class Entry:
    """One deployment: it has its flow's name."""

    flow: Flow[Any, Any]
    phase: Phase | None = None
    every: timedelta | None = None


CATALOGUE = (
    Entry(discovery_intake, Phase.DISCOVERY),
    Entry(inception, Phase.INCEPTION),
    Entry(anaconda_build, Phase.ANACONDA),
    Entry(first_boot, Phase.FIRST_BOOT),
    Entry(cancel, Phase.CANCEL),
    Entry(decommission, Phase.DECOMMISSION),
    Entry(plan),
    Entry(wave),
    Entry(doctor),
    Entry(attend, every=timedelta(minutes=1)),
    Entry(auto_provision, every=timedelta(minutes=10)),
    Entry(drift, every=timedelta(hours=1)),
    Entry(sync_content, every=timedelta(hours=6)),
    Entry(tidy, every=timedelta(days=1)),
)


@dataclass(frozen=True)
class Registered:
    """What Prefect knows of us."""

    flows: Mapping[UUID, Flow[Any, Any]]
    """The flow of each deployment, by the deployment's id."""
    phases: Mapping[Phase, UUID]
    """The deployment of each phase."""
    plans: UUID
    """The deployment that plans."""


async def register(client: PrefectClient) -> Registered:
    """Make work pool and deployments what the catalogue says; safe to repeat and to race."""
    with suppress(ObjectAlreadyExists):
        await client.create_work_pool(
            WorkPoolCreate(
                name=POOL,
                type=POOL,
                description="Runs in the workers of Rackrise: start one with `rackrise worker`.",
                base_job_template=InProcessWorker.get_default_base_job_template(),
            )
        )
    flows: dict[UUID, Flow[Any, Any]] = {}
    phases: dict[Phase, UUID] = {}
    for entry in CATALOGUE:
        deployment = await _register(client, entry)
        flows[deployment] = entry.flow
        if entry.phase is not None:
            phases[entry.phase] = deployment
    planning = next(one for one, made in flows.items() if made is plan)
    return Registered(flows, phases, planning)


async def _register(client: PrefectClient, entry: Entry) -> UUID:
    schedules = []
    if entry.every is not None:
        schedules = [DeploymentScheduleCreate(schedule=IntervalSchedule(interval=entry.every))]
    return await client.create_deployment(
        await client.create_flow(entry.flow),
        entry.flow.name,
        work_pool_name=POOL,
        description=entry.flow.description,
        parameter_openapi_schema=form(entry.flow),
        enforce_parameter_schema=True,
        schedules=schedules,
        concurrency_limit=1 if entry.every is not None else None,
        tags=["rackrise", *([f"phase:{entry.phase.value}"] if entry.phase else [])],
    )
