"""The lab's Pulp in a network of its own, as machines and Rackrise's programs meet it there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from integrations.pulp import Pulp
from lab.namespace import namespace, run
from lab.servers.pulp import CONTENT_PORT, pulp

# The first one on a machine installs Pulp and migrates its database.
pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]


async def test_a_pulp_inside_serves_its_network_and_can_be_reached_from_outside(
    tmp_path: Path,
) -> None:
    async with namespace(f"rr-pulp-{os.getpid()}") as inside:
        async with pulp(tmp_path, inside=inside) as server, Pulp(server.settings()) as client:
            assert len((await client.status()).workers) == 1
            assert await client.distributions() == []
            assert server.content_url == f"http://192.0.2.1:{CONTENT_PORT}/pulp/content/"
            for url in (f"{server.url}/pulp/api/v3/status/", server.content_url):
                await inside.run("curl", "--fail", "--silent", "--max-time", "20", url)
        assert await run("ip", "netns", "pids", inside.name) == ""
