"""One worker process: Prefect worker, dispatcher, lease and, if asked for, the proxy beside it."""

from __future__ import annotations

import asyncio
import logging
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import timedelta
from uuid import uuid4

from prefect import get_client

from deployments.catalogue import register
from deployments.clients import candlepin_clients, pulp_clients, puppet_clients
from deployments.dispatcher import LEASE, Dispatcher
from deployments.lease import Lease
from deployments.proxies import proxy_clients
from deployments.settings import WorkerSettings
from deployments.webhooks import tell_webhooks
from deployments.worker import InProcessWorker
from integrations.webhook import Rules
from inventory import claims
from inventory.database import CHANNEL_CALLBACKS, make_engine, make_sessions
from inventory.listening import listen
from inventory.sealing import Sealer
from proxy.serve import listening
from tasks.means import Admission, Means, use

__all__ = ["work"]

_log = logging.getLogger(__name__)

THREADS = 64
"""For blocking libraries (BMCs, SSH, OMAPI): a few silent machines must not make others wait."""
DRAIN_SECONDS = 20.0
"""What runs get to end when the worker is told to leave; others go on elsewhere."""


async def work(settings: WorkerSettings) -> None:
    """Run until SIGTERM or SIGINT; then take no more runs, let those under way end, and leave.

    A run that does not end in time is left as if the process had died: another worker, or this one
    when it is back, goes on at its unfinished step.
    """
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, "blocking"))
    leaving = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, leaving.set)
    url = settings.database_url.get_secret_value()
    engine = make_engine(url, pool_size=20)
    sessions = make_sessions(engine)
    lease = f"{settings.worker_name}/{uuid4().hex[:8]}"
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        proxies, own, app = await stack.enter_async_context(proxy_clients(settings))
        if own is not None:
            await stack.enter_async_context(listening(own, app))
        pulps, puppets, candlepins = pulp_clients(), puppet_clients(), candlepin_clients()
        stack.push_async_callback(pulps.close)
        stack.push_async_callback(puppets.close)
        stack.push_async_callback(candlepins.close)
        held = Lease(LEASE.total_seconds())
        use(
            Means(
                sessions=sessions,
                proxies=proxies,
                pulps=pulps,
                puppets=puppets,
                candlepins=candlepins,
                token_key=settings.token_key.get_secret_value().encode(),
                worker=lease,
                leaving=leaving,
                admission=Admission(settings.calls_at_once),
                lease_holds=held.holds,
                console_url=settings.console_url,
            )
        )
        client = await stack.enter_async_context(get_client())
        registered = await register(client)
        worker = InProcessWorker(
            registered.flows, name=settings.worker_name, limit=settings.runs_at_once
        )
        dispatcher = Dispatcher(
            sessions,
            client,
            registered.phases,
            lease,
            worker.look,
            running=lambda: worker.running,
            lease=held,
            plans=registered.plans,
        )
        listener = await stack.enter_async_context(listen(url, CHANNEL_CALLBACKS))
        async with sessions.begin() as session:
            await claims.renew(session, lease, timedelta())
        tasks = {
            asyncio.create_task(dispatcher.keep_lease(), name="lease"),
            asyncio.create_task(worker.start(printer=_log.info), name="worker"),
        }
        if settings.secret_key is not None:
            telling = tell_webhooks(
                url,
                sessions,
                Sealer(settings.secret_key.get_secret_value()),
                Rules(settings.webhook_denied, settings.webhook_loopback),
            )
            tasks.add(asyncio.create_task(telling, name="webhooks"))
        await worker.ready()
        if settings.ready_file is not None:
            settings.ready_file.touch()
        rounds = asyncio.create_task(dispatcher.run(listener), name="dispatcher")
        told = asyncio.create_task(leaving.wait(), name="leaving")
        done, _ = await asyncio.wait({*tasks, rounds, told}, return_when=asyncio.FIRST_COMPLETED)
        leaving.set()
        rounds.cancel()
        await worker.drain(DRAIN_SECONDS)
        for task in (*tasks, told):
            task.cancel()
        await asyncio.gather(*tasks, rounds, told, return_exceptions=True)
        async with sessions.begin() as session:
            await claims.renew(session, lease, timedelta())
        for task in done - {told}:
            task.result()
