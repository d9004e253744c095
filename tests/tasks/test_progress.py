"""What the progress bar of a synchronisation shows, by what a real Pulp said of one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from integrations.pulp import Progress
from tasks.content import share_done, under_way

SAMPLES = Path(__file__).parents[2].parent / "shared" / "contracts" / "pulp-samples.jsonl"
LINES = TypeAdapter(tuple[Progress, ...])


def told(number: int) -> tuple[Progress, ...]:
    if not SAMPLES.is_file():
        pytest.skip("../shared/contracts/pulp-samples.jsonl is missing")
    recorded = json.loads(SAMPLES.read_text().splitlines()[number - 1])
    assert recorded["n"] == number
    return LINES.validate_python(recorded["body"]["progress_reports"])


def test_a_sync_whose_artifacts_still_come_is_not_full() -> None:
    lines = told(8)
    assert share_done(lines) == 60
    assert under_way(lines) == "Downloading Artifacts 3, Associating Content 0"


def test_only_what_is_served_is_full() -> None:
    assert share_done(told(10)) == 99
    assert under_way(told(10)) == ""


def test_before_pulp_says_anything_nothing_is_done() -> None:
    assert share_done(()) == 0


def test_a_line_with_a_total_counts_by_its_part() -> None:
    line = {"message": "Parsed Packages", "code": "x", "state": "running", "done": 1, "total": 4}
    lines = LINES.validate_python([line])
    assert share_done(lines) == 25
    assert under_way(lines) == "Parsed Packages 1/4"
