"""Starts a wave that was asked for in Prefect, and shows there how far waves are."""

from __future__ import annotations

from datetime import timedelta

from prefect import get_client, task
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from inventory import acts_on_waves, wave_views
from inventory.rights import Actor
from inventory.scope import Scope
from inventory.wave_draft import Draft
from inventory.wave_rows import WaveDetail, WaveRow
from tasks.means import means

__all__ = ["show_waves", "start_wave"]

_AFTERWARDS = timedelta(minutes=10)
"""A wave that has ended is shown so much longer, so that the last that is seen is its end."""
_MOST = 200
"""Waves that are looked at, the newest first."""


@task(name="Start a wave", persist_result=False)
async def start_wave(actor: Actor, draft: Draft) -> WaveDetail:
    """Start a wave; says how it begins."""
    m = means()
    async with m.sessions.begin() as session:
        await acts_on_waves.start(session, actor, draft, at=m.clock())
        return await wave_views.detail(session, Scope(), draft.name)


@task(name="Show how far waves are", persist_result=False)
async def show_waves() -> list[str]:
    """Keep one progress artifact for each wave that has not ended; names those waves."""
    m = means()
    async with m.sessions() as session:
        found = await wave_views.overview(session, Scope(), limit=_MOST)
    since = m.clock() - _AFTERWARDS
    shown = [one for one in found.waves if one.ended_at is None or one.ended_at > since]
    for one in shown:
        await _show(one)
    return [one.name for one in shown]


async def _show(wave: WaveRow) -> None:
    key = f"wave-{wave.name}"
    said = (
        f"Wave {wave.name} is {wave.state}: {wave.waiting} waiting, {wave.under_way} under way, "
        f"{wave.good} good, {wave.failed} failed, {wave.refused} refused. {wave.why}".strip()
    )
    async with get_client() as client:
        known = await client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])),
            sort=ArtifactSort.CREATED_DESC,
            limit=1,
        )
    if known:
        await aupdate_progress_artifact(known[0].id, progress=wave.progress, description=said)
    else:
        await acreate_progress_artifact(progress=wave.progress, key=key, description=said)
