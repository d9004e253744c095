"""Discovered hosts that rules have taken, or might take by now: weighed again, on a schedule."""

from __future__ import annotations

from prefect import get_run_logger, task

from inventory import rules
from inventory.errors import RuleFailed
from inventory.machines import Machine, machines_of
from inventory.models import Host
from inventory.rule_orders import (
    Foreseen,
    Outcome,
    Verdict,
    foresee,
    give_back,
    waiting_hosts,
    weigh,
)
from tasks.means import means

__all__ = ["provision_waiting"]

_TOGETHER = 100
"""Hosts whose facts are read at once."""


@task(name="Weigh the rules for hosts that wait", persist_result=False)
async def provision_waiting() -> list[Verdict]:
    """Weigh discovered hosts again, oldest first, and provision those whose time has come.

    Each is weighed in a transaction of its own, under the same locks as in its discovery. One that
    a rule takes and cannot provision is told of and gives its place back.

    Returns:
        What came of each host, but for those that no rule takes.
    """
    async with means().sessions() as session:
        waiting = await waiting_hosts(session)
    verdicts: list[Verdict] = []
    for first in range(0, len(waiting), _TOGETHER):
        seen = await _foreseen(waiting[first : first + _TOGETHER])
        verdicts += [one.verdict or await _weighed(one.host) for one in seen]
    return [one for one in verdicts if one.outcome is not Outcome.NO_RULE]


async def _foreseen(some: list[Host]) -> list[Foreseen]:
    m = means()
    async with m.sessions() as session:
        in_use = await rules.enabled_rules(session)
        machines = await machines_of(session, [one.id for one in some])
        taken = await rules.places_taken(session)
    limited = (one for one in in_use if one.host_limit > 0)
    full = frozenset(one.id for one in limited if taken.get(one.id, 0) >= one.host_limit)
    at = m.clock()
    return [foresee(one, machines.get(one.id, Machine()), in_use, full, at) for one in some]


async def _weighed(host: Host) -> Verdict:
    m = means()
    try:
        async with m.sessions.begin() as session:
            return await weigh(session, host.id, at=m.clock(), scheduled=True)
    except RuleFailed as error:
        get_run_logger().warning("%s: %s", host.name, error)
        async with m.sessions.begin() as session:
            await give_back(session, host.id)
        return Verdict(host.name, Outcome.FAILED, error.rule, str(error))
