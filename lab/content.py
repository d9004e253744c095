"""Gives Rackrise credentials of the lab's servers and has it fill Pulp, as an operator would."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from uuid import UUID

from prefect.client.orchestration import PrefectClient

from lab.authority import ClientCertificate
from lab.candlepin import CREDENTIALS, OAUTH_KEY, OAUTH_SECRET
from lab.process import until
from lab.site import PULP_CREDENTIALS, PUPPET_CREDENTIALS

__all__ = ["fill_pulp", "keep_candlepin_secret", "keep_puppet_certificate", "rackrise"]

_COMMAND_SECONDS = 60.0
_SYNC_SECONDS = 60.0


async def rackrise(
    *words: str, environment: Mapping[str, str], inside: Sequence[str] = (), **more: str
) -> str:
    """What the command ``rackrise`` prints.

    Args:
        words: its arguments.
        environment: of the installation, as ``deployments.up.Up`` has it.
        inside: put before the command line, such as ``ip netns exec NAME``.
        more: further environment variables.

    Raises:
        RuntimeError: it failed; the message is what it said.
        TimeoutError: it took longer than a minute.
    """
    process = await asyncio.create_subprocess_exec(
        *(*inside, sys.executable, "-m", "cli.main", *words),
        env={**os.environ, **environment, **more},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complained = await asyncio.wait_for(process.communicate(), _COMMAND_SECONDS)
    if process.returncode != 0:
        raise RuntimeError(f"rackrise {' '.join(words)}: {complained.decode()}{printed.decode()}")
    return printed.decode()


async def keep_puppet_certificate(
    environment: Mapping[str, str], ours: ClientCertificate, *, inside: Sequence[str] = ()
) -> None:
    """Keep our certificate for the lab's Puppet, as an operator would.

    Raises:
        RuntimeError: the command failed, with its own words.
    """
    await rackrise(
        *("puppet", "credentials", PUPPET_CREDENTIALS),
        *("--certificate", str(ours.certificate), "--key", str(ours.key), "--ca", str(ours.ca)),
        environment=environment,
        inside=inside,
    )


async def keep_candlepin_secret(
    environment: Mapping[str, str], *, inside: Sequence[str] = ()
) -> None:
    """Keep key and secret for the lab's Candlepin, as an operator would.

    Raises:
        RuntimeError: the command failed, with its own words.
    """
    await rackrise(
        *("candlepin", "credentials", CREDENTIALS, "--oauth-key", OAUTH_KEY),
        environment=environment,
        inside=inside,
        RACKRISE_CANDLEPIN_SECRET=OAUTH_SECRET,
    )


async def fill_pulp(
    environment: Mapping[str, str],
    *,
    user: str,
    password: str,
    api_url: str,
    inside: Sequence[str] = (),
) -> None:
    """Keep the credentials of the lab's Pulp, synchronise its trees, and wait for the end of it.

    Args:
        environment: of the installation.
        user: of the Pulp.
        password: the user's.
        api_url: of Prefect, as this process reaches it.
        inside: as for ``rackrise``.

    Raises:
        RuntimeError: a command or the synchronisation failed, with its own words.
        TimeoutError: it took longer than a minute.
    """
    await rackrise(
        *("content", "credentials", PULP_CREDENTIALS, "--user", user),
        environment=environment,
        inside=inside,
        RACKRISE_PULP_PASSWORD=password,
    )
    said = await rackrise("content", "sync", "--json", environment=environment, inside=inside)
    started = UUID(json.loads(said)["flow_run_id"])
    async with PrefectClient(api_url, auth_string=environment["PREFECT_API_AUTH_STRING"]) as client:

        async def ended() -> bool:
            run = await client.read_flow_run(started)
            if run.state is not None and run.state.is_final() and not run.state.is_completed():
                raise RuntimeError(f"{run.name} is {run.state.name}: {run.state.message}")
            return run.state is not None and run.state.is_completed()

        await until(ended, what="Pulp has the tree", deadline=_SYNC_SECONDS, every=0.2)
