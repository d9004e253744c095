"""What the pages say is so: commands and settings exist, pictures are drawn from their tables."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from docs import draw_life
from docs.generate.commands import commands, options_of
from docs.generate.settings import environment_names
from inventory.inheritance import inherited
from inventory.life import TRANSITIONS, Event
from inventory.site_tables import SiteFile
from proxy.settings import ProxySettings

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "README.md",
    ROOT / "deployments" / "systemd" / "README.md",
]
COMMANDS = {typed: options_of(command) for typed, command in commands()}
ASKED_BY_COMMANDS = {
    "RACKRISE_BMC_PASSWORD",
    "RACKRISE_CANDLEPIN_SECRET",
    "RACKRISE_DATA",
    "RACKRISE_PULP_PASSWORD",
}
"""Which commands themselves read: no settings of a program."""


def lines_to_type() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        blocks = re.findall(r"^ {4}(rackrise [^\n]+)", text, flags=re.MULTILINE)
        spans = re.findall(r"`(rackrise [^`]+)`", text)
        found += [(page.name, one) for one in (*blocks, *spans)]
    return found


def test_commands_are_known_with_all_their_options() -> None:
    shown = lines_to_type()
    assert len(shown) > 60
    wrong = []
    for page, line in shown:
        words = shlex.split(line.split(";")[0].replace("…", ""))
        if {"--help", "--verbose"} & set(words):
            continue
        command = next((one for one in COMMANDS if words[: len(one.split())] == one.split()), None)
        options = {word for word in words if word.startswith("--")}
        if command is None:
            wrong.append(f"{page}: no such command: {line}")
        elif unknown := options - COMMANDS[command]:
            wrong.append(f"{page}: {command} has no {unknown}")
    assert wrong == []


def test_nothing_says_to_start_prefects_server_without_its_guard() -> None:
    # By itself it would listen to a network without asking who comes; ours refuses that.
    rooms = [one for one in ROOT.iterdir() if (one / "__init__.py").is_file()]
    ours = [one for one in rooms if one.name != "tests"]
    texts = [
        *PAGES,
        *(one for room in ours for kind in ("py", "md") for one in room.rglob(f"*.{kind}")),
    ]
    assert len(texts) > 200
    says = [one for one in texts if "prefect server start" in one.read_text(encoding="utf-8")]
    assert [str(one.relative_to(ROOT)) for one in says] == []
    page = (ROOT / "docs" / "how-to" / "several-machines.md").read_text(encoding="utf-8")
    assert "rackrise prefect --host" in page
    set_there = set(re.findall(r"PREFECT_[A-Z_]+=", page))
    assert {"PREFECT_SERVER_API_AUTH_STRING=", "PREFECT_API_AUTH_STRING="} <= set_there


def test_words_for_make_are_in_the_makefile() -> None:
    words = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    shown: set[str] = set()
    for page in PAGES:
        shown |= set(re.findall(r"(?:^ {4}|`)make ([a-z]+)", page.read_text(), flags=re.MULTILINE))
    assert {"demo", "docs"} <= shown
    assert shown <= words


def test_variables_are_settings() -> None:
    known = environment_names() | ASKED_BY_COMMANDS
    wrong = []
    for page in PAGES:
        names = re.findall(r"\bRACKRISE_[A-Z_]+[A-Z]\b", page.read_text(encoding="utf-8"))
        wrong += [f"{page.name}: {name}" for name in names if name not in known]
    assert wrong == []


def examples(language: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for page in PAGES:
        blocks = re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)
        found += [(page.name, tomllib.loads(block)) for block in blocks]
    return found


def test_examples_in_toml_have_only_keys_that_are_known() -> None:
    shown = examples("toml")
    assert len(shown) > 12
    wrong = []
    for page, data in shown:
        # The word bmc begins a table of either file: with a list it is the site's.
        of_proxy = not isinstance(data.get("bmc", []), list) or set(data) <= {"dhcp", "dns", "tftp"}
        model = ProxySettings if of_proxy else SiteFile
        wrong += [f"{page}: {one}" for one in unknown_keys(model, inherited(data)[0])]
    assert wrong == []


def unknown_keys(model: Any, data: dict[str, Any], path: str = "") -> list[str]:
    from docs.generate.fields import nested_model

    found = []
    for key, value in data.items():
        if key not in model.model_fields:
            found.append(f"{path}{key}")
            continue
        inner = nested_model(model.model_fields[key].annotation)
        for one in value if isinstance(value, list) else [value]:
            if inner is not None and isinstance(one, dict):
                found += unknown_keys(inner, one, f"{path}{key}.")
    return found


def test_keys_that_are_unknown_are_found() -> None:
    assert unknown_keys(ProxySettings, {"dhcp": {"kea": {"socket": 1}}}) == ["dhcp.kea.socket"]
    assert unknown_keys(SiteFile, {"subnet": [{"nett": 1}], "bnc": []}) == ["subnet.nett", "bnc"]


def test_the_picture_of_the_life_is_up_to_date() -> None:
    message = "run .venv/bin/python -m docs.draw_life"
    assert draw_life.FILE.read_text(encoding="utf-8") == draw_life.draw(), message


@pytest.mark.parametrize("event", Event)
def test_every_transition_is_an_arrow_or_in_a_note(event: Event) -> None:
    here = [one for one in TRANSITIONS if one.event is event]
    arrows = [one for one in draw_life.drawn() if one.event is event]
    if arrows:
        assert arrows == here
        assert draw_life.draw().count(f">{event}</text>") == len(here)
    elif event is Event.RETRY:
        assert draw_life.noted(event) == "retry: back to where it was held"
    else:
        assert all(one.source in draw_life.noted(event) for one in here)


def test_every_picture_that_a_page_names_is_there_and_small() -> None:
    named: set[Path] = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found = re.findall(r"!\[[^\]]*\]\(([^)#]+)\)|<img src=\"([^\"]+)\"", text)
        named |= {(page.parent / (one or other)).resolve() for one, other in found}
    assert [one.name for one in named if not one.is_file()] == []
    shots = set((ROOT / "docs" / "screenshots").glob("*.png"))
    assert shots <= named
    assert [one.name for one in shots if one.stat().st_size > 150_000] == []
