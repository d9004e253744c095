"""Arrow 23, and what must be there before 16: what Candlepin has of a host and its host group."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from prefect import get_run_logger, task
from pydantic import BaseModel

from integrations.candlepin import MODE, Candlepin, Consumer, Deleted
from integrations.errors import OutsideError
from inventory import consumers, effects, steps
from inventory.arrows import Evidence
from inventory.consumers import SYSTEM
from inventory.context import BuildContext, contexts
from inventory.life import HostState
from inventory.models import Candlepin as CandlepinRow
from inventory.models import Consumer as KnownConsumer
from tasks.company import Company, Problem, Seen, each, step
from tasks.means import means
from tasks.road import ensure, withdraw

__all__ = [
    "ActivationKeyKeeper",
    "ConsumerKeeper",
    "EnvironmentKeeper",
    "OwnerKeeper",
    "check_consumers",
    "consumer_keeper",
    "group_records",
    "look_at_consumers",
    "prepare_subscriptions",
    "registered_consumer",
    "remove_consumers",
    "stale_consumers",
]

_ARROW = 23
_FQDN = "network.fqdn"
_SHARED = "what a host group needs at Candlepin is not one host's to take away"
_LEAVES_NOTHING = frozenset({HostState.SELECTED, HostState.PREPARING})
"""Where what there is under a host's name is of a life that is over."""


class Organization(BaseModel):
    """What an organization must be, so that current clients register in it."""

    key: str
    content_access_mode: str | None = MODE


class ContentEnvironment(BaseModel):
    """An environment of an organization."""

    id: str
    owner: str


class Key(BaseModel):
    """An activation key of an organization."""

    name: str
    owner: str


class Registered(BaseModel):
    """A consumer, as it is taken away."""

    uuid: str
    name: str
    owner: str


@dataclass(frozen=True)
class _Keeper:
    candlepin: Candlepin
    place: str
    system: str = SYSTEM
    replaces: bool = False
    sole: bool = False

    @property
    def source(self) -> str:
        """Candlepin itself."""
        return self.place

    def at_rest(self, record: BaseModel) -> dict[str, Any]:
        """All of it: it holds no secret."""
        return record.model_dump(mode="json")


class OwnerKeeper(_Keeper):
    """Organizations; one that is there is never changed."""

    def key(self, record: Organization) -> str:
        """Its own key."""
        return f"organization {record.key}"

    def owner(self, there: Organization) -> str:
        """Candlepin does not say who made it."""
        return f"the organization {there.key} in the mode {there.content_access_mode}"

    async def read(self, record: Organization) -> Organization | None:
        """What there is under the key."""
        there = await self.candlepin.owner(record.key)
        if there is None:
            return None
        return Organization(key=there.key, content_access_mode=there.content_access_mode)

    async def write(self, record: Organization) -> None:
        """Make it."""
        await self.candlepin.create_owner(record.key)

    async def remove(self, there: Organization) -> None:
        """Never: other hosts are in it, and by it."""
        raise NotImplementedError(_SHARED)

    def recall(self, key: str, at_rest: dict[str, Any]) -> Organization:
        """As it was kept."""
        return Organization.model_validate(at_rest)

    def former(self, at_rest: dict[str, Any]) -> Organization | None:
        """As it was."""
        return self.recall("", at_rest)


class EnvironmentKeeper(_Keeper):
    """Environments, by the ids that the site file chooses."""

    def key(self, record: ContentEnvironment) -> str:
        """Its id."""
        return f"environment {record.id}"

    def owner(self, there: ContentEnvironment) -> str:
        """Whose it is."""
        return f"the environment {there.id} of the organization {there.owner}"

    async def read(self, record: ContentEnvironment) -> ContentEnvironment | None:
        """What there is under the id, in whichever organization."""
        there = await self.candlepin.environment(record.id)
        return ContentEnvironment(id=there.id, owner=there.owner) if there else None

    async def write(self, record: ContentEnvironment) -> None:
        """Make it, called as its id is."""
        await self.candlepin.create_environment(record.owner, record.id, record.id)

    async def remove(self, there: ContentEnvironment) -> None:
        """Never: other hosts are in it, and by it."""
        raise NotImplementedError(_SHARED)

    def recall(self, key: str, at_rest: dict[str, Any]) -> ContentEnvironment:
        """As it was kept."""
        return ContentEnvironment.model_validate(at_rest)

    def former(self, at_rest: dict[str, Any]) -> ContentEnvironment | None:
        """As it was."""
        return self.recall("", at_rest)


