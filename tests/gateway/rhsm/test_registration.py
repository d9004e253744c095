"""A host registers: once, as itself, while it is built; whatever happens in between."""

from __future__ import annotations

import asyncio
import json

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from sqlmodel import select

from inventory import consumers
from inventory.arrows import Evidence
from inventory.builds import close_build, registration_token
from inventory.hosts import move
from inventory.life import Event, HostState
from inventory.models import BuildOutcome, Effect, EffectState, Facts, Host, HostGroup, StepState
from lab.process import until
from tests.gateway.conftest import token
from tests.gateway.rhsm.conftest import ENVIRONMENT, KEY, OWNER, Fronted, keys_of, name_of
from tests.inventory.world import later, make_candlepin


async def test_a_host_in_its_installer_becomes_a_consumer(front: Fronted) -> None:
    host, build = await front.world.host(1, HostState.INSTALLING)
    answer = await front.register(1)
    # The client takes a 201 for an error.
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert (told["name"], told["owner"]["key"]) == (name_of(1), OWNER)
    assert [one["id"] for one in told["environments"]] == [ENVIRONMENT]
    subject = x509.load_pem_x509_certificate(told["idCert"]["cert"].encode()).subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == told["uuid"]
    consumer = await front.consumer(host)
    assert consumer is not None
    assert (consumer.uuid, consumer.owner, consumer.build_id) == (told["uuid"], OWNER, build.id)
    assert consumer.registered_at is not None
    step = (await front.world.steps(build))[23]
    assert (step.state, step.evidence) == (StepState.DONE, Evidence.REPORTED)
    assert told["uuid"] in step.seen


async def test_what_is_written_down_before_candlepin_is_asked_is_an_effect(front: Fronted) -> None:
    identity, _, build = await front.registered(1)
    async with front.world.database.sessions() as session:
        (effect,) = await session.exec(select(Effect).where(Effect.build_id == build.id))
    assert (effect.system, effect.place) == ("Candlepin", "Candlepin main")
    assert (effect.key, effect.before) == (f"consumer {identity.uuid}", None)
    assert effect.after == {"uuid": identity.uuid, "name": name_of(1), "owner": OWNER}
    assert effect.state is EffectState.APPLIED


async def test_candlepin_sees_facts_as_text_and_no_token(front: Fronted) -> None:
    identity, host, _ = await front.registered(1)
    facts = front.double.state.consumers[identity.uuid]["facts"]
    expected = {"network.fqdn": name_of(1), "cpu.cpu(s)": "2", "virt.is_guest": "true"}
    assert facts == expected
    async with front.world.database.sessions() as session:
        kept = await session.get_one(Facts, (host.id, "rhsm"))
    assert kept.values == expected
    secret = registration_token(token(1))
    assert not any(secret in str(one.url) for one in front.asked)


async def test_a_repeat_ends_with_the_same_consumer(front: Fronted) -> None:
    await front.world.host(1, HostState.INSTALLING)
    answers = [(await front.register(1)).json() for _ in range(3)]
    assert len({one["uuid"] for one in answers}) == 1
    assert len({one["idCert"]["cert"] for one in answers}) == 1
    assert len(front.double.state.registered) == 1


async def test_the_same_host_many_times_at_one_moment_is_one_consumer(front: Fronted) -> None:
    await front.world.host(1, HostState.INSTALLING)
    front.double.latency = (0.0, 0.05)
    answers = await asyncio.gather(*(front.register(1) for _ in range(20)))
    assert {one.status_code for one in answers} == {200}
    assert len({one.json()["uuid"] for one in answers}) == 1
    assert len(front.double.state.registered) == 1


async def test_a_repeat_brings_facts_and_environments_up_to_date(front: Fronted) -> None:
    identity, _, _ = await front.registered(1)
    front.double.state.consumers[identity.uuid]["environments"] = []
    await front.register(1, facts={"network.fqdn": name_of(1), "memory": "8"})
    there = front.double.state.consumers[identity.uuid]
    assert there["facts"]["memory"] == "8"
    assert [one["id"] for one in there["environments"]] == [ENVIRONMENT]


