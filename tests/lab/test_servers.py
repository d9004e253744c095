"""The lab's static HTTP server and its router advertisements, as the guests need them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.namespace import Namespace, namespace
from lab.process import until
from lab.servers.http import http_server
from lab.servers.router import router

pytestmark = pytest.mark.servers


@pytest.fixture
async def net() -> AsyncIterator[Namespace]:
    async with namespace(f"rr-servers-{os.getpid()}") as made:
        yield made


async def test_an_install_tree_is_served_with_its_hidden_file_and_its_links(
    net: Namespace, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / ".treeinfo").write_text("[general]\n")
    (tmp_path / "install.img").write_bytes(bytes(100_000))
    (root / "install.img").symlink_to(tmp_path / "install.img")
    log = tmp_path / "http.log"
    async with http_server(net, root, port=8081, log=log):
        fetch = ("curl", "-sf", "--max-time", "5", "-o", "-")
        assert await net.run(*fetch, "http://192.0.2.1:8081/.treeinfo") == "[general]\n"
        size = await net.run(*fetch[:-1], "/dev/null", "-w", "%{size_download}",
                             "http://192.0.2.1:8081/install.img")  # fmt: skip
        assert size == "100000"
        with pytest.raises(RuntimeError, match="ended with 22"):
            await net.run(*fetch, "http://192.0.2.1:8081/missing")
    assert "404" in log.read_text()


async def test_whoever_joins_the_bridge_is_told_an_ipv6_prefix(
    net: Namespace, tmp_path: Path
) -> None:
    async def has_address() -> bool:
        shown = await net.run("ip", "-6", "addr", "show", "dev", "vk1", "scope", "global")
        return "fd00:1ab::" in shown

    async with router(net, log=tmp_path / "router.log"):
        await net.run("sh", "-c", "echo 2 >/proc/sys/net/ipv6/conf/vk1/accept_ra")
        await until(has_address, what="an address by router advertisement", deadline=30)
