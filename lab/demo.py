"""``make demo``: brings a site and Rackrise up, and takes hosts from power-on to in operation."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from deployments.guarding import USER
from deployments.up import Up, up
from integrations.pulp import PulpSettings
from inventory.database import Sessions, make_engine, make_sessions
from inventory.fleet import everyone
from inventory.models import now
from inventory.overview import arrows_of_fleet
from lab.authority import ClientCertificate
from lab.content import fill_pulp, keep_candlepin_secret, keep_puppet_certificate
from lab.images import build
from lab.qemu import Loader
from lab.real import real_site
from lab.simulated import simulated_site
from lab.site import LabSite
from lab.view import LEGEND, Fleet, arrows_in_full, arrows_in_short, fleet_table, summary

__all__ = ["Options", "Site", "data_directory", "demo"]

_INTERRUPTED = 130
_LOOK_SECONDS = 0.5
_IN_FULL = 3
"""Hosts up to which each arrow gets a line of its own."""


class Site(StrEnum):
    """Where the hosts are."""

    REAL = "real"
    SIMULATED = "simulated"


@dataclass(frozen=True)
class Options:
    """What is shown."""

    site: Site
    hosts: int
    seed: int
    keep: bool
    pulp: bool
    """Whether hosts install from a Pulp instead of a plain server."""
    puppet: bool
    """Whether a Puppet server configures them."""
    candlepin: bool
    """Whether they register at a Candlepin."""
    deadline: float
    """Seconds from power-on."""


@contextmanager
def data_directory() -> Iterator[Path]:
    """A directory for database, keys and logs that is gone afterwards."""
    if os.geteuid() == 0:
        # PostgreSQL's user must be able to reach it.
        below = Path("/var/lib")
    else:
        below = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        below.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=f"rackrise-demo-{os.getpid()}-", dir=below))
    try:
        directory.chmod(0o755)
        yield directory
    finally:
        shutil.rmtree(directory)


@dataclass(frozen=True)
class _Shown:
    """A site, and what Rackrise must be given to speak to its servers."""

    site: LabSite
    pulp: PulpSettings | None
    certificate: ClientCertificate | None
    candlepin: bool

    async def hand_over(self, here: Up, inside: Sequence[str], console: Console) -> None:
        """Give Rackrise credentials and have Pulp filled, as an operator would."""
        if self.certificate is not None:
            await keep_puppet_certificate(here.environment, self.certificate, inside=inside)
        if self.candlepin:
            await keep_candlepin_secret(here.environment, inside=inside)
        if self.pulp is not None:
            console.print("Having Pulp get the tree, as `rackrise content sync` does.")
            await fill_pulp(
                here.environment,
                user=self.pulp.user,
                password=self.pulp.password.get_secret_value(),
                api_url=f"{here.prefect_url}/api",
                inside=inside,
            )


@asynccontextmanager
async def _site(options: Options, console: Console) -> AsyncIterator[_Shown]:
    if options.site is Site.SIMULATED:
        async with simulated_site(
            options.hosts,
            seed=options.seed,
            with_pulp=options.pulp,
            with_puppet=options.puppet,
            with_candlepin=options.candlepin,
        ) as site:
            pulp = site.pulp.settings() if site.pulp else None
            client = site.puppet.client if site.puppet else None
            yield _Shown(site, pulp, client, options.candlepin)
        return
    console.print("Building what machines boot and install, where the cache lacks it.")
    images = await build()
    loaders = list(islice(cycle((Loader.IPXE, Loader.PXELINUX)), options.hosts))
    # Sockets lie in it, and their paths must be short.
    with tempfile.TemporaryDirectory(prefix="rackrise-lab-", dir="/var/lib") as directory:
        async with real_site(
            Path(directory),
            images,
            name=f"rackrise{os.getpid()}",
            loaders=loaders,
            with_pulp=options.pulp,
            with_puppet=loaders if options.puppet else (),
            with_candlepin=loaders if options.candlepin else (),
        ) as real:
            pulp = real.pulp.settings() if real.pulp else None
            client = real.puppet.client if real.puppet else None
            yield _Shown(real.lab_site, pulp, client, options.candlepin)


async def demo(options: Options, console: Console) -> int:
    """Show it.

    Returns:
        The exit code: 0 only if all hosts are in operation and no arrow is left open.
    """
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        data = stack.enter_context(data_directory())
        console.print(f"A {options.site} site with {options.hosts} hosts, seed {options.seed}.")
        shown = await stack.enter_async_context(_site(options, console))
        console.print("Starting database, Prefect server, gateway, worker and proxy.")
        site, place = shown.site, shown.site.place(data)
        here = await stack.enter_async_context(up(place))
        await shown.hand_over(here, place.inside, console)
        engine = make_engine(here.environment["RACKRISE_DATABASE_URL"], pool_size=2)
        stack.push_async_callback(engine.dispose)
        sessions = make_sessions(engine)
        powered = time.monotonic()
        console.print(
            f"Up after {powered - started:.0f} s. Prefect's console: {here.prefect_url}, "
            f"user {USER}, password in {here.prefect_key}\n"
            "Switching the hosts on.",
            soft_wrap=True,
        )
        for host in site.hosts:
            await host.power_on()
        seen = await _watch(sessions, options, console)
        took = time.monotonic() - powered
        await _tell(console, options, site, seen, here, took)
        if options.keep:
            _tell_how_to_look_around(console, data, here)
        last_line = summary(seen, options.hosts)
        console.print(last_line, highlight=False, soft_wrap=True)
        if options.keep:
            await _wait_for_the_end()
        arrived = len(seen.in_operation) == options.hosts
        return 0 if arrived and not seen.unsettled else 1


async def _wait_for_the_end() -> None:
    """Ctrl-C is how a kept demo is meant to end, and no failure."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()


