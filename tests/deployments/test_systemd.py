"""The units that we ship: systemd understands them, they are hardened, and their commands exist."""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app

UNITS = sorted((Path(__file__).parents[2] / "deployments" / "systemd").glob("*.service"))
MOST_EXPOSED = 20
"""Tenths of what ``systemd-analyze security`` counts; 100 is a service without any hardening."""


def settings(unit: Path) -> dict[str, list[str]]:
    """What a unit says; keys may be given several times."""
    found = defaultdict(list)
    for line in unit.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            found[key].append(value)
    return found


def test_each_program_has_a_unit() -> None:
    assert [one.stem for one in UNITS] == [
        f"rackrise-{name}" for name in ("gateway", "prefect", "proxy", "worker")
    ]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_is_hardened_and_comes_back(unit: Path) -> None:
    said = settings(unit)
    name = unit.stem.removeprefix("rackrise-")
    assert said["User"] == ["rackrise"]
    assert said["EnvironmentFile"] == [f"/etc/rackrise/{name}.env"]
    assert said["Restart"] == ["always"]
    for key, value in {
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "CapabilityBoundingSet": "",
    }.items():
        assert said[key] == [value], key
    assert not any("KEY=" in one or "AUTH_STRING" in one for one in said["Environment"])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_commands_of_a_unit_exist(unit: Path) -> None:
    said = settings(unit)
    for line in (*said["ExecStartPre"], *said["ExecStart"]):
        program, command, *words = line.split()
        assert program == "/opt/rackrise/bin/rackrise"
        shown = CliRunner().invoke(app, [command, "--help"])
        assert shown.exit_code == 0, shown.output
        for word in words:
            assert not word.startswith("--") or word in shown.output


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_takes_the_unit(unit: Path, tmp_path: Path) -> None:
    copy = tmp_path / unit.name
    # It looks for the program, which is not installed here.
    copy.write_text(unit.read_text().replace("/opt/rackrise/bin/rackrise", "/bin/true"))
    looked = subprocess.run(
        ["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=60, check=False
    )
    assert (looked.returncode, looked.stderr) == (0, "")
    subprocess.run(
        [
            *("systemd-analyze", "security", "--offline=yes"),
            *(f"--threshold={MOST_EXPOSED}", copy),
        ],
        capture_output=True,
        timeout=60,
        check=True,
    )
