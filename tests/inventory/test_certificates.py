"""Whose certificate request may be signed: by point of life, token, key and Puppet."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from sqlmodel import select

from inventory import certificates, steps
from inventory.arrows import Evidence
from inventory.builds import certificate_token, hold, keep_token, set_group
from inventory.certificates import Verdict
from inventory.hosts import move, take_name
from inventory.life import HostState
from inventory.models import Build, Host, HostGroup, Step, StepState
from tests.conftest import Database
from tests.inventory.world import WAY, discovered, later, make_group, make_puppet

NAME = "web1.example.org"
TOKEN = "the-build's-token"
SECRET = certificate_token(TOKEN)


@dataclass
class Asked:
    """One host of one Puppet, and whoever asks in its name."""

    database: Database
    host: Host
    build: Build
    puppet_id: int

    async def at(self, state: HostState) -> None:
        async with self.database.sessions.begin() as session:
            host = await session.get_one(Host, self.host.id)
            for event, target in WAY:
                if host.state is state:
                    return
                await move(session, host, event, later(1))
                assert host.state is target

    async def judge(
        self, secret: str | None = SECRET, key: str = "a key", puppet_id: int | None = None
    ) -> Verdict:
        async with self.database.sessions.begin() as session:
            return await certificates.judge(
                session,
                puppet_id=puppet_id or self.puppet_id,
                name=NAME,
                common_name=NAME,
                token=secret,
                key=key,
                at=later(2),
            )

    async def arrow(self) -> Step:
        async with self.database.sessions() as session:
            return (await steps.states(session, [self.build.id]))[self.build.id][24]


@pytest.fixture
async def asked(database: Database) -> Asked:
    async with database.sessions.begin() as session:
        puppet = await make_puppet(session)
        group = await make_group(session, puppet_id=puppet.id)
    host, build = await discovered(database.sessions)
    async with database.sessions.begin() as session:
        await take_name(session, host, NAME)
        await set_group(session, build, await session.merge(group), "test")
        await keep_token(session, build, TOKEN)
    return Asked(database, host, build, puppet.id)


@pytest.mark.parametrize(
    ("state", "sign"),
    [
        (HostState.DISCOVERED, False),
        (HostState.SELECTED, False),
        (HostState.PREPARING, False),
        (HostState.REBOOTING, True),
        (HostState.INSTALLING, True),
        (HostState.INSTALLED, True),
        (HostState.FIRST_BOOT, True),
        (HostState.IN_OPERATION, False),
    ],
)
async def test_a_host_is_signed_from_its_reboot_to_its_first_report(
    asked: Asked, state: HostState, sign: bool
) -> None:
    await asked.at(state)
    said = await asked.judge()
    assert said.sign is sign, said.reason


@pytest.mark.parametrize(
    ("held_at", "sign"), [(HostState.PREPARING, False), (HostState.INSTALLING, True)]
)
async def test_a_held_host_is_judged_by_where_it_was_held(
    asked: Asked, held_at: HostState, sign: bool
) -> None:
    await asked.at(held_at)
    async with asked.database.sessions.begin() as session:
        await hold(session, asked.build, step=22, reason="late", advice="", at=later(2))
    assert (await asked.judge()).sign is sign


async def test_of_two_keys_that_come_at_once_one_is_the_hosts(asked: Asked) -> None:
    await asked.at(HostState.INSTALLING)
    said = await asyncio.gather(*(asked.judge(key=f"key {n}") for n in range(8)))
    assert [one.sign for one in said].count(True) == 1
    first = next(n for n, one in enumerate(said) if one.sign)
    assert (await asked.judge(key=f"key {first}")).sign, "it may ask again"


async def test_a_new_token_of_the_build_makes_the_former_one_useless(asked: Asked) -> None:
    await asked.at(HostState.INSTALLING)
    async with asked.database.sessions.begin() as session:
        await keep_token(session, asked.build, "another token")
    assert not (await asked.judge()).sign
    assert (await asked.judge(certificate_token("another token"))).sign


async def test_a_build_without_token_has_no_right_one(asked: Asked) -> None:
    await asked.at(HostState.INSTALLING)
    async with asked.database.sessions.begin() as session:
        (await session.get_one(Build, asked.build.id)).certificate_hash = None
    for secret in ("", SECRET, None):
        assert not (await asked.judge(secret)).sign


async def test_another_puppet_does_not_sign(asked: Asked) -> None:
    await asked.at(HostState.INSTALLING)
    async with asked.database.sessions.begin() as session:
        other = await make_puppet(session, "other")
    said = await asked.judge(puppet_id=other.id)
    assert (said.sign, "does not name this Puppet" in said.reason) == (False, True)


async def test_without_a_puppet_nobody_is_signed_and_the_arrow_stays_unasked(asked: Asked) -> None:
    await asked.at(HostState.INSTALLING)
    async with asked.database.sessions.begin() as session:
        group = (await session.exec(select(HostGroup))).one()
        group.puppet_id = None
        await set_group(session, asked.build, group, "test")
    assert not (await asked.judge()).sign
    assert (await asked.arrow()).state is StepState.NOT_ASKED


async def test_the_reason_stands_at_the_arrow_until_the_certificate_is_seen(asked: Asked) -> None:
    await asked.at(HostState.INSTALLING)
    await asked.judge(None)
    arrow = await asked.arrow()
    assert arrow.state is StepState.RUNNING
    assert arrow.seen == f"the request of {NAME} has no token (challengePassword)"
    async with asked.database.sessions.begin() as session:
        seen = "signed, at the CA"
        await steps.finish(
            session, asked.build.id, 24, evidence=Evidence.OBSERVED, seen=seen, at=later(3)
        )
    await asked.judge("wrong")
    assert ((await asked.arrow()).state, (await asked.arrow()).seen) == (StepState.DONE, seen)


def test_the_token_of_a_request_says_nothing_of_the_builds() -> None:
    assert TOKEN not in SECRET
    assert certificate_token(TOKEN) == SECRET != certificate_token(SECRET)
    assert len(SECRET) == 64
