"""Hosts reach the gateway through our proxy, which relays as a Smart Proxy does."""

from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.app import create_app
from inventory.life import HostState
from inventory.models import CallbackKind
from proxy.app import create_app as create_proxy
from proxy.settings import ProxySettings
from tests.gateway.conftest import HOST, PROXY, World, token
from tests.gateway.test_discovery import facts
from tests.inventory.world import mac


@pytest.fixture
async def relayed(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A host's curl, with the proxy between it and the gateway."""
    gateway = httpx.ASGITransport(
        create_app(world.settings, world.database.sessions, world.now), client=(PROXY, 1)
    )
    settings = ProxySettings(
        foreman_url="http://gateway.example.org", template_url="http://192.0.2.9:8000"
    )
    async with (
        httpx.AsyncClient(transport=gateway) as upstream,
        httpx.AsyncClient() as nodes,
    ):
        proxy = create_proxy(settings, http=upstream, nodes=nodes)
        transport = httpx.ASGITransport(proxy, client=(HOST, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as host:
            yield host


async def test_the_relay_carries_a_host_from_its_facts_to_built(
    world: World, relayed: httpx.AsyncClient
) -> None:
    discovered = await relayed.post("/discovery/create", json={"facts": facts(9)})
    assert discovered.status_code == 200
    host, _ = await world.host(1, HostState.REBOOTING)
    query = {"token": token(1)}
    sent = {"X-RHN-Provisioning-MAC-0": f"eth0 {mac(1)}"}
    kickstart = await relayed.get("/unattended/provision", params=query, headers=sent)
    assert "web1.example.org" in kickstart.text
    for _ in range(2):
        assert (await relayed.post("/unattended/built", params=query)).status_code == 200
    assert await world.state(host.id) is HostState.INSTALLED
    callbacks = await world.callbacks()
    assert [one.kind for one in callbacks] == [
        CallbackKind.FACTS,
        CallbackKind.KICKSTART,
        CallbackKind.BUILT,
    ]
    # The kickstart's and built's addresses are judged against the reservation.
    assert [one.remote for one in callbacks[1:]] == [HOST, HOST]


async def test_the_relay_carries_what_is_refused(world: World, relayed: httpx.AsyncClient) -> None:
    await world.host(1, HostState.REBOOTING)
    sent = {"X-RHN-Provisioning-MAC-0": f"eth0 {mac(2)}"}
    foreign = await relayed.get(f"/unattended/provision?token={token(1)}", headers=sent)
    assert foreign.status_code == 403
    assert (await relayed.get("/unattended/built?token=wrong")).status_code == 404
    refused = await relayed.post("/discovery/create", json={"facts": {}})
    assert refused.status_code == 422
    assert "discovery_bootif is missing" in refused.text
