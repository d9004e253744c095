"""A reduced set of hostile requests to console and API, and that a hole would be noticed."""

from __future__ import annotations

import pytest

from deployments.postgres import PostgresUrls
from inventory import rights
from inventory.models import Role
from inventory.rights import Actor
from tests.hostile.operators import attack_operators

SEED = 7


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_nobody_without_a_right_changes_anything_and_nothing_breaks(
    postgres: PostgresUrls,
) -> None:
    rows = await attack_operators(postgres.rackrise, 16, SEED)
    assert [str(harm) for row in rows for harm in row.harms] == [], f"seed {SEED}"
    paths = {row.endpoint.path for row in rows}
    assert {"/", "/held/retry", "/live/fleet", "/api/v1/events", "/rules/{name:path}"} <= paths
    assert len(rows) >= 75
    # Those who may do get in: else nothing behind the doors was tried.
    let_in = {row.endpoint.method for row in rows if row.classes["2xx"]}
    assert {"GET", "POST"} <= let_in


async def test_a_right_that_is_not_asked_for_is_found_out(
    postgres: PostgresUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    def anybody(actor: Actor, role: Role, *, everywhere: bool = False) -> None:
        """Forgets to look."""

    monkeypatch.setattr(rights, "require", anybody)
    rows = await attack_operators(postgres.rackrise, 120, SEED, "POST /api/v1/rules")
    assert any("is another now" in harm.what for row in rows for harm in row.harms)
