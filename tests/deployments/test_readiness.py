"""The OpenID provider as the doctor sees it."""

from __future__ import annotations

import json

import pytest

from deployments.readiness import examine_provider
from inventory.models import now
from lab.doubles.oidc import oidc_double
from tasks.doctor.checked import Outcome


async def test_without_its_settings_nothing_is_said_of_it() -> None:
    assert await examine_provider() == []


async def test_it_is_tried_with_the_settings_of_the_gateway(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with oidc_double(now) as provider:
        monkeypatch.setenv("RACKRISE_GATEWAY_OIDC_ISSUER", provider.issuer)
        (one,) = await examine_provider()
        assert "oidc_client_id, oidc_rights not given" in one.seen
        monkeypatch.setenv("RACKRISE_GATEWAY_OIDC_CLIENT_ID", "rackrise")
        rights = json.dumps([{"group": "racks", "role": "viewer"}])
        monkeypatch.setenv("RACKRISE_GATEWAY_OIDC_RIGHTS", rights)
        (one,) = await examine_provider()
        assert (one.outcome, one.place) == (Outcome.OK, provider.issuer)
        assert "1 key that signs (RSA)" in one.seen
        for part, said in (("discovery", "discovery document"), ("keys", "set of keys")):
            provider.faults.statuses = {part: 503}
            (one,) = await examine_provider()
            assert (one.outcome, said in one.seen) == (Outcome.FAILED, True)
            assert one.advice
        monkeypatch.setenv("RACKRISE_GATEWAY_OIDC_CA", "/nowhere.pem")
        (one,) = await examine_provider()
        assert (one.outcome, "CA cannot be read" in one.seen) == (Outcome.FAILED, True)
