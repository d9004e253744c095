"""What the documents show is so: the examples are valid, the picture is drawn from the table."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from integrations.power.settings import POWER_SETTINGS
from inventory.arrows import ARROWS
from inventory.machines import Machine
from inventory.models import DiscoveryRule
from inventory.rules import matches
from inventory.sitefile import read_site_file
from proxy.settings import ProxySettings

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")


def test_the_example_of_a_site_is_valid() -> None:
    site = read_site_file(EXAMPLES / "site.toml")
    (rule,) = site.discovery_rule
    facts = {
        "memorysize_mb": "64206.0",
        "processorcount": "32",
        "blockdevice_sda_size": "480103981056",
        "manufacturer": "Dell Inc.",
    }
    row = DiscoveryRule(**rule.model_dump(exclude={"host_group"}), host_group_id=1)
    assert matches(row, Machine(facts))
    assert not matches(row, Machine({**facts, "memorysize_mb": "2048.0"}))
    (bmc,) = site.bmc
    secrets = {"user": "admin", "password": "secret"}
    POWER_SETTINGS.validate_python({**bmc.settings, "kind": bmc.kind, **secrets})


def test_the_example_of_a_proxy_is_valid_with_either_dhcp_server(tmp_path: Path) -> None:
    text = (EXAMPLES / "proxy.toml").read_text()
    assert ProxySettings.from_toml(EXAMPLES / "proxy.toml").dhcp.kea is not None

    start, end = text.index("[dhcp.kea]"), text.index("# Instead, for ISC dhcpd")
    isc = text[:start] + text[end:].replace("\n# Instead", "")
    isc = isc.replace('kind = "kea"', 'kind = "isc"')
    isc = re.sub(r"^# (\[dhcp\.isc\]|\w+ = )", r"\1", isc, flags=re.MULTILINE)
    (tmp_path / "proxy.toml").write_text(isc)
    assert ProxySettings.from_toml(tmp_path / "proxy.toml").dhcp.isc is not None


def test_the_picture_of_the_arrows_is_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "draw_arrows.py"))
    drawn: str = script["draw"]()
    assert all(f">{one.number}</tspan> {one.text}<" in drawn for one in ARROWS)
    message = "run .venv/bin/python docs/draw_arrows.py"
    assert (ROOT / "docs" / "arrows.svg").read_text(encoding="utf-8") == drawn, message


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_links_to_is_there(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", text)
    links += re.findall(r"src=\"([^\"]+)\"", text)
    assert [link for link in links if not (ROOT / link).exists()] == []


def _shown(document: str, program: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    found = re.findall(rf"(?:^|`|    ){program} ([a-z]+(?: [a-z]+)?)", text, flags=re.MULTILINE)
    return sorted(set(found))


def test_the_words_for_make_are_in_the_makefile() -> None:
    words = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    shown = {each.split()[0] for document in DOCUMENTS[:2] for each in _shown(document, "make")}
    assert shown
    assert shown <= words


@pytest.mark.parametrize("command", _shown("README.md", "rackrise"))
def test_a_command_of_the_readme_is_known(command: str) -> None:
    words = command.split()
    if words[0] not in {"hosts", "site"}:
        words = words[:1]
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *words, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
