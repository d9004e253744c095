"""The gateway as a process serves it: uvicorn, sockets, and the machine's own scripts."""

import asyncio
import socket
from pathlib import Path

import httpx
import pytest
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from gateway.serve import serve
from inventory import steps
from inventory.arrows import Evidence
from inventory.life import HostState
from inventory.models import Callback, CallbackKind, Site
from tests.gateway.conftest import World, token


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def answering(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                assert (await client.get("/health")).status_code == 200
            except httpx.ConnectError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_it_serves_on_a_unix_socket_until_it_is_cancelled(
    world: World, tmp_path: Path
) -> None:
    path = tmp_path / "gateway"
    serving = asyncio.create_task(serve(world.settings.model_copy(update={"uds": path})))
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        await answering(client)
        await world.host(1, HostState.INSTALLING)
        answer = await client.post(
            f"/unattended/built?token={token(1)}", headers={"X-Forwarded-For": "192.0.2.50"}
        )
        assert answer.status_code == 201
        assert "server" not in answer.headers
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    with pytest.raises(FileNotFoundError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
    callback: Callback = (await world.callbacks())[0]
    assert callback.remote == "192.0.2.50"


async def shell(script: str, tools: Path) -> None:
    """Run a script of the kickstart as a machine does."""
    ended = await asyncio.create_subprocess_exec(
        "dash",
        "-c",
        script,
        env={"PATH": f"{tools}:/usr/bin:/bin"},
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        _, errors = await ended.communicate()
    assert ended.returncode == 0, errors.decode()


async def test_a_kickstarts_own_scripts_take_a_host_to_its_first_report(
    world: World, tmp_path: Path
) -> None:
    port = free_port()
    host, build = await world.host(1, HostState.REBOOTING)
    async with world.database.sessions.begin() as session:
        (await session.get_one(Site, 1)).gateway_url = f"http://127.0.0.1:{port}/"
    (tmp_path / "rpm").write_text("#!/bin/sh\nprintf 'one\\ntwo\\n'\n")
    (tmp_path / "rpm").chmod(0o755)
    serving = asyncio.create_task(serve(world.settings.model_copy(update={"port": port})))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await answering(client)
        kickstart = await client.get("/unattended/provision", params={"token": token(1)})
        parser = KickstartParser(makeVersion("RHEL9"))
        parser.readKickstartFromString(kickstart.text)
        before, installed, last, _ = (one.script for one in parser.handler.scripts)
        for place in ("/usr/local/sbin", "/etc/systemd"):
            installed = installed.replace(place, f"{tmp_path}{place}")

        # Without the watcher of packages, which would outlive the test.
        await shell(before.replace("watch_packages </dev/null", ": </dev/null"), tmp_path)
        await shell(installed, tmp_path)
        async with world.database.sessions.begin() as session:
            # The worker's part, for which the last script waits.
            await steps.finish(
                session, build.id, 29, evidence=Evidence.OBSERVED, seen="", at=world.now()
            )
        await shell(last, tmp_path)
        assert await world.state(host.id) is HostState.INSTALLED
        await shell(str(tmp_path / "usr/local/sbin/rackrise-first-boot"), tmp_path)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert [one.kind for one in await world.callbacks()] == [
        CallbackKind.KICKSTART,
        CallbackKind.PROGRESS,
        CallbackKind.PROGRESS,
        CallbackKind.BUILT,
        CallbackKind.REPORT,
    ]
    assert (await world.steps(build))[22].seen == "2 packages"
