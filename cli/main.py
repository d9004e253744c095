"""The entry point; heavy imports happen inside the commands, so that help is there at once."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import typer

from cli import backup, bmc, candlepin, content, hosts, puppet, rules, site, users, waves, webhooks
from cli.doctor import doctor
from cli.ending import until_told
from cli.exits import Exit
from cli.plan import drift, plan

__all__ = ["app"]

app = typer.Typer(
    help="Rackrise: bare-metal provisioning, from power-on to in operation, as Prefect flows.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
app.add_typer(site.app, name="site")
app.add_typer(hosts.app, name="hosts")
app.add_typer(rules.app, name="rules")
app.add_typer(bmc.app, name="bmc")
app.add_typer(content.app, name="content")
app.add_typer(puppet.app, name="puppet")
app.add_typer(candlepin.app, name="candlepin")
app.add_typer(users.app, name="user")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(waves.app, name="waves")
app.command()(users.audit)
app.command()(plan)
app.command()(drift)
app.command()(doctor)
app.command()(backup.backup)
app.command()(backup.restore)


@app.callback()
def _log(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
) -> None:
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # It repeats the query of every request, and ours hold tokens.
    logging.getLogger("httpx").setLevel(logging.WARNING)


@app.command()
def migrate() -> None:
    """Bring the inventory's tables to their newest shape. Settings: RACKRISE_DATABASE_URL."""
    from deployments.settings import InventorySettings
    from inventory.database import migrate as to_the_newest

    asyncio.run(to_the_newest(InventorySettings().database_url.get_secret_value()))


@app.command()
def gateway() -> None:
    """Run a gateway: what hosts and people call. Settings: RACKRISE_GATEWAY_… variables."""
    from gateway.serve import serve
    from gateway.settings import GatewaySettings

    asyncio.run(until_told(serve(GatewaySettings())))


@app.command()
def worker() -> None:
    """Run a worker: it runs the flows. Settings: RACKRISE_… and PREFECT_API_URL."""
    from deployments.settings import WorkerSettings
    from deployments.work import work

    asyncio.run(work(WorkerSettings()))


@app.command()
def prefect(
    host: Annotated[str, typer.Option(help="Where it listens.")] = "127.0.0.1",
    port: int = 4200,
) -> None:
    """Run Prefect's server. Settings: PREFECT_…, PREFECT_SERVER_API_AUTH_STRING above all."""
    from deployments.guarding import Unguarded
    from deployments.prefect_server import become

    try:
        become(host, port)
    except Unguarded as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


@app.command()
def proxy(settings: Annotated[Path, typer.Argument(help="The proxy's TOML file.")]) -> None:
    """Run a proxy beside the DHCP, DNS and TFTP servers of some subnets."""
    from proxy.serve import serve
    from proxy.settings import ProxySettings

    asyncio.run(until_told(serve(ProxySettings.from_toml(settings))))


@app.command()
def up(
    site_file: Annotated[Path, typer.Option("--site", help="The site file to apply.")],
    proxy_file: Annotated[
        Path | None, typer.Option("--proxy", help="Settings of the proxy to run beside it.")
    ] = None,
    data: Annotated[
        Path, typer.Option(help="Database, keys and logs.", envvar="RACKRISE_DATA")
    ] = Path("/var/lib/rackrise"),
    gateway_host: Annotated[str, typer.Option(help="Where the gateway listens.")] = "127.0.0.1",
    gateway_port: int = 8080,
    console_host: Annotated[
        str, typer.Option(help="Where people reach the console.")
    ] = "127.0.0.1",
    console_port: int = 8090,
    console_certificate: Annotated[
        Path | None, typer.Option(help="The console's certificate; without one it is plain HTTP.")
    ] = None,
    console_key: Annotated[Path | None, typer.Option(help="Its private key.")] = None,
    prefect_host: Annotated[
        str, typer.Option(help="Where Prefect's UI and API listen, always behind a password.")
    ] = "127.0.0.1",
    prefect_port: int = 4200,
) -> None:
    """Run everything on this machine: database, Prefect server, gateway, worker and proxy."""
    from deployments.guarding import USER
    from deployments.programs import NotStarted
    from deployments.up import Console, Place
    from deployments.up import up as running
    from inventory.errors import InventoryError

    place = Place(
        data=data,
        site_file=site_file,
        proxy_file=proxy_file,
        gateway_host=gateway_host,
        gateway_port=gateway_port,
        console=Console(console_host, console_port, console_certificate, console_key),
        prefect_host=prefect_host,
        prefect_port=prefect_port,
    )

    async def serve() -> None:
        async with running(place) as here:
            typer.echo(f"Console:           {here.console_url}")
            if here.first_password:
                typer.echo(f"Sign in as admin, password (shown this once): {here.first_password}")
            typer.echo(f"Prefect's console: {here.prefect_url}")
            typer.echo(f"  sign in with:    echo {USER}:$(cat {here.prefect_key})")
            typer.echo(f"Gateway:           {here.gateway_url}")
            typer.echo(f"Logs and data:     {data}")
            typer.echo("Other commands, such as `rackrise hosts list`, need in their environment:")
            for name in ("RACKRISE_DATABASE_URL", "PREFECT_API_URL"):
                typer.echo(f"  export {name}='{here.environment[name]}'")
            # The password itself is not printed: what is printed here ends in logs.
            typer.echo(f'  export PREFECT_API_AUTH_STRING="{USER}:$(cat {here.prefect_key})"')
            typer.echo("Ctrl-C ends everything.")
            await asyncio.Event().wait()

    try:
        asyncio.run(until_told(serve()))
    except (NotStarted, InventoryError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(Exit.REFUSED) from None


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
