"""Sends the requests, and counts what must not be."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from tests.hostile.garbage import pools
from tests.hostile.gateways import gateways
from tests.hostile.making import Draft, Endpoint, Maker, Sender
from tests.hostile.proxies import proxy_target
from tests.hostile.schema import from_openapi
from tests.hostile.sending import Outcome, Sent, listening
from tests.hostile.target import Knowledge, Target

__all__ = ["Harm", "Row", "attack", "targets"]

_BATCH = 1000
_MOST_CASES = 150
"""Of schemathesis for each endpoint; it makes a hundred in a second."""
_SHARES = (Sender.STRANGER,) * 9 + (Sender.INSIDER,) * 8 + (Sender.ADMITTED,) * 3


@dataclass(frozen=True)
class Harm:
    """Something that must not be, and the request that did it."""

    endpoint: Endpoint
    what: str
    request: str

    def __str__(self) -> str:
        return f"{self.endpoint}: {self.what}\n    {self.request}"


@dataclass
class Row:
    """An endpoint's line in the table."""

    endpoint: Endpoint
    requests: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    by_contract: int = 0
    """Answers from 500 on that the API's contract prescribes."""
    errors: int = 0
    tracebacks: int = 0
    changes: int = 0
    harms: list[Harm] = field(default_factory=list)

    def add(self, kind: str, what: str, request: Sent | str) -> None:
        """Count a harm of a kind: ``errors``, ``tracebacks`` or ``changes``."""
        setattr(self, kind, getattr(self, kind) + 1)
        self.harms.append(Harm(self.endpoint, what, str(request)))


@dataclass(frozen=True)
class _Plan:
    sender: Sender
    sent: Sent


@asynccontextmanager
async def targets(url: str) -> AsyncIterator[list[Target]]:
    """All that is attacked.

    Args:
        url: of a PostgreSQL in which databases may be made.
    """
    async with gateways(url) as made, proxy_target(made.app) as proxy:
        yield [*made.targets, proxy]


