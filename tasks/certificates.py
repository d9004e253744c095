"""Arrows 16 and 24: what Puppet's CA has of a host: cleaned, signed, and looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from prefect import get_run_logger, task
from pydantic import BaseModel

from integrations.errors import OutsideError, Unavailable
from integrations.puppet import (
    BadRequest,
    CertificateState,
    CertificateStatus,
    PuppetCa,
    read_request,
)
from inventory import builds, certificates, effects, steps
from inventory.arrows import Evidence
from inventory.certificates import SYSTEM
from inventory.context import BuildContext, contexts
from inventory.database import wait_outside
from inventory.life import HostState
from inventory.models import Puppet
from tasks.company import Company, Problem, Seen, each, step
from tasks.means import means
from tasks.road import withdraw

__all__ = [
    "CertificateKeeper",
    "check_certificates",
    "clean_certificates",
    "look_at_certificates",
    "settle_certificates",
]

_ARROW = 24


class Certificate(BaseModel):
    """What the CA has under a name."""

    name: str
    state: CertificateState | None = None
    fingerprint: str = ""


@dataclass(frozen=True)
class CertificateKeeper:
    """The CA of one Puppet server; its records are made by agents, and only taken away by us."""

    ca: PuppetCa
    place: str
    system: str = SYSTEM
    replaces: bool = False
    sole: bool = True

    @property
    def source(self) -> str:
        """The CA itself."""
        return f"the CA of {self.place}"

    def key(self, record: Certificate) -> str:
        """A certname has one certificate, or one request for it."""
        return record.name

    def owner(self, there: Certificate) -> str:
        """A CA does not say who asked."""
        return there.name

    async def read(self, record: Certificate) -> Certificate | None:
        """What the CA has of the name."""
        there = await self.ca.status(record.name)
        return _certificate(there) if there else None

    async def write(self, record: Certificate) -> None:
        """Never: only who holds the key can ask for a certificate."""
        raise NotImplementedError("a certificate is asked for by its host")

    async def remove(self, there: Certificate) -> None:
        """Revoke and remove it."""
        await self.ca.clean(there.name)

    def at_rest(self, record: Certificate) -> dict[str, Any]:
        """All of it: it holds no secret."""
        return record.model_dump(mode="json")

    def recall(self, key: str, at_rest: dict[str, Any]) -> Certificate:
        """As it was kept; of a host that has not been heard of, its name."""
        return Certificate.model_validate({"name": key, **at_rest})

    def former(self, at_rest: dict[str, Any]) -> Certificate | None:
        """Nothing: what was cleaned is revoked for good."""
        return None


def _certificate(there: CertificateStatus) -> Certificate:
    return Certificate(name=there.name, state=there.state, fingerprint=there.fingerprint)


@task(**step("Clean the certificate of a former life (before 16)"))
async def clean_certificates(company: Company) -> Company:
    """Leave nothing under a host's name at Puppet's CA, where it would bar the way of a new key."""
    return await each(company, (), _clean)


async def _clean(context: BuildContext) -> Seen:
    puppet = context.puppet
    if puppet is None:
        return Seen("the host group has no Puppet")
    if context.host.name == puppet.certname:
        raise Problem(
            f"{context.host.name} is the Puppet server {puppet.name} itself: its certificate is not"
            " touched",
            "Give the host another name, or its group no Puppet; then retry.",
        )
    if context.host.state not in (HostState.SELECTED, HostState.PREPARING):
        return Seen("the host was sent into its installer already: what is there is of this life")
    keeper = CertificateKeeper(await means().puppets.of(puppet), certificates.place(puppet))
    record = Certificate(name=context.host.name)
    return Seen(await withdraw(context.build.id, keeper, record))


@task(name="Sign what waits at Puppet's CAs (24)", persist_result=False)
async def settle_certificates() -> None:
    """See to the certificates of all hosts that are being installed or boot for the first time.

    A request that autosign has refused or missed is judged here by the same rules. A CA that is
    away is looked at again at the next turn: nobody is held for it.
    """
    m = means()
    async with m.sessions() as session:
        waiting = await certificates.waiting(session)
        found = await contexts(session, waiting)
    await _settle(found.values())


@task(**step("Look at the certificates", 24))
async def look_at_certificates(company: Company) -> Company:
    """See to the certificates of these hosts at once; one that is not there yet may still come."""
    async with means().sessions() as session:
        found = await contexts(session, company.builds)
    await _settle(found.values())
    return company


async def _settle(found: Collection[BuildContext]) -> None:
    away: set[int] = set()
    await asyncio.gather(*(_settle_calmly(one, one.puppet, away) for one in found if one.puppet))


async def _settle_calmly(context: BuildContext, puppet: Puppet, away: set[int]) -> None:
    async with means().admission.gate(SYSTEM, puppet.name):
        if puppet.id in away:
            return  # one host has waited for its answer; the others need not do so too
        try:
            await _settle_one(context, puppet)
        except (OutsideError, Problem) as error:
            if isinstance(error, Unavailable | Problem):
                away.add(puppet.id)
            get_run_logger().warning("%s: %s", context.host.name, error)
            async with means().sessions.begin() as session:
                await steps.note(session, context.build.id, _ARROW, str(error))


async def _settle_one(context: BuildContext, puppet: Puppet) -> None:
    m, name = means(), context.host.name
    ca = await m.puppets.of(puppet)
    if context.build.certificate_stale:
        await _clean_former(context, ca)
    there = await ca.status(name)
    if there is not None and there.state is CertificateState.REQUESTED:
        there = await _answer(context, puppet, ca)
    if there is not None and there.state is CertificateState.SIGNED:
        async with m.sessions.begin() as session:
            place = certificates.place(puppet)
            await effects.confirm(session, context.build.id, SYSTEM, place, name, m.clock())
            await steps.finish(
                session,
                context.build.id,
                _ARROW,
                evidence=Evidence.OBSERVED,
                seen=f"{there}, at {ca.settings.url}",
                at=m.clock(),
            )


async def _clean_former(context: BuildContext, ca: PuppetCa) -> None:
    """Take away what the host was signed before it began to install anew."""
    name = context.host.name
    async with means().sessions.begin() as session:
        await wait_outside(session)
        # Read again, and kept: another flow may have cleaned it, and the host been signed anew.
        build = await builds.lock_build(session, context.build.id)
        if not build.certificate_stale:
            return
        there = await ca.status(name)
        if there is not None and there.state is not CertificateState.REQUESTED:
            await ca.clean(name)
            get_run_logger().info("%s installs anew: its former certificate is cleaned", name)
        build.certificate_stale = False


async def _answer(context: BuildContext, puppet: Puppet, ca: PuppetCa) -> CertificateStatus | None:
    """Sign a request that waits, or take it away, so that the right one can come."""
    m, name = means(), context.host.name
    pem = await ca.request(name)
    if pem is None:
        return await ca.status(name)  # it has just been signed, or taken away
    try:
        asked = await asyncio.to_thread(read_request, pem)
    except BadRequest as error:
        await ca.forget(name)
        get_run_logger().warning("the request of %s is taken away: %s", name, error)
        return None
    async with m.sessions.begin() as session:
        said = await certificates.judge(
            session,
            puppet_id=puppet.id,
            name=name,
            common_name=asked.common_name,
            token=asked.token,
            key=asked.public_key,
            at=m.clock(),
        )
    if not said.sign:
        await ca.forget(name)
        get_run_logger().warning("the request of %s is taken away: %s", name, said.reason)
        return None
    return await ca.sign(name)


@task(**step("Check the certificate", 24))
async def check_certificates(company: Company) -> Company:
    """Make sure that the CA has signed each host, now that it has run its agent."""
    return await each(company, (_ARROW,), _check)


async def _check(context: BuildContext) -> Seen:
    puppet, name = context.puppet, context.host.name
    if puppet is None:
        raise Problem(f"the host group of {name} has no Puppet any more", "Retry.")
    m = means()
    async with m.admission.gate(SYSTEM, puppet.name):
        there = await (await m.puppets.of(puppet)).status(name)
    if there is None or there.state is not CertificateState.SIGNED:
        raise Problem(
            f"Puppet's CA at {puppet.url} has {there.state if there else 'nothing'} of {name}",
            "Run the agent on the host, so that it asks for a certificate; then retry.",
        )
    return Seen(f"{there}, at {puppet.url}")
