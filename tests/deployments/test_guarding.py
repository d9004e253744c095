"""Prefect's API is not left open: a password that is made once, and no listening without one."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from deployments.guarding import Unguarded, guarded, made_once, require_guarded
from deployments.prefect_server import settings

SERVER, CLIENT = "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"


def test_the_password_is_made_once_for_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "prefect.key"
    secret = made_once(file)
    assert len(secret) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert made_once(file) == secret
    assert made_once(tmp_path / "another.key") != secret


def test_a_file_that_was_cut_off_gives_no_empty_password(tmp_path: Path) -> None:
    (tmp_path / "prefect.key").touch()
    with pytest.raises(
        RuntimeError, match=r"prefect\.key is empty: restore it from a backup, or remove"
    ):
        made_once(tmp_path / "prefect.key")


def test_server_and_clients_get_the_same_and_no_other_site_is_let_in() -> None:
    made = guarded("secret", "http://127.0.0.1:4200")
    assert made[SERVER] == made[CLIENT] == "rackrise:secret"
    assert made["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:4200"
    assert made["PREFECT_UI_API_URL"] == "/api"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_the_loopback_may_be_open(host: str) -> None:
    require_guarded(host, {})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.2", "rackrise.example.org"])
def test_a_network_may_not(host: str) -> None:
    require_guarded(host, {SERVER: "rackrise:secret"})
    for nothing in ("", "rackrise", "rackrise:"):
        with pytest.raises(Unguarded, match=f"open to everybody who reaches {host}: set {SERVER}"):
            require_guarded(host, {SERVER: nothing})


def test_the_command_refuses_with_that_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SERVER, raising=False)
    said = CliRunner().invoke(app, ["prefect", "--host", "192.0.2.2"])
    assert said.exit_code == 2
    assert "would be open to everybody who reaches 192.0.2.2" in said.output


def test_what_an_operator_has_set_stays() -> None:
    made = settings("127.0.0.1", 4300, {"PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "https://p.example"})
    assert made["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "https://p.example"
    assert settings("::", 4300, {SERVER: "a:b"})["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == (
        "http://[::1]:4300"
    )
    assert made["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
