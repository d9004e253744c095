"""A real Puppet agent with directories of its own: a host's first run without a machine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lab.servers.puppet import PuppetServer

__all__ = ["AgentRun", "agent_run"]

CHALLENGE_PASSWORD = "1.2.840.113549.1.9.7"
_SECONDS = 120.0
_OPTIONS = {
    "conf": "confdir",
    "ssl": "ssldir",
    "var": "vardir",
    "run": "rundir",
    "log": "logdir",
    "public": "publicdir",
    "code": "codedir",
}


@dataclass(frozen=True)
class AgentRun:
    """How a run ended."""

    code: int
    """Of ``--detailed-exitcodes``: 0 nothing changed, 2 changed, 4 and 6 with failures, 1 could not
    run. None of them proves anything, only a report does."""
    output: str


async def agent_run(
    server: PuppetServer,
    *,
    certname: str,
    directory: Path,
    token: str | None = None,
    extra: Sequence[str] = (),
) -> AgentRun:
    """Run an agent once against a server; its life goes on in the same directory the next time.

    Args:
        server: which.
        certname: the host's name.
        directory: the agent's own; a new one is a new machine.
        token: travels in the certificate request as challengePassword.
        extra: more arguments of ``puppet agent``.

    Raises:
        TimeoutError: it did not end within two minutes.
    """
    place = urlsplit(server.url)
    names = {
        name: directory / name for name in ("conf", "ssl", "var", "run", "log", "public", "code")
    }
    for one in names.values():
        one.mkdir(parents=True, exist_ok=True)
    attributes = names["conf"] / "csr_attributes.yaml"
    if token is None:
        attributes.unlink(missing_ok=True)
    else:
        attributes.write_text(f'custom_attributes:\n  {CHALLENGE_PASSWORD}: "{token}"\n')
    command = [
        *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("puppet", "agent", "--onetime", "--no-daemonize", "--verbose", "--no-splay"),
        *("--detailed-exitcodes", "--color=false", "--waitforcert", "0"),
        # Without it each first run waits for the server's idle timeout of 30 s (contract, 3).
        *("--http_keepalive_timeout", "0"),
        *(word for name, one in names.items() for word in (f"--{_OPTIONS[name]}", str(one))),
        *("--certname", certname),
        *("--server", str(place.hostname), "--serverport", str(place.port)),
        *("--ca_server", str(place.hostname), "--ca_port", str(place.port)),
        *extra,
    ]
    if server.inside:
        command = server.inside.command(*command)
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_SECONDS):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return AgentRun(process.returncode or 0, printed.decode(errors="replace"))
