"""Whether a certificate request is that of a host which we are installing.

Both sides ask here: the gateway when Puppet's autosign does, and the flow that finds a request
waiting. The token proves the build, and the first key that comes with it is the host's: while a
request waits anybody may read it, token and all, but nobody else has its private key.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col, select

from inventory import builds, effects, steps
from inventory.database import AsyncSession
from inventory.hosts import host_by_name, lock_host
from inventory.life import AT_WORK, HostState
from inventory.models import Build, Host, HostGroup, Puppet, Step, StepState

__all__ = ["PLACE", "SYSTEM", "Verdict", "judge", "place", "release_key", "waiting"]

SYSTEM = "Puppet CA"
PLACE = "Puppet "
"""Before the server's name, in the places of effects."""
_ARROW = 24


@dataclass(frozen=True)
class Verdict:
    """Whether to sign, and why."""

    sign: bool
    reason: str


def place(puppet: Puppet) -> str:
    """How effects name its CA."""
    return f"{PLACE}{puppet.name}"


async def judge(
    session: AsyncSession,
    *,
    puppet_id: int,
    name: str,
    common_name: str,
    token: str | None,
    key: str,
    at: datetime,
) -> Verdict:
    """Say whether a request may be signed; while its host installs, that is noted at arrow 24.

    That it is about to be signed is written down as an effect, whoever is going to sign it.

    Args:
        session: in the caller's transaction.
        puppet_id: of the Puppet whose CA holds the request.
        name: under which the CA holds it.
        common_name: that the request itself has.
        token: its challengePassword.
        key: digest of its public key.
        at: the present.
    """
    if name != common_name:
        return Verdict(False, f"the request for {name} has the common name {common_name}")
    host = await host_by_name(session, name)
    if host is None:
        return Verdict(False, f"there is no host {name}")
    host = await lock_host(session, host.id)
    build = await builds.current_build(session, host.id)
    if build is None:
        return Verdict(False, f"{name} is {host.state} and not being built")
    build = await builds.lock_build(session, build.id)
    group = await _group(session, build)
    if group is None or group.puppet_id != puppet_id:
        return Verdict(False, f"the host group of {name} does not name this Puppet")
    if builds.stage(host, build) not in AT_WORK:
        return Verdict(False, f"{name} is {host.state} and was not sent into its installer")
    verdict = _judged(name, build, token, key)
    if verdict.sign:
        build.certificate_key = key
        puppet = await session.get_one(Puppet, puppet_id)
        signed = {"name": name, "state": "signed", "fingerprint": ""}
        await effects.intend(session, build.id, SYSTEM, place(puppet), name, None, signed, at)
    await steps.begin(session, [build.id], _ARROW, None, at)
    await steps.note(session, build.id, _ARROW, verdict.reason)
    return verdict


def _judged(name: str, build: Build, token: str | None, key: str) -> Verdict:
    if token is None:
        return Verdict(False, f"the request of {name} has no token (challengePassword)")
    if not hmac.compare_digest(builds.token_hash(token), build.certificate_hash or ""):
        return Verdict(False, f"the request of {name} does not have the token of its build")
    if build.certificate_stale:
        return Verdict(
            False, f"a certificate of {name} from its first try is in the way; it is cleaned"
        )
    if build.certificate_key not in (None, key):
        return Verdict(
            False, f"the token of {name} came with another key before: somebody has copied it"
        )
    return Verdict(True, "asked for with the build's token")


async def waiting(session: AsyncSession) -> list[UUID]:
    """Builds whose host may have a request waiting, or a certificate in its way."""
    open_arrow = sa.exists().where(
        col(Step.build_id) == col(Build.id),
        col(Step.number) == _ARROW,
        col(Step.state).in_((StepState.PENDING, StepState.RUNNING, StepState.FAILED)),
    )
    found = await session.exec(
        select(Build.id)
        .join(Host, col(Host.id) == col(Build.host_id))
        .where(
            col(Build.closed_at).is_(None),
            sa.or_(
                col(Host.state).in_(AT_WORK),
                sa.and_(col(Host.state) == HostState.HELD, col(Build.held_from).in_(AT_WORK)),
            ),
            sa.or_(open_arrow, col(Build.certificate_stale)),
        )
    )
    return list(found)


async def release_key(session: AsyncSession, build: Build) -> None:
    """A host begins its installation once more, and will come with a new key.

    What was signed for the former one is in its way until it is cleaned, by whomever it was signed.
    """
    build.certificate_key, build.certificate_stale = None, True
    await session.flush()
    # What was seen of the arrow is over with it.
    await steps.reopen(session, build.id, _ARROW)


async def _group(session: AsyncSession, build: Build) -> HostGroup | None:
    return await session.get(HostGroup, build.host_group_id) if build.host_group_id else None
