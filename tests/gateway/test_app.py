import httpx
import pytest

from gateway.app import create_app
from gateway.context import Gateway
from gateway.settings import GatewaySettings
from inventory.database import make_engine, make_sessions
from inventory.hosts import lock_host
from inventory.life import HostState
from tests.gateway.conftest import World


async def test_health_asks_the_database(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/unattended", 404),
        ("GET", "/unattended/", 404),
        ("GET", "/unattended/built/", 404),
        ("POST", "/discovery/create/", 404),
        ("PUT", "/unattended/built", 405),
        ("GET", "/unattended/failed", 404),
        ("GET", "/api/v2/discovered_hosts/facts", 405),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
        ("POST", "//unattended//built", 404),
        ("GET", "/unattended/%2e%2e/health", 404),
    ],
)
async def test_what_is_not_served_is_a_sentence_and_never_a_redirect(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    text = answer.text if path.startswith("/unattended") else answer.json()["message"]
    assert len(text.split()) > 2


async def test_a_database_that_is_down_is_503_and_worth_a_retry() -> None:
    engine = make_engine("postgresql://nobody@127.0.0.1:1/none")
    app = create_app(GatewaySettings(database_url="unused"), make_sessions(engine))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        for path in ("/health", "/unattended/built?token=x"):
            answer = await client.get(path)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "10"
            assert "the database is not available" in answer.text
    await engine.dispose()


async def test_a_locked_row_ends_in_503_and_not_in_waiting(world: World) -> None:
    host, _ = await world.host(1, HostState.INSTALLING)
    world.settings = world.settings.model_copy(update={"transaction_seconds": 0.2})
    client = world.client()
    async with world.database.sessions.begin() as session:
        await lock_host(session, host.id)
        answer = await client.post("/unattended/built?token=token-of-host-1")
    assert answer.status_code == 503
    assert (await client.post("/unattended/built?token=token-of-host-1")).status_code == 201


async def test_our_own_fault_is_500_with_a_number_and_no_traceback(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Gateway) -> None:
        raise KeyError("planted secret")

    monkeypatch.setattr(Gateway, "transaction", broken)
    answer = await world.client().get("/unattended/provision?token=x")
    assert answer.status_code == 500
    assert "planted secret" not in answer.text
    assert "Traceback" not in answer.text
    number = answer.text.split()[-1]
    assert number in caplog.text


async def test_tokens_are_in_no_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="gateway")
    await world.host(1, HostState.REBOOTING)
    client = world.client()
    for path in ("provision", "built", "built", "provision", "nothing"):
        await client.get(f"/unattended/{path}?token=token-of-host-1")
    assert "web1.example.org" in caplog.text
    assert "token-of-host-1" not in caplog.text
