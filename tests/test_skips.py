"""A skip cannot be silent, and in CI cannot be at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.skips import lacks, not_run

ROOT = Path(__file__).parents[1]
SKIPPED = """
import pytest

def test_of_what_is_not_here():
    pytest.skip({reason!r})

def test_that_runs():
    pass
"""


def _pytest(tests: Path, *, ci: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-p", "tests.skips", "-c", "/dev/null", "-q"]
    done = subprocess.run(
        [*command, "--rootdir", str(tests), str(tests)],
        env={"CI": ci, "PYTHONPATH": str(ROOT), "PATH": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("reason", "ci", "code"),
    [
        ("no bind here", "", 0),
        ("no bind here", "true", 1),
        ("../shared/contracts is missing", "true", 0),
    ],
)
def test_a_skip_is_named_and_fails_ci_unless_it_is_for_want_of_samples(
    tmp_path: Path, reason: str, ci: str, code: int
) -> None:
    (tmp_path / "test_one.py").write_text(SKIPPED.format(reason=reason))
    returned, said = _pytest(tmp_path, ci=ci)
    assert (returned, f"not run: 1 because {reason}" in said) == (code, True), said


def test_the_line_at_the_end_counts_reasons_and_names_what_was_left_out() -> None:
    assert not_run([], "") == "not run: none, all tests ran"
    said = not_run(["lacks root", "lacks root", "x"], "not servers")
    assert said == "not run: 2 because lacks root; 1 because x; all but 'not servers'"


def test_without_root_servers_are_what_the_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert lacks("servers") == "root"