async def _look(sessions: Sessions) -> Fleet:
    async with sessions() as session:
        return Fleet(await everyone(session), await arrows_of_fleet(session))


async def _watch(sessions: Sessions, options: Options, console: Console) -> Fleet:
    """Show the hosts until each is in operation or held, or the time is over."""
    end = time.monotonic() + options.deadline
    seen = Fleet([], {})
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while time.monotonic() < end:
            before, seen = seen, await _look(sessions)
            if console.is_terminal:
                live.update(fleet_table(seen, now()), refresh=True)
            else:
                _print_changes(console, before, seen)
            if len(seen.in_operation) + len(seen.held) == options.hosts:
                break
            await asyncio.sleep(_LOOK_SECONDS)
    return seen


def _print_changes(console: Console, before: Fleet, seen: Fleet) -> None:
    known = {one.mac: one.state for one in before.hosts}
    for host in seen.hosts:
        if known.get(host.mac) != host.state:
            console.print(f"{host.since:%H:%M:%S} {host.name}: {host.state}", soft_wrap=True)


async def _tell(
    console: Console, options: Options, site: LabSite, seen: Fleet, here: Up, took: float
) -> None:
    for host in seen.hosts:
        console.rule(f"{host.name}, {host.state} since {host.since:%H:%M:%S}, {host.ip or '-'}")
        rows = seen.arrows.get(host.name, ())
        if options.hosts <= _IN_FULL:
            # A line each on a terminal; a file or a pipe gets the whole of it.
            crop = console.is_terminal
            console.print(
                arrows_in_full(rows),
                highlight=False,
                no_wrap=crop or None,
                overflow="ellipsis" if crop else None,
                soft_wrap=not crop,
            )
        else:
            console.print(arrows_in_short(rows), highlight=False)
    console.rule()
    await _tell_what_is_wrong(console, options, site, seen)
    console.print(LEGEND, soft_wrap=True)
    run = next(
        (one.flow_run_id for rows in seen.arrows.values() for one in rows if one.flow_run_id), None
    )
    console.print(f"{took:.0f} s from power-on. Prefect's console: {here.prefect_url}")
    if run is not None:
        console.print(
            f"A step's flow run, such as: {here.prefect_url}/runs/flow-run/{run}", soft_wrap=True
        )
    if seen.hosts:
        console.print(f"One host's arrows: rackrise hosts show {seen.hosts[0].name}")
    if not options.keep:
        console.print("All of it ends now; with make demo KEEP=1 it stays to be looked at.")


