"""Settings of an OpenID provider that cannot work are told at the start."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from gateway.oidc_settings import OidcSettings
from gateway.settings import GatewaySettings
from inventory.models import Role

WHOLE = {
    "ISSUER": "https://id.example.org/realms/racks",
    "CLIENT_ID": "rackrise",
    "CLIENT_SECRET": "s3cret",
    "RIGHTS": json.dumps([{"group": "racks", "role": "operator", "sites": ["east"]}]),
}


def environment(monkeypatch: pytest.MonkeyPatch, **other: str | None) -> None:
    for name, value in {**WHOLE, **other}.items():
        if value is not None:
            monkeypatch.setenv(f"RACKRISE_GATEWAY_OIDC_{name}", value)


def test_they_come_from_the_environment_also_for_the_doctor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment(monkeypatch)
    monkeypatch.setenv("RACKRISE_GATEWAY_CONSOLE_URL", "https://rackrise.example.org")
    for found in (OidcSettings(), GatewaySettings(database_url="x")):
        (one,) = found.oidc_rights
        assert (one.group, one.role, one.sites) == ("racks", Role.OPERATOR, ("east",))
        assert found.oidc_client_secret is not None
        assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ISSUER", None, "oidc_issuer not given"),
        ("CLIENT_ID", None, "oidc_client_id not given"),
        ("RIGHTS", None, "oidc_rights not given"),
        ("ISSUER", "http://id.example.org", "begins with https://"),
        ("ISSUER", "https://id.example.org/?a=b", "without query"),
        ("ISSUER", "https://me@id.example.org/", "without query, fragment and user"),
        ("ISSUER", "https://id.example.org/a b", "no space"),
        ("ISSUER", "id.example.org", "without query, fragment and user"),
        ("SCOPES", '["profile"]', "openid must be among"),
        ("RIGHTS", '[{"group": "a", "role": "king"}]', "role"),
        ("RIGHTS", '[{"group": "a", "role": "viewer", "site": "x"}]', "Extra inputs"),
    ],
)
def test_what_cannot_work_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, said: str
) -> None:
    environment(monkeypatch, **{name: value})
    with pytest.raises(ValidationError, match=said):
        OidcSettings()


def test_without_an_address_to_come_back_to_it_cannot_work(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch)
    with pytest.raises(ValidationError, match="OpenID needs console_url"):
        GatewaySettings(database_url="x")


def test_a_provider_on_this_machine_may_be_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, ISSUER="http://127.0.0.1:9000")
    assert OidcSettings().oidc_issuer == "http://127.0.0.1:9000"
