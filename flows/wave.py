"""Starts a wave from a form in Prefect; the dispatchers take it on, and ``attend`` shows it."""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import acreate_table_artifact

from flows.parameters import (
    Canary,
    Growth,
    HostLimit,
    HostNames,
    Share,
    WaveGroup,
    WaveName,
)
from flows.travel import IN_PREFECT
from inventory.models import Door, Role
from inventory.rights import Actor
from inventory.wave_draft import Draft
from tasks.waves import start_wave

__all__ = ["wave"]


@flow(name="wave", flow_run_name="wave · {name}", retries=0, persist_result=False)
async def wave(
    name: WaveName,
    host_group: WaveGroup,
    hosts: HostNames,
    canary: Canary = 1,
    growth: Growth = 2.0,
    largest: HostLimit = 0,
    failure_share: Share = 0.1,
    per_subnet: HostLimit = 0,
    per_boot_server: HostLimit = 0,
    per_pulp: HostLimit = 0,
    rebuild: bool = False,
) -> None:
    """Provision many hosts: a canary first, then batches that grow, stopped when too many fail.

    The run only starts the wave; see how far it is in its progress artifact.

    Args:
        name: Name of the wave: lower-case letters, digits and -.
        host_group: Host group that the hosts become.
        hosts: Names of the hosts, in the order of their turn.
        canary: Hosts of the first batch.
        growth: How many times as large as the one before a batch is.
        largest: Hosts of a batch at most; 0 is no limit.
        failure_share: Stop when more than this share of the hosts has failed, from 0 to 1.
        per_subnet: Hosts under way at a time in the group's subnet; 0 is no limit.
        per_boot_server: Hosts under way at a time at its boot server; 0 is no limit.
        per_pulp: Hosts under way at a time at its Pulp; 0 is no limit.
        rebuild: Hosts that have a system may be in it; what is on their disks is lost.
    """
    draft = Draft(
        name=name,
        host_group=host_group,
        hosts=tuple(hosts),
        canary=canary,
        growth=growth,
        largest=largest,
        failure_share=failure_share,
        per_subnet=per_subnet,
        per_boot_server=per_boot_server,
        per_pulp=per_pulp,
        rebuild=rebuild,
    )
    begun = await start_wave(Actor(IN_PREFECT, Door.PREFECT, Role.ADMIN), draft)
    await acreate_table_artifact(
        key=f"wave-{name}-hosts",
        table=[
            {"turn": turn, "host": one.name, "outcome": one.ended}
            for turn, one in enumerate(begun.hosts, start=1)
        ],
        description=f"Wave {name}: hosts in the order of their turn",
    )
