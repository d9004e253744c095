"""``python -m tests.chaos``: strike with as many faults as there is time for, and sum them up."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

_TEST = "tests/chaos/test_chaos.py::test_hosts_go_on_after_whatever_happens"


def main() -> int:
    """Run the one test with other options than ``make test``, and print its report."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--budget", type=float, default=1200, help="seconds (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the order (%(default)s)")
    parser.add_argument("--walk", default="", help="only walks that begin so: cancel, inception/3+")
    parser.add_argument("--only", default="", help="one fault, as a report names it")
    given = parser.parse_args()
    with TemporaryDirectory(prefix="chaos-") as directory:
        report = Path(directory) / "report"
        environment = {
            "RACKRISE_CHAOS_BUDGET": str(given.budget),
            "RACKRISE_CHAOS_SEED": str(given.seed),
            "RACKRISE_CHAOS_WALK": given.walk,
            "RACKRISE_CHAOS_ONLY": given.only,
            "RACKRISE_CHAOS_REPORT": str(report),
        }
        # A session of its own, for the sake of the fixtures: database, doubles, Prefect's server.
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--show-capture=no", "--tb=line", _TEST],
            cwd=Path(__file__).parents[2],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        if not report.exists():
            print(ended.stdout)
            return 1
        print(report.read_text())
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())