class ActivationKeyKeeper(_Keeper):
    """Activation keys; what one gives beyond letting hosts in is somebody else's to say."""

    def key(self, record: Key) -> str:
        """Its name within its organization."""
        return f"activation key {record.owner}/{record.name}"

    def owner(self, there: Key) -> str:
        """Candlepin does not say who made it."""
        return f"the activation key {there.name} of {there.owner}"

    async def read(self, record: Key) -> Key | None:
        """What there is under the name."""
        there = await self.candlepin.activation_key(record.owner, record.name)
        return Key(name=there.name, owner=there.owner) if there else None

    async def write(self, record: Key) -> None:
        """Make it."""
        await self.candlepin.create_activation_key(record.owner, record.name)

    async def remove(self, there: Key) -> None:
        """Never: other hosts are in it, and by it."""
        raise NotImplementedError(_SHARED)

    def recall(self, key: str, at_rest: dict[str, Any]) -> Key:
        """As it was kept."""
        return Key.model_validate(at_rest)

    def former(self, at_rest: dict[str, Any]) -> Key | None:
        """As it was."""
        return self.recall("", at_rest)


@dataclass(frozen=True)
class ConsumerKeeper(_Keeper):
    """Consumers: made by hosts that register, and only taken away by us."""

    sole: bool = True

    def key(self, record: Registered) -> str:
        """Its UUID."""
        return consumers.effect_key(record.uuid)

    def owner(self, there: Registered) -> str:
        """The host that it is."""
        return f"{there.name} in {there.owner}"

    async def read(self, record: Registered) -> Registered | None:
        """What there is under the UUID."""
        there = await self.candlepin.consumer(record.uuid)
        if not isinstance(there, Consumer):
            return None
        return Registered(uuid=there.uuid, name=there.name, owner=there.owner)

    async def write(self, record: Registered) -> None:
        """Never: it would be one without a host."""
        raise NotImplementedError("a consumer is made by its host, through the RHSM front")

    async def remove(self, there: Registered) -> None:
        """Delete it."""
        await self.candlepin.delete_consumer(there.uuid)

    def recall(self, key: str, at_rest: dict[str, Any]) -> Registered:
        """As it was kept."""
        uuid = key.removeprefix(consumers.effect_key(""))
        return Registered.model_validate({"uuid": uuid, "name": "", "owner": "", **at_rest})

    def former(self, at_rest: dict[str, Any]) -> Registered | None:
        """Nothing: a consumer that was deleted is gone for good, and its host registers anew."""
        return None


async def consumer_keeper(row: CandlepinRow) -> ConsumerKeeper:
    """The keeper of a Candlepin's consumers."""
    return ConsumerKeeper(await means().candlepins.of(row), consumers.place(row))


def registered_consumer(known: KnownConsumer, name: str) -> Registered:
    """What a host is there, as far as we have written down."""
    return Registered(uuid=known.uuid, name=name, owner=known.owner)


@dataclass(frozen=True)
class _Record:
    """A record that a host group needs, with its keeper."""

    keeper: Any
    record: Any


@dataclass
class _Prepared:
    """What one company has seen already: its hosts have the same few records in common."""

    locks: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    seen: set[str] = field(default_factory=set)
    failed: dict[str, OutsideError] = field(default_factory=dict)
    """One host has waited for this answer; the others need not do so too."""


@task(**step("Have organization, environments and activation key (before 16)"))
async def prepare_subscriptions(company: Company) -> Company:
    """Make sure that there is all by which the hosts of a group will register."""
    return await each(company, (), partial(_prepare, _Prepared()))


async def _prepare(prepared: _Prepared, context: BuildContext) -> Seen:
    row, group = context.candlepin, context.group
    if row is None:
        return Seen("the host group has no Candlepin")
    owner, key = group.owner or "", group.activation_key or ""
    mark = f"{row.name} {owner} {key} {group.content_environments}"
    async with prepared.locks[mark]:
        if mark in prepared.failed:
            raise prepared.failed[mark]
        if mark not in prepared.seen:
            try:
                await _have(context, row)
            except OutsideError as error:
                prepared.failed[mark] = error
                raise
            prepared.seen.add(mark)
    environments = ", ".join(group.content_environments) or "none"
    return Seen(f"organization {owner}, environments {environments}, activation key {key}")


async def _have(context: BuildContext, row: CandlepinRow) -> None:
    client = await means().candlepins.of(row)
    await client.require_normal()
    for one in group_records(client, context):
        # What is there is no effect of this build, and may not be undone with it.
        if await one.keeper.read(one.record) != one.record:
            await ensure(context.build.id, one.keeper, one.record)


def group_records(client: Candlepin, context: BuildContext) -> list[_Record]:
    """What a host's group needs there, in the order in which it is made."""
    row, group = context.candlepin, context.group
    if row is None:
        return []
    place, owner = consumers.place(row), group.owner or ""
    key = Key(name=group.activation_key or "", owner=owner)
    environments = [ContentEnvironment(id=one, owner=owner) for one in group.content_environments]
    return [
        _Record(OwnerKeeper(client, place), Organization(key=owner)),
        *(_Record(EnvironmentKeeper(client, place), one) for one in environments),
        _Record(ActivationKeyKeeper(client, place), key),
    ]


@task(**step("Remove the consumer of a former life (before 16)"))
async def remove_consumers(company: Company) -> Company:
    """Leave no consumer of a host that begins anew."""
    return await each(company, (), _remove)


