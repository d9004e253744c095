"""Tells webhooks what happens to hosts: beside the dispatcher, in any number of processes.

What is owed is written when an event is published, taken for a time before it is sent, and settled
after it: whoever dies in between leaves it to be sent again. At least once, and of one host in its
order as well as it goes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import quote

from integrations.webhook import Answer, Call, NotSent, Post, Rules, posts
from inventory import deliveries, events
from inventory.database import CHANNEL_EVENTS, DATABASE_ERRORS, Sessions
from inventory.deliveries import GIVEN_UP_AFTER, Due, Result
from inventory.listening import Listener, listen
from inventory.models import HostEvent, now
from inventory.sealing import Sealer, WrongKey

__all__ = ["Webhooks", "cloud_event", "delay", "tell_webhooks"]

_log = logging.getLogger(__name__)

AT_ONCE = 8
"""Deliveries under way to one receiver: one that is slow keeps only its own waiting."""
LEASE = timedelta(seconds=60)
"""More than sending takes; what was taken and not settled by then is sent again."""
ROUND_SECONDS = 2.0
_FIRST, _LONGEST = timedelta(seconds=5), timedelta(hours=4)
_GONE = 410


def delay(attempt: int, rng: random.Random) -> timedelta:
    """How long after a failed attempt the next one is: five seconds, growing to four hours."""
    factor: int = 3 ** min(attempt - 1, 12)
    grown = min(_FIRST * factor, _LONGEST)
    # So that a receiver that is back is not met by all at once.
    return grown * rng.uniform(0.75, 1.25)


def cloud_event(event: HostEvent) -> bytes:
    """An event as CloudEvents 1.0 has it, in its structured form."""
    said = {
        "specversion": "1.0",
        "id": str(event.uid),
        "source": f"/rackrise/sites/{quote(event.site, safe='')}",
        "type": f"dev.rackrise.{event.kind}",
        "subject": event.host,
        "time": event.at.isoformat(),
        "datacontenttype": "application/json",
        "data": {
            "position": event.position,
            "host": event.host,
            "host_id": event.host_id,
            "site": event.site,
            "host_group": event.host_group,
            **event.data,
        },
    }
    return json.dumps(said, ensure_ascii=False).encode()


@dataclass
class Webhooks:
    """Sends what webhooks are owed.

    Args:
        sessions: the inventory.
        sealer: opens the secrets.
        rules: where nothing is sent.
        clock: the present.
        rng: spreads the attempts.
    """

    sessions: Sessions
    sealer: Sealer
    rules: Rules = field(default_factory=Rules)
    clock: Callable[[], datetime] = now
    rng: random.Random = field(default_factory=random.Random)
    _busy: dict[int, asyncio.Task[None]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._trust = ssl.create_default_context()

    async def run(self, listener: Listener) -> None:
        """Work rounds until cancelled; a round that fails is tried again at the next."""
        try:
            while True:
                try:
                    await self.round()
                except DATABASE_ERRORS as error:
                    _log.warning("webhooks wait for the database: %r", error)
                await listener.wait(ROUND_SECONDS)
        finally:
            await self.stop()

    async def round(self) -> None:
        """Publish what is new, and begin to work off what each receiver is owed."""
        published = events.MOST_AT_ONCE
        while published == events.MOST_AT_ONCE:
            async with self.sessions.begin() as session:
                published = await events.publish(session, self.clock())
        async with self.sessions() as session:
            waiting = await deliveries.waiting(session, self.clock())
        for webhook in waiting:
            if webhook not in self._busy:
                task = asyncio.create_task(self._work_off(webhook), name=f"webhook {webhook}")
                self._busy[webhook] = task
                task.add_done_callback(partial(self._ended, webhook))

    def _ended(self, webhook: int, task: asyncio.Task[None]) -> None:
        del self._busy[webhook]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("webhook %d is told again in the next round", webhook, exc_info=error)

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._busy:
            await asyncio.wait(list(self._busy.values()))

    async def stop(self) -> None:
        """End what is under way; what was taken is sent again when its time is over."""
        for task in list(self._busy.values()):
            task.cancel()
        await self.idle()

    async def _work_off(self, webhook: int) -> None:
        try:
            async with posts(self.rules, self._trust) as post:
                while True:
                    async with self.sessions.begin() as session:
                        taken = await deliveries.due(
                            session, webhook, limit=AT_ONCE, lease=LEASE, at=self.clock()
                        )
                    if not taken:
                        return
                    await asyncio.gather(*(self._deliver(post, one) for one in taken))
        except DATABASE_ERRORS as error:
            _log.warning("webhook %d waits for the database: %r", webhook, error)

    async def _deliver(self, post: Post, one: Due) -> None:
        try:
            result = self._judge(one, await post(self._call(one)))
        except (NotSent, WrongKey) as error:
            result = self._failed(one, None, str(error))
        except Exception as error:
            # One event that cannot be sent must not keep others from it.
            _log.exception("event %s cannot be sent to %s", one.event.uid, one.webhook.name)
            result = self._failed(one, None, f"a fault of ours: {type(error).__name__}")
        if result.error:
            _log.warning("webhook %s: %s", one.webhook.name, result.error)
        async with self.sessions.begin() as session:
            await deliveries.settle(session, one, result, self.clock())

    def _call(self, one: Due) -> Call:
        return Call(
            url=one.webhook.url,
            secret=self.sealer.open(one.webhook.sealed_secret),
            id=str(one.event.uid),
            at=self.clock(),
            content_type="application/cloudevents+json",
            body=cloud_event(one.event),
        )

    def _judge(self, one: Due, answer: Answer) -> Result:
        if 200 <= answer.status < 300:
            return Result(status=answer.status)
        if answer.status == _GONE:
            return Result(answer.status, "given up: the receiver is gone (410)", gone=True)
        said = f"the receiver answered {answer.status}"
        if 300 <= answer.status < 400:
            said += ", a redirect, which is not followed: give the webhook its new URL"
        elif answer.text.strip():
            said += f": {answer.text.strip()}"
        return self._failed(one, answer.status, said, answer.retry_after)

    def _failed(
        self, one: Due, status: int | None, said: str, wanted: timedelta | None = None
    ) -> Result:
        after = max(delay(one.attempt, self.rng), wanted or timedelta())
        if self.clock() + after > one.owed_since + GIVEN_UP_AFTER:
            return Result(status, f"given up after {one.attempt} attempts; {said}")
        return Result(status, said, retry_after=after)


async def tell_webhooks(url: str, sessions: Sessions, sealer: Sealer, rules: Rules) -> None:
    """Tell webhooks until cancelled, as soon as something happens.

    Args:
        url: of the inventory.
        sessions: of the same.
        sealer: opens the secrets.
        rules: where nothing is sent.
    """
    async with listen(url, CHANNEL_EVENTS) as listener:
        await Webhooks(sessions, sealer, rules).run(listener)
