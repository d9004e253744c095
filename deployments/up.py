"""All four programs on one machine, database and Prefect server included: ``rackrise up``."""

from __future__ import annotations

import hmac
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deployments.guarding import from_here, guarded, in_url, made_once, require_guarded
from deployments.postgres import PostgresUrls, embedded_postgres
from deployments.programs import NotStarted, Programs
from deployments.proxies import LOCAL
from inventory import people
from inventory.database import make_engine, make_sessions, migrate
from inventory.models import now
from inventory.sitefile import read_site_file

__all__ = ["Console", "GatewayRhsm", "GatewayTls", "Place", "Up", "first_admin", "up"]

PREFECT_START_SECONDS = 120.0
PROGRAM_START_SECONDS = 60.0

PREFECT_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # The second interface asks amplitude.com for a configuration, analytics or not.
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_WORKER_ENABLE_CANCELLATION": "true",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_WORKER_PREFETCH_SECONDS": "0",
    # Measured: with few connections PostgreSQL's share of the cost is three times as high.
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "30",
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_MAX_OVERFLOW": "5",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TRIGGERS_READ_BATCH_SIZE": "50",
}


@dataclass(frozen=True)
class GatewayTls:
    """Where Puppet servers reach the gateway, and the files of its certificate."""

    port: int
    certificate: Path
    key: Path
    ca: Path
    """Puppet's."""


@dataclass(frozen=True)
class GatewayRhsm:
    """Where hosts reach the RHSM front, and the Candlepin behind it."""

    port: int
    certificate: Path
    key: Path
    ca: Path
    """Candlepin's, of the identities of hosts."""
    candlepin_url: str
    candlepin_ca: Path
    """Of Candlepin's own certificate."""
    oauth_key: str
    oauth_secret: str = field(repr=False)


@dataclass(frozen=True)
class Console:
    """Where people reach console and API."""

    host: str = "127.0.0.1"
    port: int = 8090
    certificate: Path | None = None
    """None: plain HTTP, for loopback or behind a proxy that does TLS."""
    key: Path | None = None

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        return f"{'https' if self.certificate else 'http'}://{self.host}:{self.port}"


@dataclass(frozen=True)
class Place:
    """Where everything lies and listens."""

    data: Path
    """Database, keys and logs; below the system's state directory when root runs it."""
    site_file: Path | None = None
    """Applied before the worker starts."""
    proxy_file: Path | None = None
    """Settings of the proxy that runs in the worker's process."""
    gateway_host: str = "127.0.0.1"
    gateway_port: int = 8000
    gateway_tls: GatewayTls | None = None
    """None: no Puppet server is heard."""
    gateway_rhsm: GatewayRhsm | None = None
    """None: no host registers."""
    console: Console | None = None
    """None: nobody reaches console and API."""
    prefect_host: str = "127.0.0.1"
    prefect_port: int = 4200
    database: PostgresUrls | None = None
    """Other databases than the embedded ones."""
    trusted_proxies: Sequence[str] = ()
    """Networks of proxies whose X-Forwarded-For the gateway believes."""
    inside: Sequence[str] = ()
    """Put before each program's command line, such as ``ip netns exec NAME``: where the site's
    network is another than ours."""
    prefect_from_here: str = ""
    """URL of Prefect's server as we reach it; empty: as the programs do."""
    gateway_from_here: str = ""
    """Likewise the gateway's."""


@dataclass(frozen=True)
class Up:
    """Everything runs."""

    environment: Mapping[str, str]
    """For further programs of the same installation, such as ``rackrise hosts list``."""
    prefect_url: str
    prefect_key: Path
    """Holds the password of Prefect's UI and API."""
    gateway_url: str
    console_url: str
    """Empty: there is none."""
    first_password: str | None
    """Of ``admin``, where there was nobody yet: it is known to nobody else, and kept nowhere."""
    processes: Callable[[], Mapping[str, int]]
    """Process ids by program, as they are now: one that ended by itself is started again."""


