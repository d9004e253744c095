"""BIND and tftpd inside a lab's namespace, on the ports that machines ask."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.namespace import namespace
from lab.servers.bind import bind
from lab.servers.tftpd import tftpd

pytestmark = pytest.mark.servers


async def test_a_lab_answers_on_its_own_address_and_the_usual_ports(tmp_path: Path) -> None:
    root = tmp_path / "boot"
    root.mkdir(mode=0o755)
    (root / "hello").write_text("from the boot root")
    async with (
        namespace(f"rr-{os.getpid()}-dt") as lab,
        bind(tmp_path / "named", ["lab.example"], inside=lab) as named,
        tftpd(root, tmp_path / "tftpd.log", inside=lab) as tftp,
    ):
        assert (named.address, named.port, tftp.port) == ("192.0.2.1", 53, 69)
        said = await lab.run("dig", "+short", "@192.0.2.1", "ns.lab.example", "A")
        assert said.strip() == "192.0.2.1"
        target = tmp_path / "got"
        await lab.run("tftp", "192.0.2.1", "-c", "get", "hello", str(target))
        assert target.read_text() == "from the boot root"
