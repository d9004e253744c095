"""Strikes with faults in an order that the seed chooses, and says what became of them."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from tests.chaos.faults import Kind, Point, Where, kinds_at
from tests.chaos.site import ChaosSite
from tests.chaos.trial import Case, Clean, Result, clean, endless, strike
from tests.chaos.walks import WALKS

__all__ = ["Report", "cases"]

_TRIAL_SECONDS = 120.0
_PROCESSES = {
    Kind.KILLED: "worker",
    Kind.SLEPT: "worker",
    Kind.BACK: "worker",
    Kind.AHEAD: "worker",
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


def _in_turns(plan: list[_Planned], order: random.Random) -> list[_Planned]:
    """In a random order in which each kind of fault, and each server, has its turn."""
    order.shuffle(plan)
    heaps: dict[tuple[str, str], list[_Planned]] = defaultdict(list)
    for one in plan:
        heaps[one.kind, _process(one.kind, one.point)].append(one)
    rows = zip_longest(*heaps.values())
    return [one for row in rows for one in row if one is not None]


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
        part: tuple[int, int] = (0, 1),
    ) -> None:
        """Strike until all points had their turn, or the time is up.

        Args:
            site: where.
            chosen: what is walked.
            budget: seconds.
            only: the faults whose names, as a report prints them, hold these words; empty: all.
            part: which of how many parts, for several processes that share the work.
        """
        began = time.monotonic()
        plan = await self._plan(site, chosen)
        self.planned = len(plan)
        number, parts = part
        for one in plan[number::parts]:
            if only not in one.name:
                continue
            if time.monotonic() - began > budget:
                break
            try:
                async with asyncio.timeout(_TRIAL_SECONDS):
                    result = await strike(site, one.case, one.point, one.kind, one.clean)
            except TimeoutError:
                result = endless(one.case, one.point, one.kind)
            if result is not None:
                self.results.append(result)
        self.seconds = time.monotonic() - began

    async def _plan(self, site: ChaosSite, chosen: Iterable[Case]) -> list[_Planned]:
        plan = []
        for case in chosen:
            passed = await clean(site, case)
            for point in passed.points:
                plan += [_Planned(case, passed, point, kind) for kind in kinds_at(point)]
        return _in_turns(plan, random.Random(self.seed))

    def keep(self, file: str) -> None:
        """Write it down for the process that has asked for it."""
        kept = [one.model_dump(mode="json") for one in self.results]
        whole = {"planned": self.planned, "seconds": self.seconds, "results": kept}
        with open(file, "w") as out:
            json.dump(whole, out)

    def take(self, file: str) -> None:
        """Add what another process has written down."""
        with open(file) as kept:
            whole = json.load(kept)
        self.planned = max(self.planned, whole["planned"])
        self.seconds = max(self.seconds, whole["seconds"])
        self.results += [Result.model_validate(one) for one in whole["results"]]

    @property
    def bad(self) -> list[str]:
        """The faults that did not end well, in words."""
        return [_told(one) for one in self.results if not one.good]

    def __str__(self) -> str:
        rows: dict[tuple[str, str], list[Result]] = defaultdict(list)
        for one in self.results:
            rows[_process(one.kind, one.point), one.kind.value].append(one)
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


def _process(kind: Kind, point: Point) -> str:
    """Who the fault is about."""
    if kind in _PROCESSES:
        return _PROCESSES[kind]
    if point.where is Where.LOOK:
        return point.name.removeprefix("look at ")
    return point.name.split(" ", 1)[1].rpartition(" ")[0]


def _told(result: Result) -> str:
    parts = [f"resumed {result.resumed}", f"repeated {result.repeated}"]
    parts += [f"leaked {result.leaked}", f"lost {result.lost}", result.why]
    return f"{result}: {', '.join(part for part in parts if part)}"