@asynccontextmanager
async def up(place: Place) -> AsyncIterator[Up]:
    """Run gateway, worker with proxy, Prefect server and database while the block lasts.

    A program that ends by itself is started again; what it was doing goes on.

    Raises:
        NotStarted: a program does not start; the message holds its last lines. Or the site has a
            proxy that is to run here, and there are no settings for it.
        SiteFileError: the site file is wrong.
    """
    _require_proxy(place)
    place.data.mkdir(mode=0o755, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        urls = place.database
        if urls is None:
            urls = await stack.enter_async_context(embedded_postgres(place.data / "postgres"))
        await migrate(urls.rackrise)
        first_password = await first_admin(urls.rackrise) if place.console else None
        environment = _environment(place, urls)
        require_guarded(place.prefect_host, environment)
        programs = Programs(place.data, place.inside, environment)
        stack.push_async_callback(programs.stop)
        prefect = place.prefect_from_here or _prefect_url(place)
        gateway = place.gateway_from_here or f"http://{place.gateway_host}:{place.gateway_port}"
        await programs.start(
            "prefect",
            [
                *(sys.executable, "-m", "prefect", "server", "start"),
                *("--host", place.prefect_host, "--port", str(place.prefect_port)),
            ],
        )
        if place.site_file is not None:
            command = [sys.executable, "-m", "cli.main", "site", "apply", str(place.site_file)]
            await programs.run("site", command, PROGRAM_START_SECONDS)
        await programs.start("gateway", [sys.executable, "-m", "cli.main", "gateway"])
        await programs.answers("prefect", f"{prefect}/api/health", PREFECT_START_SECONDS)
        (place.data / "worker.ready").unlink(missing_ok=True)
        await programs.start("worker", [sys.executable, "-m", "cli.main", "worker"])
        await programs.answers("gateway", f"{gateway}/health", PROGRAM_START_SECONDS)
        await programs.ready("worker", place.data / "worker.ready", PROGRAM_START_SECONDS)
        console = place.console.url if place.console else ""
        yield Up(
            environment=environment,
            prefect_url=prefect,
            prefect_key=place.data / "prefect.key",
            gateway_url=gateway,
            console_url=console,
            first_password=first_password,
            processes=programs.ids,
        )


def _require_proxy(place: Place) -> None:
    # Asked before anything is started: the worker would end again and again, by a traceback.
    if place.site_file is None or place.proxy_file is not None:
        return
    local = [one.name for one in read_site_file(place.site_file).proxy if one.url == LOCAL]
    if local:
        raise NotStarted(
            f'{place.site_file}: the proxy {local[0]} has url = "{LOCAL}", so it runs here, and '
            "there are no settings for it; say --proxy FILE with the settings of the proxy, or "
            "give the URL of one that runs elsewhere"
        )


async def first_admin(url: str) -> str | None:
    """Make ``admin`` in a database that knows nobody yet.

    Args:
        url: of the inventory's database.

    Returns:
        The password, which is kept nowhere; None: there is somebody already.
    """
    engine = make_engine(url, pool_size=1)
    try:
        async with make_sessions(engine).begin() as session:
            return await people.first_admin(session, now())
    finally:
        await engine.dispose()


def _environment(place: Place, urls: PostgresUrls) -> dict[str, str]:
    secret = made_once(place.data / "prefect.key")
    token_key = made_once(place.data / "token.key")
    settings = {
        **PREFECT_SETTINGS,
        **guarded(secret, _prefect_url(place)),
        "PREFECT_HOME": str(place.data / "prefect"),
        "PREFECT_API_URL": f"{_prefect_url(place)}/api",
        "PREFECT_API_DATABASE_CONNECTION_URL": urls.prefect,
        "RACKRISE_DATABASE_URL": urls.rackrise,
        "RACKRISE_TOKEN_KEY": token_key,
        # Made of the other, which a backup holds.
        "RACKRISE_SECRET_KEY": hmac.digest(token_key.encode(), b"secrets", "sha256").hex(),
        "RACKRISE_READY_FILE": str(place.data / "worker.ready"),
        "RACKRISE_GATEWAY_DATABASE_URL": urls.rackrise,
        "RACKRISE_GATEWAY_HOST": place.gateway_host,
        "RACKRISE_GATEWAY_PORT": str(place.gateway_port),
    }
    if place.console is not None:
        settings |= {
            "RACKRISE_GATEWAY_CONSOLE_HOST": place.console.host,
            "RACKRISE_GATEWAY_CONSOLE_PORT": str(place.console.port),
            "RACKRISE_GATEWAY_PREFECT_URL": place.prefect_from_here or _prefect_url(place),
            "RACKRISE_CONSOLE_URL": place.console.url,
        }
        for name, file in (("CERTIFICATE", place.console.certificate), ("KEY", place.console.key)):
            if file is not None:
                settings[f"RACKRISE_GATEWAY_CONSOLE_{name}"] = str(file)
    if place.trusted_proxies:
        listed = ", ".join(f'"{one}"' for one in place.trusted_proxies)
        settings["RACKRISE_GATEWAY_TRUSTED_PROXIES"] = f"[{listed}]"
    if place.gateway_tls is not None:
        tls = place.gateway_tls
        settings |= {
            "RACKRISE_GATEWAY_TLS_HOST": place.gateway_host,
            "RACKRISE_GATEWAY_TLS_PORT": str(tls.port),
            "RACKRISE_GATEWAY_TLS_CERTIFICATE": str(tls.certificate),
            "RACKRISE_GATEWAY_TLS_KEY": str(tls.key),
            "RACKRISE_GATEWAY_TLS_CA": str(tls.ca),
        }
    if place.gateway_rhsm is not None:
        rhsm = place.gateway_rhsm
        settings |= {
            "RACKRISE_GATEWAY_RHSM_HOST": place.gateway_host,
            "RACKRISE_GATEWAY_RHSM_PORT": str(rhsm.port),
            "RACKRISE_GATEWAY_RHSM_CERTIFICATE": str(rhsm.certificate),
            "RACKRISE_GATEWAY_RHSM_KEY": str(rhsm.key),
            "RACKRISE_GATEWAY_RHSM_CA": str(rhsm.ca),
            "RACKRISE_GATEWAY_CANDLEPIN_URL": rhsm.candlepin_url,
            "RACKRISE_GATEWAY_CANDLEPIN_CA": str(rhsm.candlepin_ca),
            "RACKRISE_GATEWAY_CANDLEPIN_OAUTH_KEY": rhsm.oauth_key,
            "RACKRISE_GATEWAY_CANDLEPIN_OAUTH_SECRET": rhsm.oauth_secret,
        }
    if place.proxy_file is not None:
        settings["RACKRISE_PROXY_FILE"] = str(place.proxy_file)
    return settings


def _prefect_url(place: Place) -> str:
    """As programs on this machine reach it."""
    return f"http://{in_url(from_here(place.prefect_host))}:{place.prefect_port}"