async def _tell_what_is_wrong(
    console: Console, options: Options, site: LabSite, seen: Fleet
) -> None:
    rows = {one.mac: one for one in seen.hosts}
    for host in site.hosts:
        row = rows.get(host.mac)
        if row in seen.in_operation:
            continue
        if row is None:
            console.print(f"{host.mac} was not heard of within {options.deadline:g} s.")
        elif row.held_reason is None:
            console.print(f"{row.name} is still {row.state} after {options.deadline:g} s.")
        else:
            console.print(f"{row.name} is held at arrow {row.held_step}: {row.held_reason}")
        console.print(f"Its last words:\n{await host.last_words()}", markup=False, soft_wrap=True)
    arrived = {one.name for one in seen.in_operation}
    for name, arrow in seen.unsettled:
        # Of the others it is no wonder.
        if name in arrived:
            console.print(f"{name} is in operation, but its arrow {arrow.label} is {arrow.state}.")


def _tell_how_to_look_around(console: Console, data: Path, here: Up) -> None:
    file = data / "environment"
    file.touch(mode=0o600)
    file.write_text(
        "".join(f"export {name}={shlex.quote(one)}\n" for name, one in here.environment.items())
    )
    console.print(
        f"Console: {here.console_url}, sign in as admin with {here.first_password}\n"
        f"It all stays until Ctrl-C here, or: kill {os.getpid()}\n"
        f"To use the command line: . {file}; rackrise hosts list\n"
        f"Logs: {data}/*.log",
        soft_wrap=True,
    )


async def _until_told(options: Options, console: Console) -> int:
    """Run the demo; a signal ends it in order, and further ones do not disturb that."""
    task = asyncio.ensure_future(demo(options, console))
    loop = asyncio.get_running_loop()

    def leave() -> None:
        if not leaving.is_set():
            leaving.set()
            console.print("Cleaning up.")
            task.cancel()

    leaving = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(one, leave)
    try:
        return await task
    except asyncio.CancelledError:
        return _INTERRUPTED


def main(
    site: Annotated[Site, typer.Option(help="Where the hosts are.")] = Site.SIMULATED,
    hosts: Annotated[int, typer.Option(min=1, max=4000, help="How many.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the delays of a simulated site.")] = 1,
    keep: Annotated[bool, typer.Option("--keep", help="Stay to be looked at.")] = False,
    pulp: Annotated[bool, typer.Option("--pulp", help="Hosts install from a Pulp.")] = False,
    puppet: Annotated[bool, typer.Option("--puppet", help="Puppet configures hosts.")] = False,
    candlepin: Annotated[
        bool, typer.Option("--candlepin", help="Hosts register at a Candlepin.")
    ] = False,
    deadline: Annotated[float, typer.Option(help="Seconds from power-on.")] = 0,
) -> None:
    """Take blank hosts from power-on to in operation, and show every arrow."""
    if site is Site.REAL and os.geteuid() != 0:
        raise typer.BadParameter("the real site needs root on Debian: use --site simulated")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    patience = deadline or {Site.REAL: 600.0 + 300 * hosts, Site.SIMULATED: 60.0 + 3 * hosts}[site]
    options = Options(site, hosts, seed, keep, pulp, puppet, candlepin, patience)
    console = Console()
    try:
        code = asyncio.run(_until_told(options, console))
    except (RuntimeError, OSError) as error:
        # A server or program that does not start; the message has its last lines.
        console.print(f"It did not come up: {error}", markup=False, soft_wrap=True)
        code = 1
    raise typer.Exit(code)


if __name__ == "__main__":
    typer.run(main)
