"""Waves in Prefect: the form starts one, and its progress is one artifact that is kept up."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact

from flows.wave import wave
from inventory import acts_on_waves, wave_advance, wave_views
from inventory.errors import WaveExists
from inventory.models import Door, Role, now
from inventory.rights import Actor
from inventory.scope import Scope
from inventory.wave_draft import Draft
from tasks.means import use
from tasks.waves import show_waves
from tests.flows.bench import Bench

pytestmark = pytest.mark.long
ADA = Actor("ada", Door.CONSOLE, Role.OPERATOR)


async def artifacts(key: str) -> list[Artifact]:
    async with get_client() as client:
        return await client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        )


async def test_the_form_starts_a_wave_and_shows_its_hosts(bench: Bench) -> None:
    names = [await bench.discovered(one) for one in (1, 2)]
    await wave("form", "plain", names, canary=2, per_subnet=1)
    async with bench.database.sessions() as session:
        found = await wave_views.detail(session, Scope(), "form")
    assert (found.wave.hosts, found.canary, found.per_subnet) == (2, 2, 1)
    assert found.wave.asked_by == "a run started in Prefect"
    (shown,) = await artifacts("wave-form-hosts")
    assert [one["host"] for one in json.loads(str(shown.data))] == names
    with pytest.raises(WaveExists, match="there is a wave form already"):
        await wave("form", "plain", names)


async def test_each_wave_has_one_progress_artifact_until_shortly_after_its_end(
    bench: Bench,
) -> None:
    names = tuple([await bench.discovered(one) for one in (1, 2)])
    async with bench.database.sessions.begin() as session:
        await acts_on_waves.start(session, ADA, Draft("bars", "plain", names), at=now())
    assert await show_waves.fn() == ["bars"]
    (before,) = await artifacts("wave-bars")
    assert (before.type, float(str(before.data))) == ("progress", 0)
    async with bench.database.sessions.begin() as session:
        await acts_on_waves.cancel(session, ADA, "bars", at=now())
    async with bench.database.sessions.begin() as session:
        await wave_advance.advance(session, now())
    assert await show_waves.fn() == ["bars"]
    (after,) = await artifacts("wave-bars")
    assert (after.id, float(str(after.data))) == (before.id, 100)
    assert "is cancelled" in str(after.description)
    use(replace(bench.means, clock=lambda: now() + timedelta(minutes=11)))
    assert await show_waves.fn() == []