async def attack(
    found: Sequence[Target],
    requests: int,
    seed: int,
    only: str = "",
    tell: Callable[[Row, float], None] = lambda _row, _seconds: None,
) -> list[Row]:
    """Send so many requests to each endpoint.

    Args:
        found: from ``targets``.
        requests: to each endpoint.
        seed: decides all of them.
        only: a part of the names of the endpoints that are attacked.
        tell: is told of each that is through, and how long it took.
    """
    thrown = pools(seed, min(requests, 1500))
    rows = []
    with listening() as stray:
        for target in found:
            if not any(only in str(one) for one in target.endpoints):
                continue
            cases = from_openapi(target, min(_MOST_CASES, requests // 5), seed)
            for endpoint in target.endpoints:
                if only not in str(endpoint):
                    continue
                began = time.monotonic()
                maker = Maker(Random(f"{seed} {endpoint}"), thrown, target.values)
                row = Row(endpoint)
                await _attack(target, row, maker, cases.get(endpoint, []), requests)
                for text in stray:
                    row.add("tracebacks", text, "no request")
                stray.clear()
                rows.append(row)
                tell(row, time.monotonic() - began)
    return rows


async def _attack(
    target: Target, row: Row, maker: Maker, cases: list[Draft], requests: int
) -> None:
    known = target.knowledge(row.endpoint)
    cases = list(cases)
    while row.requests < requests:
        count = min(_BATCH, requests - row.requests)
        await target.renew()
        plans = [_plan(target, row.endpoint, known, maker, cases) for _ in range(count)]
        before = await target.digest(Sender.STRANGER)
        for first in range(0, count, target.at_once):
            some = plans[first : first + target.at_once]
            outcomes = await asyncio.gather(
                *(target.send(one.sender, one.sent, maker) for one in some)
            )
            for plan, outcome in zip(some, outcomes, strict=True):
                _judge(target, row, known, plan, outcome)
        after = await target.digest(Sender.STRANGER)
        if differ := [name for name in before if before[name] != after.get(name)]:
            row.add("changes", f"{', '.join(differ)} is another after these", "a batch of requests")


def _plan(
    target: Target, endpoint: Endpoint, known: Knowledge, maker: Maker, cases: list[Draft]
) -> _Plan:
    if cases:
        # As schemathesis has it: of a stranger, because it may be valid.
        draft = cases.pop()
        sender = Sender.ADMITTED if known.anonymous else Sender.STRANGER
        target.credentials(endpoint, sender, draft, maker)
        return _Plan(sender, maker.finished(endpoint, draft, noisy=False))
    sender = maker.random.choice(_SHARES)
    draft = _draft(endpoint, known, maker)
    if sender is Sender.INSIDER:
        _break(endpoint, known, known.breaks, draft, maker)
    elif sender is Sender.STRANGER and known.anonymous:
        _break(endpoint, known, known.anonymous, draft, maker)
    else:
        _disturb(known, draft, maker)
    target.credentials(endpoint, sender, draft, maker)
    # An insider's request is malformed where it was broken; noise must not hide that.
    return _Plan(sender, maker.finished(endpoint, draft, noisy=True))


def _draft(endpoint: Endpoint, known: Knowledge, maker: Maker) -> Draft:
    """As it should be, as far as that is known."""
    names = [part.split("}")[0] for part in endpoint.path.split("{")[1:]]
    draft = Draft({name: maker.random.choice(maker.values[name]) for name in names})
    if known.form is not None:
        draft.form, draft.kind = dict(known.form), "application/x-www-form-urlencoded"
    elif known.bodies:
        draft.kind, draft.body = maker.random.choice(known.bodies)
    return draft


def _break(
    endpoint: Endpoint, known: Knowledge, breaks: Sequence[object], draft: Draft, maker: Maker
) -> None:
    if not breaks:
        _disturb(known, draft, maker)
        return
    if maker.random.random() < 0.02:
        maker.wrong_method(draft)
        return
    maker.random.choice(known.breaks or known.anonymous)(draft, maker)


def _disturb(known: Knowledge, draft: Draft, maker: Maker) -> None:
    """Any part may be anything, and may be right."""
    for name in draft.params:
        if maker.random.random() < 0.4:
            draft.params[name] = maker.text()
    for name, some in known.query.items():
        if maker.random.random() < 0.7:
            value = maker.random.choice(some) if maker.random.random() < 0.4 else maker.text()
            draft.query.append((name, value))
    if draft.form is not None and maker.random.random() < 0.8:
        name = maker.random.choice([*draft.form])
        draft.form[name] = maker.text()
    elif maker.random.random() < 0.5:
        draft.body = maker.mangled(draft.body) if draft.body else maker.garbage()
    elif maker.random.random() < 0.5:
        draft.body, draft.form = maker.garbage(), None
    if maker.random.random() < 0.1:
        draft.cut = True
    if maker.random.random() < 0.03:
        maker.wrong_method(draft)


def _judge(target: Target, row: Row, known: Knowledge, plan: _Plan, outcome: Outcome) -> None:
    row.requests += 1
    status = outcome.status
    row.classes["none" if status is None else f"{status // 100}xx"] += 1
    if status is not None and status >= 500:
        if status in target.by_contract:
            row.by_contract += 1
        else:
            said = bytes(outcome.body[:300])
            row.add("errors", f"{plan.sender.value}: {status} {said!r}", plan.sent)
    for one in outcome.tracebacks:
        row.add("tracebacks", f"{plan.sender.value}: {one}", plan.sent)
    refused = (status is None or status >= 400) and not known.refusals_kept
    if outcome.written and (plan.sender is not Sender.ADMITTED or refused):
        what = f"{plan.sender.value}, answered {status}: {outcome.written[:3]}"
        row.add("changes", what, plan.sent)
