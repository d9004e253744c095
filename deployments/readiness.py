"""Whether there is what anything needs to run: inventory, Prefect, our deployments, a worker."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial

import httpx
import sqlalchemy as sa
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from pydantic import ValidationError
from sqlmodel import col, select

from deployments.catalogue import CATALOGUE
from deployments.settings import InventorySettings
from deployments.worker import POOL
from gateway.answers import faults_of
from gateway.oidc_settings import OidcSettings
from gateway.operators.oidc import Provider
from gateway.operators.oidc_wire import SignInFailed
from inventory.database import (
    AsyncSession,
    Sessions,
    knows_shape,
    make_engine,
    make_sessions,
    newest_shape,
)
from inventory.models import Site, WorkerLease, now
from tasks.company import Problem
from tasks.doctor.advice import advice_for
from tasks.doctor.checked import Checked, Outcome
from tasks.doctor.reach import gateway_health

__all__ = ["GATEWAY", "NEEDED", "examine_installation", "examine_provider"]

INVENTORY, PREFECT, WORKER, GATEWAY = "inventory", "Prefect", "worker", "gateway"
SIGN_IN = "sign-in"
NEEDED = (INVENTORY, PREFECT, WORKER)
"""Systems without which no flow runs."""
_SECONDS = 10.0
_START = (
    "Start one with `rackrise worker`, with RACKRISE_DATABASE_URL, RACKRISE_TOKEN_KEY and "
    "PREFECT_API_URL in its environment; or everything on one machine with `rackrise up`."
)


async def examine_installation() -> list[Checked]:
    """Look from here at what must be there before any flow can run."""
    prefect = await _examine_prefect()
    return [*await _examine_inventory(), *prefect, *await examine_provider()]


async def _look(system: str, place: str, check: str, how: Callable[[], Awaitable[str]]) -> Checked:
    began = time.monotonic()
    outcome, advice = Outcome.OK, ""
    try:
        async with asyncio.timeout(_SECONDS):
            seen = await how()
    except TimeoutError as error:
        outcome, seen = Outcome.FAILED, f"no answer within {_SECONDS:g} s"
        advice = advice_for(error, system)
    except Exception as error:
        outcome, seen = Outcome.FAILED, str(error) or type(error).__name__
        advice = advice_for(error, system)
    return Checked(
        system=system,
        place=place,
        check=check,
        outcome=outcome,
        seen=seen,
        advice=advice,
        seconds=round(time.monotonic() - began, 3),
    )


async def _examine_inventory() -> list[Checked]:
    if not os.environ.get("RACKRISE_DATABASE_URL"):
        said = Problem(
            "RACKRISE_DATABASE_URL is not set", "Set it as `rackrise up` prints it at its start."
        )
        return [await _look(INVENTORY, "", _REACHED, lambda: _raise(said))]
    url = InventorySettings().database_url.get_secret_value()
    place = sa.make_url(url).render_as_string(hide_password=True)
    engine = make_engine(url, pool_size=1)
    sessions = make_sessions(engine)
    try:
        first = await _look(INVENTORY, place, _REACHED, lambda: _inventory(sessions))
        if first.outcome is not Outcome.OK:
            skipped = (WORKER, "a worker lives"), (GATEWAY, "the gateway answers from here")
            return [first, *(_not_tried(*one, "the inventory is not usable") for one in skipped)]
        found = [first, await _look(WORKER, "", "a worker lives", lambda: _worker(sessions))]
        async with sessions() as session:
            sites = list(await session.exec(select(Site.name, Site.gateway_url)))
        for name, address in sites:
            check = "the gateway answers from here"
            found.append(
                await _look(GATEWAY, f"{name}, {address}", check, partial(gateway_health, address))
            )
        return found
    finally:
        await engine.dispose()


_REACHED = "the inventory is reachable, and of this version's shape"


async def _raise(error: Exception) -> str:
    raise error


def _not_tried(system: str, check: str, why: str) -> Checked:
    return Checked(system=system, place="", check=check, outcome=Outcome.NOT_TRIED, seen=why)


async def _inventory(sessions: Sessions) -> str:
    try:
        async with sessions() as session:
            shape = await _shape(session)
    except OSError as error:
        raise Problem(
            f"it does not answer: {error}",
            "See that `rackrise up` or its PostgreSQL runs, and what RACKRISE_DATABASE_URL says.",
        ) from error
    except sa.exc.DBAPIError as error:
        raise Problem(
            f"it refuses us: {error.orig}",
            "See user, password and database in RACKRISE_DATABASE_URL, and pg_hba.conf.",
        ) from error
    newest = newest_shape()
    if shape == newest:
        return f"its shape is {shape}"
    if shape and not knows_shape(shape):
        raise Problem(
            f"its shape {shape} is of a newer Rackrise than this one ({newest})",
            "Use the Rackrise that has brought it there.",
        )
    raise Problem(
        f"its shape is {shape or 'none: it is empty'}, and this Rackrise needs {newest}",
        "Start the gateway or `rackrise up` of this version: they bring it to its shape.",
    )


async def _shape(session: AsyncSession) -> str | None:
    table = await session.scalar(sa.text("SELECT to_regclass('alembic_version')"))
    if table is None:
        return None
    shape: str | None = await session.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return shape


async def _worker(sessions: Sessions) -> str:
    async with sessions() as session:
        # By the database's clock, as workers renew them.
        living = await session.exec(
            select(WorkerLease.name)
            .where(col(WorkerLease.until) > sa.func.now())
            .order_by(WorkerLease.name)
        )
        found = list(living)
    if not found:
        raise Problem("no worker holds a lease: flows wait for one", _START)
    return ", ".join(found)


async def _examine_prefect() -> list[Checked]:
    url = PREFECT_API_URL.value()
    checks = "its API answers", f"work pool {POOL} and our deployments are there"
    if not url:
        said = Problem(
            "PREFECT_API_URL is not set", "Set it as `rackrise up` prints it at its start."
        )
        first = await _look(PREFECT, "", checks[0], lambda: _raise(said))
    else:
        first = await _look(PREFECT, url, checks[0], lambda: _prefect(url))
    if first.outcome is not Outcome.OK:
        return [first, _not_tried(PREFECT, checks[1], "Prefect is not reachable")]
    return [first, await _look(PREFECT, url or "", checks[1], _registered)]


async def _prefect(url: str) -> str:
    async with get_client() as client:
        error = await client.api_healthcheck()
    if error is not None:
        raise Problem(
            f"it does not answer: {error or type(error).__name__}",
            f"See that `rackrise up` or its server (`rackrise prefect`) runs at {url}, and that "
            "PREFECT_API_AUTH_STRING here is the server's PREFECT_SERVER_API_AUTH_STRING.",
        )
    return url


async def _registered() -> str:
    async with get_client() as client:
        try:
            pool = await client.read_work_pool(POOL)
            paused = "; it is PAUSED" if pool.is_paused else ""
            names = [entry.flow.name for entry in CATALOGUE]
            missing = [one for one in names if not await _is_there(client, one)]
        except ObjectNotFound:
            raise Problem(f"there is no work pool {POOL}", _START) from None
        except httpx.HTTPError as error:
            raise Problem(f"it does not answer: {error}", "See Prefect's log.") from error
    if missing:
        raise Problem(
            f"these deployments are not there: {', '.join(missing)}",
            "Start a worker of this version again: it registers them.",
        )
    if paused:
        raise Problem(f"the work pool {POOL} is paused", "Resume it in Prefect's UI.")
    return f"{len(names)} deployments"


async def _is_there(client: PrefectClient, name: str) -> bool:
    try:
        await client.read_deployment_by_name(f"{name}/{name}")
    except ObjectNotFound:
        return False
    return True


async def examine_provider() -> list[Checked]:
    """The OpenID provider, where this environment has the gateway's settings of one."""
    if not any(name.startswith("RACKRISE_GATEWAY_OIDC_") for name in os.environ):
        return []
    place = os.environ.get("RACKRISE_GATEWAY_OIDC_ISSUER", "")
    return [await _look(SIGN_IN, place, "the OpenID provider can be used to sign in", _provider)]


async def _provider() -> str:
    try:
        return await Provider(OidcSettings(), "", now).examined()
    except ValidationError as error:
        said = faults_of(error)
        raise Problem(said, "Correct RACKRISE_GATEWAY_OIDC_… as the gateway has them.") from None
    except OSError as error:
        said = f"its CA cannot be read: {error}"
        raise Problem(said, "See RACKRISE_GATEWAY_OIDC_CA.") from None
    except SignInFailed as failed:
        raise Problem(failed.said, failed.advice) from None
