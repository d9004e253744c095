"""Looks before it leaps: what provisioning would do, and if asked for, a person's leave."""

from __future__ import annotations

import hashlib

from prefect import flow, get_client, get_run_logger, runtime
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.flow_runs import suspend_flow_run

from flows.parameters import HostGroupName, OneHostName, PlannedHosts
from tasks.company import Problem
from tasks.plan import Plan, keep_plan, order_planned, plan_hosts

__all__ = ["plan"]

_KEY = "plan"
_DAY = 24 * 3600


def _called() -> str:
    asked = runtime.flow_run.parameters
    hosts, group = asked.get("hosts") or (), asked.get("host_group")
    if not hosts:
        return f"plan · all hosts of {group}"
    who = hosts[0] if len(hosts) == 1 else f"{len(hosts)} hosts"
    return f"plan · {who}{f' as {group}' if group else ''}"


@flow(name="plan", flow_run_name=_called, retries=0, persist_result=False)
async def plan(
    hosts: PlannedHosts = (),
    host_group: HostGroupName = "",
    name: OneHostName = "",
    approve: bool = False,
    request: int | None = None,
) -> None:
    """Show what provisioning hosts would create, change and leave, and what is in the way.

    Nothing is touched. With approve the run is suspended then: whoever resumes it in Prefect's UI
    has the hosts provisioned, unless the plan has become another one meanwhile.

    Args:
        hosts: Names of the hosts; empty: all of the host group.
        host_group: Host group that they would become; empty: their own.
        name: For a single host: the name that it would get.
        approve: Wait for somebody's leave, for a day at most, and then provision the hosts.
        request: Leave empty; Rackrise's dispatcher sets it for who asked in its console.
    """
    if not hosts and not host_group:
        raise Problem(
            "neither hosts nor a host group are named: there is nothing to plan",
            "Name hosts, or a host group to plan all of its hosts.",
        )
    plans = await _planned(list(hosts), host_group, name, request)
    text = "\n\n".join(f"    {line}" for one in plans for line in str(one).splitlines())
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    shown = await _shown()
    if shown is None:
        await acreate_markdown_artifact(
            key=_KEY, markdown=_markdown(plans), description=f"Plan {digest}"
        )
        await acreate_table_artifact(
            key="plan-lines",
            table=[one.model_dump(mode="json") for one in plans],
            description="The same, for programs",
        )
        for one in plans:
            get_run_logger().info("%s", one)
    if not approve:
        return
    _require_possible(plans)
    await suspend_flow_run(timeout=_DAY, key="approve")  # type: ignore[misc]
    if shown != f"Plan {digest}":
        raise Problem(
            "what would be done is not what was approved: something has changed meanwhile",
            "Run the plan again, and look at what has changed.",
        )
    await order_planned(plans, host_group, name)


async def _planned(hosts: list[str], host_group: str, name: str, request: int | None) -> list[Plan]:
    try:
        plans = await plan_hosts(hosts, host_group, name)
    except Exception as error:
        if request is not None:
            await keep_plan(request, text=None, error=str(error))
        raise
    if request is not None:
        await keep_plan(request, text="\n\n".join(str(one) for one in plans), error=None)
    return plans


def _markdown(plans: list[Plan]) -> str:
    return "\n\n".join(f"```\n{one}\n```" for one in plans)


def _require_possible(plans: list[Plan]) -> None:
    for one in plans:
        if not one.can_be_done:
            worst = one.lines[0]
            raise Problem(
                f"{one.host} cannot be provisioned so: {worst.system} {worst.key}: {worst.words}",
                "Remove what is in the way, and run the plan again.",
            )


async def _shown() -> str | None:
    """What this run has shown before it was suspended."""
    mine = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[runtime.flow_run.id]),
        key=ArtifactFilterKey(any_=[_KEY]),
    )
    async with get_client() as client:
        found = await client.read_artifacts(artifact_filter=mine)
    return found[0].description if found else None