async def test_an_answer_that_is_lost_makes_no_second_consumer(front: Fronted) -> None:
    host, _ = await front.world.host(1, HostState.INSTALLING)
    front.double.faults.lost_answers = 1
    lost = await front.register(1)
    assert lost.status_code == 503
    assert lost.headers["retry-after"] == "10"
    answer = await front.register(1)
    assert answer.status_code == 200
    consumer = await front.consumer(host)
    assert consumer is not None
    assert front.double.state.registered == [consumer.uuid] == [answer.json()["uuid"]]


@pytest.mark.parametrize("fault", ["down", "suspended", "undeployed"])
async def test_candlepin_goes_in_the_middle_and_comes_back(front: Fronted, fault: str) -> None:
    _, build = await front.world.host(1, HostState.INSTALLING)
    setattr(front.double.faults, fault, True)
    answers = [await front.register(1) for _ in range(3)]
    assert {one.status_code for one in answers} == {503}
    assert "try again" in await front.errors(answers[0])
    assert (await front.world.steps(build))[23].state is StepState.RUNNING
    setattr(front.double.faults, fault, False)
    assert (await front.register(1)).status_code == 200
    assert len(front.double.state.registered) == 1
    assert (await front.world.steps(build))[23].state is StepState.DONE


async def test_candlepin_goes_between_the_question_and_the_registration(front: Fronted) -> None:
    host, _ = await front.world.host(1, HostState.INSTALLING)
    front.double.faults.down = True
    assert (await front.register(1)).status_code == 503
    front.double.faults.down = False
    front.double.latency = (0.3, 0.3)
    trying = asyncio.create_task(front.register(1))
    posted = ("POST", f"/environments/{ENVIRONMENT}/consumers")
    before = front.double.calls.count(posted)

    async def arrived() -> bool:
        return front.double.calls.count(posted) > before

    await until(arrived, what="the registration is on its way", deadline=10, every=0.01)
    front.double.faults.down = True
    assert (await trying).status_code == 503
    consumer = await front.consumer(host)
    assert consumer is not None
    assert ("GET", f"/consumers/{consumer.uuid}") in front.double.calls
    assert front.double.state.registered == []
    front.double.faults.down = False
    assert (await front.register(1)).json()["uuid"] == consumer.uuid
    assert front.double.state.registered == [consumer.uuid]


async def test_many_hosts_at_one_moment_are_as_many_consumers(front: Fronted) -> None:
    # Five hundred are what benchmarks/rhsm_front.py has.
    number = 60
    for one in range(1, number + 1):
        await front.world.host(one, HostState.INSTALLING)
    answers = await asyncio.gather(*(front.register(one) for one in range(1, number + 1)))
    assert {one.status_code for one in answers} == {200}
    assert len({one.json()["uuid"] for one in answers}) == number
    assert len(front.double.state.consumers) == number


@pytest.mark.parametrize("settings", [{"registrations_at_once": 1, "front_wait_seconds": 0.05}])
async def test_who_waits_for_too_long_is_put_off(front: Fronted) -> None:
    """One at a time, and no patience: with a slow Candlepin the second has no turn."""
    for number in (1, 2):
        await front.world.host(number, HostState.INSTALLING)
    front.double.latency = (0.3, 0.3)
    slow = asyncio.create_task(front.register(1))
    asked = ("POST", f"/environments/{ENVIRONMENT}/consumers")
    async with asyncio.timeout(10):
        while asked not in front.double.calls:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
    answer = await front.register(2)
    assert answer.status_code == 503
    assert "many hosts come at once" in await front.errors(answer)
    assert (await slow).status_code == 200
    assert (await front.register(2)).status_code == 200


async def test_a_host_whose_consumer_was_deleted_gets_another(front: Fronted) -> None:
    identity, host, _ = await front.registered(1)
    del front.double.state.consumers[identity.uuid]
    front.double.state.deleted.add(identity.uuid)
    answers = await asyncio.gather(*(front.register(1) for _ in range(5)))
    assert {one.status_code for one in answers} == {200}
    uuids = {one.json()["uuid"] for one in answers}
    assert len(uuids) == 1
    assert identity.uuid not in uuids
    consumer = await front.consumer(host)
    assert consumer is not None
    assert {consumer.uuid} == uuids == set(front.double.state.consumers)


async def refused(front: Fronted, number: int = 1, **how: str) -> str:
    answer = await front.register(number, **how)
    assert answer.status_code == 403
    assert front.double.state.registered == []
    return await front.errors(answer)


