"""What Rackrise relies on in a Candlepin, the double and a real one alike."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from integrations.candlepin import Consumer, Content, Deleted, JobState, NewConsumer
from integrations.errors import Refused
from tests.integrations.candlepin.sites import SITES, Site, new_name


@pytest.fixture(params=list(SITES))
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with SITES[request.param]() as opened:
        yield opened
    assert opened.judge.violations == []


@pytest.fixture
async def owner(site: Site) -> AsyncIterator[str]:
    key = new_name("org")
    await site.candlepin.create_owner(key)
    yield key
    await site.candlepin.delete_owner(key)


@pytest.fixture
async def activation_key(site: Site, owner: str) -> str:
    return (await site.candlepin.create_activation_key(owner, "web")).name


def a_host(name: str | None = None) -> NewConsumer:
    name = name or f"{new_name('host')}.lab.example"
    return NewConsumer(uuid=str(uuid4()), name=name, facts={"network.fqdn": name})


async def test_it_is_normal(site: Site) -> None:
    assert (await site.candlepin.require_normal()).mode == "NORMAL"


async def test_an_organization_is_made_found_and_deleted(site: Site) -> None:
    key = new_name("org")
    assert await site.candlepin.owner(key) is None
    made = await site.candlepin.create_owner(key)
    assert made == await site.candlepin.owner(key)
    assert made.content_access_mode == "org_environment"
    await site.candlepin.delete_owner(key)
    assert await site.candlepin.owner(key) is None
    await site.candlepin.delete_owner(key)


async def test_an_environment_has_the_id_that_we_chose(site: Site, owner: str) -> None:
    ident = uuid4().hex
    assert await site.candlepin.environment(ident) is None
    made = await site.candlepin.create_environment(owner, ident, "Library/prod")
    assert made == await site.candlepin.environment(ident)
    assert (made.id, made.name, made.owner) == (ident, "Library/prod", owner)
    await site.candlepin.delete_environment(ident)
    assert await site.candlepin.environment(ident) is None
    await site.candlepin.delete_environment(ident)


async def test_what_many_make_at_one_moment_is_made_once(site: Site) -> None:
    key, ident = new_name("org"), uuid4().hex
    owners = await asyncio.gather(*(site.candlepin.create_owner(key) for _ in range(3)))
    assert len(set(owners)) == 1
    environments = await asyncio.gather(
        *(site.candlepin.create_environment(key, ident, "prod") for _ in range(3))
    )
    assert len(set(environments)) == 1
    keys = await asyncio.gather(
        *(site.candlepin.create_activation_key(key, "web") for _ in range(3))
    )
    assert len(set(keys)) == 1
    await site.candlepin.delete_owner(key)


async def test_an_activation_key_that_is_there_is_success(site: Site, owner: str) -> None:
    assert await site.candlepin.activation_key(owner, "web") is None
    made = await site.candlepin.create_activation_key(owner, "web")
    assert await site.candlepin.create_activation_key(owner, "web") == made
    assert await site.candlepin.activation_key(owner, "web") == made
    await site.candlepin.delete_activation_key(made.id)
    assert await site.candlepin.activation_key(owner, "web") is None
    await site.candlepin.delete_activation_key(made.id)


async def test_an_activation_key_with_other_letters_is_refused(site: Site, owner: str) -> None:
    with pytest.raises(Refused, match="HTTP 400"):
        await site.candlepin.create_activation_key(owner, "web servers!")


async def test_an_activation_key_of_an_unknown_organization_is_none(site: Site) -> None:
    assert await site.candlepin.activation_key(new_name("nobody"), "web") is None


async def test_a_host_registers_in_the_environments_of_its_group(
    site: Site, owner: str, activation_key: str
) -> None:
    idents = [uuid4().hex, uuid4().hex]
    for ident in idents:
        await site.candlepin.create_environment(owner, ident, new_name("env"))
    host = a_host()
    made = await site.candlepin.register(
        host, owner=owner, keys=[activation_key], environments=idents
    )
    assert (made.uuid, made.name, made.owner) == (host.uuid, host.name, owner)
    assert made.environment_ids == tuple(idents)
    found = await site.candlepin.consumer(host.uuid)
    assert isinstance(found, Consumer)
    assert found.environment_ids == tuple(idents)


async def test_the_identity_names_the_consumer_and_its_organization(
    site: Site, owner: str, activation_key: str
) -> None:
    host = a_host()
    made = await site.candlepin.register(host, owner=owner, keys=[activation_key], environments=[])
    told = json.loads(made.document)["idCert"]
    subject = x509.load_pem_x509_certificate(told["cert"].encode()).subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == host.uuid
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == owner
    assert "PRIVATE KEY" in told["key"]


async def test_registering_again_under_one_uuid_makes_no_second_consumer(
    site: Site, owner: str, activation_key: str
) -> None:
    host = a_host()
    many = [
        site.candlepin.register(host, owner=owner, keys=[activation_key], environments=[])
        for _ in range(5)
    ]
    assert {one.uuid for one in await asyncio.gather(*many)} == {host.uuid}
    found = await site.candlepin.consumers_by_fact(owner, "network.fqdn", host.name)
    assert [one.uuid for one in found] == [host.uuid]


async def test_a_host_with_an_unknown_key_is_refused_in_candlepins_words(
    site: Site, owner: str
) -> None:
    with pytest.raises(Refused, match="None of the activation keys specified exist"):
        await site.candlepin.register(a_host(), owner=owner, keys=["nobody"], environments=[])


async def test_a_host_of_an_unknown_organization_is_refused(site: Site) -> None:
    with pytest.raises(Refused, match="HTTP 40"):
        await site.candlepin.register(
            a_host(), owner=new_name("nobody"), keys=["web"], environments=[]
        )


async def test_a_consumer_that_was_deleted_is_told_from_one_that_never_was(
    site: Site, owner: str, activation_key: str
) -> None:
    host = a_host()
    assert await site.candlepin.consumer(host.uuid) is None
    await site.candlepin.register(host, owner=owner, keys=[activation_key], environments=[])
    await site.candlepin.delete_consumer(host.uuid)
    assert await site.candlepin.consumer(host.uuid) == Deleted(uuid=host.uuid)


async def test_deleting_what_is_gone_or_never_was_is_success(
    site: Site, owner: str, activation_key: str
) -> None:
    host = a_host()
    await site.candlepin.delete_consumer(host.uuid)
    await site.candlepin.register(host, owner=owner, keys=[activation_key], environments=[])
    await site.candlepin.delete_consumer(host.uuid)
    await site.candlepin.delete_consumer(host.uuid)


async def test_consumers_are_found_by_a_fact(site: Site, owner: str, activation_key: str) -> None:
    hosts = [a_host() for _ in range(3)]
    for host in hosts:
        await site.candlepin.register(host, owner=owner, keys=[activation_key], environments=[])
    found = await site.candlepin.consumers_by_fact(owner, "network.fqdn", hosts[1].name)
    assert [(one.uuid, one.name) for one in found] == [(hosts[1].uuid, hosts[1].name)]
    assert await site.candlepin.consumers_by_fact(owner, "network.fqdn", "nobody") == []
    assert await site.candlepin.consumers_by_fact(new_name("nobody"), "network.fqdn", "x") == []


async def test_facts_of_a_consumer_are_changed(site: Site, owner: str, activation_key: str) -> None:
    host = a_host()
    await site.candlepin.register(host, owner=owner, keys=[activation_key], environments=[])
    await site.candlepin.update_consumer(host.uuid, {"facts": {"network.fqdn": "other.example"}})
    assert await site.candlepin.consumers_by_fact(owner, "network.fqdn", "other.example")


async def test_content_is_promoted_once_by_a_job(site: Site, owner: str) -> None:
    ident, label = uuid4().hex, new_name("content")
    await site.candlepin.create_environment(owner, ident, "prod")
    wanted = Content(id=label, label=label, name=label, contentUrl="/content/x")
    assert await site.candlepin.content(owner, label) is None
    made = await site.candlepin.create_content(owner, wanted)
    assert made.content_url == "/content/x"
    assert await site.candlepin.content(owner, label) == made
    job = await site.candlepin.promote(ident, [label])
    assert job is not None
    assert (await site.candlepin.finished(job)).state is JobState.FINISHED
    assert await site.candlepin.promote(ident, [label]) is None
    await site.candlepin.finished(await site.candlepin.demote(ident, [label]))
    assert await site.candlepin.promote(ident, [label]) is not None


async def test_what_is_passed_on_for_a_consumer_is_its_own_only(
    site: Site, owner: str, activation_key: str
) -> None:
    hosts = [a_host(), a_host()]
    for host in hosts:
        await site.candlepin.register(host, owner=owner, keys=[activation_key], environments=[])
    for host, expected in zip(hosts, (200, 403), strict=True):
        passed = await site.candlepin.pass_on(
            "GET",
            f"/consumers/{host.uuid}/certificates/serials",
            query={},
            headers={},
            consumer=hosts[0].uuid,
        )
        body = b"".join([one async for one in passed.parts()])
        await passed.close()
        assert passed.status == expected, body
