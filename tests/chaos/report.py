"""Strikes with faults in an order that the seed chooses, and says what became of them."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.chaos.faults import Kind, Point, kinds_at
from tests.chaos.site import ChaosSite
from tests.chaos.trial import Case, Clean, Result, clean, strike
from tests.chaos.walks import WALKS

__all__ = ["Report", "cases"]

_PROCESSES = {
    Kind.KILLED: "worker",
    Kind.SLEPT: "worker",
    Kind.CUT: "database",
    Kind.UNANSWERED: "database",
    Kind.FULL: "database",
}


def cases(beginning: str | None, a_few: Sequence[str]) -> list[Case]:
    """Every walk, alone and in company, without and with Puppet and Candlepin.

    Args:
        beginning: only those whose name begins so; empty: all; None: only a few.
        a_few: the names of these.
    """
    shapes = [(hosts, full) for hosts in (1, 3) for full in (False, True)]
    every = [Case(walk, hosts, full) for walk in WALKS for hosts, full in shapes]
    if beginning is None:
        return [one for one in every if str(one) in a_few]
    return [one for one in every if str(one).startswith(beginning)]


@dataclass(frozen=True)
class _Planned:
    case: Case
    clean: Clean
    point: Point
    kind: Kind

    @property
    def name(self) -> str:
        return f"{self.case}/{self.point}/{self.kind}"


@dataclass
class Report:
    """All faults that were struck with, and what became of each."""

    seed: int
    results: list[Result] = field(default_factory=list)
    planned: int = 0
    seconds: float = 0

    async def run(
        self,
        site: ChaosSite,
        chosen: Iterable[Case],
        *,
        budget: float,
        only: str = "",
    ) -> None:
        """Strike until all points had their turn, or the time is up.

        Args:
            site: where.
            chosen: what is walked.
            budget: seconds.
            only: the fault of this name, as a report prints it; empty: all.
        """
        began = time.monotonic()
        plan = await self._plan(site, chosen)
        self.planned = len(plan)
        for one in plan:
            if only and only != one.name:
                continue
            if time.monotonic() - began > budget:
                break
            self.results.append(await strike(site, one.case, one.point, one.kind, one.clean))
        self.seconds = time.monotonic() - began

    async def _plan(self, site: ChaosSite, chosen: Iterable[Case]) -> list[_Planned]:
        plan = []
        for case in chosen:
            passed = await clean(site, case)
            for point in passed.points:
                plan += [_Planned(case, passed, point, kind) for kind in kinds_at(point)]
        random.Random(self.seed).shuffle(plan)
        return plan

    @property
    def bad(self) -> list[str]:
        """The faults that did not end well, in words."""
        return [_told(one) for one in self.results if not one.good]

    def __str__(self) -> str:
        rows: dict[tuple[str, str], list[Result]] = defaultdict(list)
        for one in self.results:
            rows[_process(one), one.kind.value].append(one)
        lines = [f"{'process':12}{'fault':28}{'faults':>7}{'resumed':>9}{'held first':>12}"]
        for (process, kind), found in sorted(rows.items()):
            resumed = sum(one.resumed for one in found)
            held = sum(bool(one.held) for one in found)
            lines.append(f"{process:12}{kind:28}{len(found):>7}{resumed:>9}{held:>12}")
        lines += ["", *self.bad] if self.bad else [""]
        lines.append(
            f"seed {self.seed}: {len(self.results)} of {self.planned} points"
            f" in {self.seconds:.0f} s; {sum(one.same for one in self.results)} writes of a stopped"
            " process were repeated without a change"
        )
        lines.append(self.last_line)
        return "\n".join(lines)

    @property
    def last_line(self) -> str:
        """The sums."""
        found = self.results
        return (
            f"faults {len(found)}, resumed {sum(one.resumed for one in found)},"
            f" effects repeated {_sum(found, 'repeated')},"
            f" records leaked {_sum(found, 'leaked')}, callbacks lost {_sum(found, 'lost')}"
        )


def _sum(found: Sequence[Result], name: str) -> int:
    return sum(getattr(one, name) for one in found)


def _process(result: Result) -> str:
    if result.kind in _PROCESSES:
        return _PROCESSES[result.kind]
    words = result.point.name.removeprefix("look at ").split(" ", 1)
    return words[-1].rpartition(" ")[0] or words[-1]


def _told(result: Result) -> str:
    parts = [f"resumed {result.resumed}", f"repeated {result.repeated}"]
    parts += [f"leaked {result.leaked}", f"lost {result.lost}", result.why]
    return f"{result}: {', '.join(part for part in parts if part)}"