async def _remove(context: BuildContext) -> Seen:
    if context.host.state not in _LEAVES_NOTHING:
        return Seen("the host was sent into its installer already: what is there is of this life")
    gone = []
    for row, record in await stale_consumers(context):
        keeper = await consumer_keeper(row)
        gone.append(await withdraw(context.build.id, keeper, record))
        async with means().sessions.begin() as session:
            await consumers.forget(session, record.uuid)
    return Seen("; ".join(gone) or "no consumer has its name")


async def stale_consumers(context: BuildContext) -> list[tuple[CandlepinRow, Registered]]:
    """What we have written down, wherever it was, and what its group's Candlepin has besides."""
    m, name = means(), context.host.name
    found: dict[str, tuple[CandlepinRow, Registered]] = {}
    async with m.sessions() as session:
        known = await consumers.of_host(session, context.host.id)
        if known is not None:
            row = await session.get_one(CandlepinRow, known.candlepin_id)
            found[known.uuid] = (row, registered_consumer(known, name))
    row_now, owner = context.candlepin, context.group.owner
    if row_now is not None and owner is not None:
        async with m.admission.gate(SYSTEM, row_now.name):
            client = await m.candlepins.of(row_now)
            # Candlepin looks for no names; every client tells this fact.
            for one in await client.consumers_by_fact(owner, _FQDN, name):
                if one.name == name:
                    record = Registered(uuid=one.uuid, name=name, owner=owner)
                    found.setdefault(one.uuid, (row_now, record))
    return list(found.values())


@task(**step("Look at the consumers", 23))
async def look_at_consumers(company: Company) -> Company:
    """Read back what has registered; who has not yet does so at its first boot."""
    async with means().sessions() as session:
        found = await contexts(session, company.builds)
    await asyncio.gather(*(_look(one) for one in found.values() if one.candlepin))
    return company


async def _look(context: BuildContext) -> None:
    m = means()
    try:
        seen = await _check(context)
    except (OutsideError, Problem) as error:
        get_run_logger().warning("%s: %s", context.host.name, error)
        async with m.sessions.begin() as session:
            await steps.note(session, context.build.id, _ARROW, str(error))
        return
    async with m.sessions.begin() as session:
        await steps.finish(
            session,
            context.build.id,
            _ARROW,
            evidence=Evidence.OBSERVED,
            seen=seen.words,
            at=m.clock(),
        )


@task(**step("Check the consumer", 23))
async def check_consumers(company: Company) -> Company:
    """Make sure that Candlepin has each host, as what its group says."""
    return await each(company, (_ARROW,), _make_sure, always=True)


async def _make_sure(context: BuildContext) -> Seen:
    if context.candlepin is None:
        return Seen("the host group names no Candlepin", Evidence.IMPLIED)
    try:
        return await _check(context)
    except Problem:
        # It may have been seen before: that is over.
        async with means().sessions.begin() as session:
            await steps.reopen(session, context.build.id, _ARROW)
        raise


async def _check(context: BuildContext) -> Seen:
    row, name, m = context.candlepin, context.host.name, means()
    advice = (
        "See journalctl -u rackrise-rhsm on the host, and have it register with the keys of its"
        " kickstart; then retry."
    )
    if row is None:
        raise Problem(
            f"the host group of {name} has no Candlepin any more",
            "Name it again in the site file; then retry.",
        )
    async with m.sessions() as session:
        known = await consumers.of_host(session, context.host.id)
    if known is None or known.registered_at is None:
        raise Problem(f"{name} has not registered at Candlepin", advice)
    wanted = tuple(context.group.content_environments)
    async with m.admission.gate(SYSTEM, row.name):
        client = await m.candlepins.of(row)
        there = await client.consumer(known.uuid)
        if isinstance(there, Consumer) and there.environment_ids != wanted:
            # The group has changed since it registered; it is ours to follow, and not the host's.
            changes = {"environments": [{"id": one} for one in wanted]}
            await client.update_consumer(known.uuid, changes)
            there = await client.consumer(known.uuid)
    if there is None or isinstance(there, Deleted):
        said = "has deleted" if there else "does not know"
        raise Problem(f"Candlepin at {row.url} {said} the consumer {known.uuid} of {name}", advice)
    if there.environment_ids != wanted:
        raise Problem(
            f"the consumer of {name} is in the environments {_listed(there.environment_ids)}, and"
            f" its host group says {_listed(wanted)}",
            advice,
        )
    await _settle(context, row, there.uuid)
    where = f" in {_listed(wanted)}" if wanted else ""
    return Seen(f"consumer {there.uuid} of {there.owner}{where}, read back from {row.url}")


def _listed(idents: Sequence[str]) -> str:
    return ", ".join(idents) or "none"


async def _settle(context: BuildContext, row: CandlepinRow, uuid: str) -> None:
    m, place, key = means(), consumers.place(row), consumers.effect_key(uuid)
    async with m.sessions.begin() as session:
        await effects.confirm(session, context.build.id, SYSTEM, place, key, m.clock())
