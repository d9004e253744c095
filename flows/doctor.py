"""Tries every configured system with the calls that provisioning makes, and leaves no trace."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact

from tasks.doctor.advice import advice_for
from tasks.doctor.boot import examine_tftp
from tasks.doctor.checked import Checked, Kind, Outcome, failures_last
from tasks.doctor.content import examine_pulps, examine_trees
from tasks.doctor.dhcp import examine_dhcp
from tasks.doctor.dns import examine_dns
from tasks.doctor.examination import alone
from tasks.doctor.keepers import examine_candlepins, examine_puppets
from tasks.doctor.reach import examine_gateways, examine_power

__all__ = ["doctor"]


@flow(name="doctor", retries=0, persist_result=False)
async def doctor(only: Sequence[Kind] = ()) -> None:
    """Try every system that the site file names, from where provisioning speaks to it.

    Probes (a reservation, DNS records, boot configurations) are seen at the system that owns them
    and taken away again, also when the run is cancelled. No machine is switched.

    Args:
        only: The kinds of systems to try; empty: all.
    """
    kinds: dict[Kind, Callable[[], Awaitable[list[Checked]]]] = {
        Kind.DHCP: examine_dhcp,
        Kind.TFTP: examine_tftp,
        Kind.DNS: examine_dns,
        Kind.TREES: examine_trees,
        Kind.PULP: examine_pulps,
        Kind.PUPPET: examine_puppets,
        Kind.CANDLEPIN: examine_candlepins,
        Kind.POWER: examine_power,
        Kind.GATEWAY: examine_gateways,
    }
    chosen = {kind: kinds[kind] for kind in only or kinds}
    async with alone(), asyncio.TaskGroup() as group:
        examined = [group.create_task(_examined(kind, task)) for kind, task in chosen.items()]
    found = failures_last(one for some in examined for one in some.result())
    count = Counter(one.outcome.value for one in found)
    words = ", ".join(f"{number} {outcome}" for outcome, number in sorted(count.items()))
    await acreate_table_artifact(
        key="doctor",
        table=[one.model_dump(mode="json") for one in found],
        description=f"What the doctor has found: {words or 'nothing is configured'}",
    )
    for one in found:
        if one.outcome is Outcome.FAILED:
            what = f"{one.system} at {one.place}: not so: {one.check}"
            get_run_logger().warning("%s: %s. %s", what, one.seen, one.advice)
    get_run_logger().info("%s", words or "nothing is configured")


async def _examined(kind: Kind, task: Callable[[], Awaitable[list[Checked]]]) -> list[Checked]:
    try:
        return await task()
    except Exception as error:
        # What one kind fails by, such as our own database, must not hide what others have found.
        return [
            Checked(
                system=kind.value,
                place="",
                check="it can be examined",
                outcome=Outcome.FAILED,
                seen=str(error) or type(error).__name__,
                advice=advice_for(error, kind.value),
            )
        ]
