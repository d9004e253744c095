"""Examines BMCs, which are never switched, and gateways, as hosts reach them."""

from __future__ import annotations

import httpx
from prefect import task
from sqlmodel import select

from integrations.errors import Refused, Unavailable
from integrations.power.factory import power_for
from inventory.models import Bmc, Site
from tasks.credentials import power_settings
from tasks.doctor.checked import Checked
from tasks.doctor.examination import LOOK_SECONDS, PROBE_SECONDS, Examination
from tasks.means import means

__all__ = ["examine_gateways", "examine_power", "gateway_health"]

_BLOCK = "its credentials are in Prefect, and its settings complete"
_STATE = "it lets us log in and tells whether the machine has power"
_HEALTH = "it answers /health"


@task(name="Examine BMCs", persist_result=False)
async def examine_power() -> list[Checked]:
    """Log in to each BMC and read the power state; nothing is switched."""
    async with means().sessions() as session:
        bmcs = list(await session.exec(select(Bmc)))
    exam = Examination("power")
    await exam.all(_bmc(exam, one) for one in bmcs)
    return exam.found


async def _bmc(exam: Examination, row: Bmc) -> None:
    place = f"{row.name} ({row.kind})"

    async def block() -> str:
        await power_settings(row)
        return row.credentials

    async def state() -> str:
        power = power_for(await power_settings(row))
        try:
            return f"the power is {await power.state()}"
        finally:
            await power.close()

    if await exam.look(place, _BLOCK, block):
        await exam.look(place, _STATE, state, seconds=PROBE_SECONDS)
    else:
        exam.not_tried(place, _STATE, "its credentials are not there, or not complete")


@task(name="Examine gateways", persist_result=False)
async def examine_gateways() -> list[Checked]:
    """Call each site's gateway at the URL that hosts are given."""
    async with means().sessions() as session:
        sites = list(await session.exec(select(Site)))
    exam = Examination("gateway")
    await exam.all(_site(exam, one) for one in sites)
    return exam.found


async def _site(exam: Examination, site: Site) -> None:
    place = f"{site.name}, {site.gateway_url}"
    await exam.look(place, _HEALTH, lambda: gateway_health(site.gateway_url))


async def gateway_health(url: str) -> str:
    """Ask a gateway whether it is well.

    Raises:
        Unavailable: nobody answers there, or it has no database.
        Refused: something else answers there.
    """
    address = f"{url.rstrip('/')}/health"
    place = {"system": "gateway", "address": address, "operation": "say that it is well"}
    try:
        async with httpx.AsyncClient(timeout=LOOK_SECONDS - 1, trust_env=False) as http:
            answer = await http.get(address)
    except httpx.HTTPError as error:
        raise Unavailable(**place, said=str(error) or repr(error)) from error
    if answer.status_code >= 500:
        raise Unavailable(**place, said=f"HTTP {answer.status_code} {answer.text[:100]}")
    if answer.status_code != httpx.codes.OK or '"ok"' not in answer.text:
        raise Refused(**place, said=f"HTTP {answer.status_code} {answer.text[:100]!r}")
    return f"{address} says that it is well"
