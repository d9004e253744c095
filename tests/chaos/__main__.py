"""``python -m tests.chaos``: strike with as many faults as there is time for, and sum them up."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.chaos.report import Report

_TEST = "tests/chaos/test_chaos.py::test_hosts_go_on_after_whatever_happens"


def main() -> int:
    """Run the one test with other options than ``make test``, and print its report."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--budget", type=float, default=1200, help="seconds (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the order (%(default)s)")
    parser.add_argument("--walk", default="", help="only walks that begin so: cancel, inception/3+")
    parser.add_argument(
        "--only", default="", help="faults whose names, as a report prints them, hold these words"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    given = parser.parse_args()
    report = Report(given.seed)
    with TemporaryDirectory(prefix="chaos-") as directory:
        files = [Path(directory) / str(part) for part in range(given.jobs)]
        # Cut off by a time-out we end our parts, which end the servers that they have started.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        # Sessions of their own, for the sake of the fixtures: database, doubles, Prefect's server.
        running = [_start(given, part, file) for part, file in enumerate(files)]
        try:
            said = [one.communicate()[0] for one in running]
        except KeyboardInterrupt:
            for one in running:
                one.send_signal(signal.SIGINT)
            for one in running:
                one.communicate()
            return 130
        for file, words in zip(files, said, strict=True):
            if not file.exists():
                print(words)
                return 1
            report.take(str(file))
    print(report)
    return 1 if report.bad or not report.results else 0


def _start(given: argparse.Namespace, part: int, report: Path) -> subprocess.Popen[str]:
    environment = {
        "RACKRISE_CHAOS_BUDGET": str(given.budget),
        "RACKRISE_CHAOS_SEED": str(given.seed),
        "RACKRISE_CHAOS_WALK": given.walk,
        "RACKRISE_CHAOS_ONLY": given.only,
        "RACKRISE_CHAOS_PART": str(part),
        "RACKRISE_CHAOS_PARTS": str(given.jobs),
        "RACKRISE_CHAOS_REPORT": str(report),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "--show-capture=no", "--tb=short", _TEST],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


if __name__ == "__main__":
    sys.exit(main())