async def test_a_bad_key_is_refused_with_a_sentence(front: Fronted) -> None:
    await front.world.host(1, HostState.INSTALLING)
    said = await refused(front, keys="nobody")
    assert "none of the activation keys of web1.example.org is the token" in said
    said = await refused(front, keys=KEY)
    assert "none of the activation keys" in said
    said = await refused(front, keys=f"other,{registration_token(token(1))}")
    assert "with the activation key web, as its host group web says" in said
    assert registration_token(token(1)) not in said


async def test_another_organization_is_refused(front: Fronted) -> None:
    await front.world.host(1, HostState.INSTALLING)
    assert "registers in ACME" in await refused(front, owner="OTHER")


async def test_another_name_is_refused(front: Fronted) -> None:
    await front.world.host(1, HostState.INSTALLING)
    await front.world.host(2, HostState.INSTALLING)
    said = await refused(front, name=name_of(2))
    assert said == "the keys are those of web1.example.org, and not of web2.example.org"


@pytest.mark.parametrize("state", [HostState.DISCOVERED, HostState.PREPARING])
async def test_a_host_that_was_not_sent_into_its_installer_is_refused(
    front: Fronted, state: HostState
) -> None:
    await front.world.host(1, state)
    assert f"is {state} and not being built" in await refused(front)


async def test_a_host_without_an_open_build_is_refused(front: Fronted) -> None:
    host, build = await front.world.host(1, HostState.FIRST_BOOT)
    async with front.world.database.sessions.begin() as session:
        await move(session, await session.get_one(Host, host.id), Event.REPORT, later(1))
        await close_build(session, build, BuildOutcome.IN_OPERATION, later(2))
    assert "is in_operation and not being built" in await refused(front)


async def test_a_host_that_is_held_in_its_installer_may_register(front: Fronted) -> None:
    _, build = await front.world.host(1, HostState.INSTALLING)
    await front.world.hold(build, "late")
    assert (await front.register(1)).status_code == 200


async def test_a_host_of_another_candlepin_is_refused(front: Fronted) -> None:
    await front.world.host(1, HostState.INSTALLING)
    async with front.world.database.sessions.begin() as session:
        other = await make_candlepin(session, "https://other.example.org/candlepin", "other")
        group = await session.get_one(HostGroup, front.world.group.id)
        group.candlepin_id = other.id
    assert "names the Candlepin other at https://other.example.org" in await refused(front)


async def test_a_registration_without_keys_or_without_sense_is_refused(front: Fronted) -> None:
    await front.world.host(1, HostState.INSTALLING)
    assert (await front.register(1, keys="")).status_code == 400
    query = {"owner": OWNER, "activation_keys": keys_of(1)}
    strange = json.dumps({"name": "web1\nINFO all is well"}).encode()
    endless = [
        b'{"name": "web1.example.org", "role": %s}' % number for number in (b"NaN", b"-1e999")
    ]
    for body in (b"{", b"[]", b'"x"', b"{}", b'{"name": 7}', strange, b"[" * 100_000, *endless):
        answer = await front.ask("POST", "/consumers", params=query, content=body)
        assert answer.status_code == 400, body[:20]
        assert await front.errors(answer)
    for how in ({"owner": "A\nB"}, {"owner": ""}, {"keys": "a b"}, {"keys": "x" * 300}):
        answer = await front.register(1, **how)
        assert answer.status_code == 400
        assert "letters, digits" in await front.errors(answer)


async def test_what_candlepin_refuses_is_told_in_its_words(front: Fronted) -> None:
    await front.world.host(1, HostState.INSTALLING)
    front.double.state.keys.clear()
    answer = await front.register(1)
    assert answer.status_code == 502
    assert "None of the activation keys specified exist" in await front.errors(answer)


async def test_a_second_kickstart_asks_for_all_of_it_again(front: Fronted) -> None:
    identity, _, build = await front.registered(1)
    async with front.world.database.sessions.begin() as session:
        await consumers.begin_anew(session, build)
    step = (await front.world.steps(build))[23]
    assert (step.state, step.evidence, step.seen) == (StepState.PENDING, None, "")
    # It is the same machine, and the same consumer.
    assert (await front.register(1)).json()["uuid"] == identity.uuid
    assert (await front.world.steps(build))[23].state is StepState.DONE
