"""What Puppet is told of a host is read there by Ruby, and kept here only when it changes."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory import classification
from inventory.classification import Answer
from inventory.models import Host
from tests.conftest import Database
from tests.inventory.world import discovered, later, make_group, make_puppet

TRICKY = (
    ":80", "1,234", "1_000", "012", "0x1F", "1e3", "+1", "-.5", "190:20:30", "2026-01-02", "yEs",
    "tRue", "ON", "nUll", "~", "", "=", "<<", "- a", "a: b", "#", "web:80", "/srv", "*", "&a", "!a",
    "{}", "[", "%", "two\nlines", " padded ", "\u2028", "tab\t", "grün", "\U0001f600",
    "x" * 200 + " y",
)  # fmt: skip
"""Strings that some reader of YAML takes for something else."""


def answer(parameters: dict[str, object]) -> Answer:
    return Answer(classes={"base": {}}, parameters=parameters, environment="production")


def in_ruby(text: str) -> object:
    """What Puppet's own language makes of it, by way of JSON."""
    if shutil.which("ruby") is None:
        pytest.skip("ruby is missing")
    script = "require 'yaml'; require 'json'; puts JSON.generate(YAML.load($stdin.read))"
    ran = subprocess.run(
        ["ruby", "-Ku", "-e", script], input=text.encode(), capture_output=True, check=True
    )
    return json.loads(ran.stdout)


def test_ruby_reads_every_string_as_a_string() -> None:
    values: dict[str, object] = {f"p{n}": text for n, text in enumerate(TRICKY)}
    values |= dict.fromkeys(TRICKY, "key")
    assert in_ruby(answer(values).yaml()) == answer(values).model_dump(mode="json")


@pytest.mark.parametrize("text", [":80", "1,234", "yEs", "nUll", "1e3"])
def test_what_ruby_takes_for_something_else_is_quoted(text: str) -> None:
    assert f'p: "{text}"' in answer({"p": text}).yaml()


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.booleans() | st.none()))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_any_answer_is_read_as_it_was_meant(parameters: dict[str, object]) -> None:
    meant = answer(parameters)
    assert yaml.safe_load(meant.yaml()) == meant.model_dump(mode="json")


def test_names_and_plain_words_stay_readable() -> None:
    assert answer({"role": "web", "zone": "eu-west"}).yaml() == (
        "classes:\n  base: {}\nenvironment: production\nparameters:\n  role: web\n  zone: eu-west\n"
    )


@pytest.fixture
async def host(database: Database) -> Host:
    async with database.sessions.begin() as session:
        await make_group(session, puppet_id=(await make_puppet(session)).id)
    return (await discovered(database.sessions))[0]


async def test_only_another_answer_is_kept_with_what_went_and_came(
    database: Database, host: Host
) -> None:
    told = []
    for second, role in enumerate(("web", "web", "database", "web")):
        async with database.sessions.begin() as session:
            told.append(
                await classification.keep(session, host, answer({"role": role}), later(second))
            )
    assert told[1:] == [
        "",
        "-   role: web\n+   role: database",
        "-   role: database\n+   role: web",
    ]
    async with database.sessions() as session:
        kept = await classification.changes(session, host.id)
    assert [one.answered_at for one in kept] == [later(3), later(2), later(0)]
    assert all(line.startswith("+ ") for line in kept[-1].difference.splitlines())


async def test_a_host_without_group_is_nothing_to_puppet(database: Database, host: Host) -> None:
    async with database.sessions() as session:
        assert await classification.answer_for(session, host) is None
