"""Arrow 26: what hosts say they install from is compared with what our Pulps serve."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from prefect import get_run_logger, task
from sqlmodel import select

from integrations.errors import OutsideError
from integrations.pulp import Distribution, serving
from inventory import repositories
from inventory.context import contexts
from inventory.models import Pulp, ReportedRepository
from tasks.company import RETRY, Company, Problem, step
from tasks.means import means

__all__ = ["compare_all_repositories", "compare_repositories"]


@task(**step("Compare the reported repositories (26)"))
async def compare_repositories(company: Company) -> Company:
    """Say which Pulp distribution each reported repository is; no host waits for that.

    Where a Pulp cannot be asked now, ``sync-content`` compares later.
    """
    async with means().sessions() as session:
        found = await contexts(session, company.builds)
    await _compare({one.host.id for one in found.values()})
    return company


@task(name="Compare repositories that were reported while Pulp was away (26)", **RETRY)
async def compare_all_repositories() -> int:
    """Compare what is left of all hosts; says how many repositories."""
    return await _compare(None)


async def _compare(host_ids: Collection[int] | None) -> int:
    m = means()
    async with m.sessions() as session:
        reported = await repositories.to_compare(session, host_ids)
        pulps = (await session.exec(select(Pulp).order_by(Pulp.name))).all()
    if not reported or not pulps:
        return 0
    asked = await asyncio.gather(*(_distributions(one) for one in pulps))
    known = [(pulp, there) for pulp, there in zip(pulps, asked, strict=True) if there is not None]
    # Unknown is said only when all could be asked.
    sure = len(known) == len(pulps)
    found = {
        (one.host_id, one.url): name
        for one in reported
        if (name := _serving(one, known)) is not None or sure
    }
    async with m.sessions.begin() as session:
        await repositories.compared(session, found, m.clock())
    unknown = sorted({url for (_, url), name in found.items() if name is None})
    if unknown:
        get_run_logger().warning("no Pulp of this site serves: %s", ", ".join(unknown))
    return len(found)


def _serving(one: ReportedRepository, known: list[tuple[Pulp, list[Distribution]]]) -> str | None:
    for pulp, there in known:
        if (found := serving(one.url, there)) is not None:
            return f"{found.base_path} of Pulp {pulp.name}"
    return None


async def _distributions(pulp: Pulp) -> list[Distribution] | None:
    try:
        return await (await means().pulps.of(pulp)).distributions()
    except (OutsideError, Problem) as error:
        get_run_logger().warning("reported repositories wait for Pulp %s: %s", pulp.name, error)
        return None
