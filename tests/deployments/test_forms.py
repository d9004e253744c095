"""Prefect's forms: every deployment described, and what is wrong refused with a sentence."""

from __future__ import annotations

import inspect
from typing import Any
from uuid import uuid4

import pytest
from prefect import Flow
from prefect.exceptions import PrefectHTTPStatusError
from prefect.utilities.schema_tools.validation import ValidationError, validate

from deployments.catalogue import CATALOGUE
from deployments.forms import form
from tests.deployments.conftest import Prefect

FLOWS: dict[str, Flow[Any, Any]] = {entry.flow.name: entry.flow for entry in CATALOGUE}
OF_HOSTS = [entry.flow.name for entry in CATALOGUE if entry.phase is not None]


def said_of(flow: str, given: dict[str, Any]) -> str:
    """What Prefect's server says of a form that is filled in so; empty: it takes it."""
    try:
        validate(given, form(FLOWS[flow]), raise_on_error=True)
    except ValidationError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", FLOWS)
def test_each_field_is_described_in_its_place(name: str) -> None:
    fields = form(FLOWS[name])["properties"]
    for field, one in fields.items():
        assert one["description"], field
        assert one["title"] == field.replace("_", " ").capitalize()
        assert "type" in one, "a field of several types is shown as a choice of types"
    shown = sorted(fields, key=lambda field: fields[field]["position"])
    known = list(inspect.signature(FLOWS[name].fn).parameters)
    assert shown == [one for one in known if one not in ("company", "request")]


@pytest.mark.parametrize("name", FLOWS)
def test_what_a_flow_does_not_know_is_refused(name: str) -> None:
    least = {"name": "spring", "host_group": "web"} if name == "wave" else {}
    assert "'host_gruop'" in said_of(name, {**least, "hosts": ["web01"], "host_gruop": "web"})


@pytest.mark.parametrize("name", OF_HOSTS)
def test_hosts_are_asked_for_by_name(name: str) -> None:
    assert said_of(name, {"hosts": ["web01.example.org", "mac525400aabb01"]}) == ""
    assert "'hosts' is a required property" in said_of(name, {})
    assert "'hosts'" in said_of(name, {"hosts": []})
    assert "'web 01' does not match" in said_of(name, {"hosts": ["web 01"]})
    assert "is not of type 'array'" in said_of(name, {"hosts": "web01"})
    assert "non-unique" in said_of(name, {"hosts": ["web01", "web01"]})


@pytest.mark.parametrize("name", OF_HOSTS)
def test_the_company_of_the_dispatcher_is_taken_though_it_is_not_shown(name: str) -> None:
    assert said_of(name, {"hosts": ["web01"], "company": str(uuid4())}) == ""
    assert said_of(name, {"hosts": ["web01"], "company": None}) == ""
    assert "'company'" in said_of(name, {"hosts": ["web01"], "company": "mine"})


@pytest.mark.parametrize("group", ["", "web", "Web servers", "a group that came after the worker"])
def test_a_group_is_none_of_a_choice(group: str) -> None:
    assert said_of("inception", {"hosts": ["web01"], "host_group": group}) == ""


@pytest.mark.parametrize(
    ("name", "given", "field"),
    [
        ("inception", {"hosts": ["web01"], "host_group": " web"}, "host_group"),
        ("inception", {"hosts": ["web01"], "host_group": "w" * 64}, "host_group"),
        ("inception", {"hosts": ["web01"], "name": "web 02"}, "name"),
        ("plan", {"hosts": ["web 01"]}, "hosts[0]"),
        ("plan", {"approve": "perhaps"}, "approve"),
        ("drift", {"repair": 2}, "repair"),
        ("sync-content", {"trees": [""]}, "trees[0]"),
        ("sync-content", {"trees": None}, "trees"),
        ("tidy", {"report_days": 0}, "report_days"),
        ("tidy", {"profile_days": 1e9}, "profile_days"),
    ],
)
def test_a_wrong_value_is_refused_with_its_field(
    name: str, given: dict[str, Any], field: str
) -> None:
    assert f"Validation failed for field '{field}'. Failure reason:" in said_of(name, given)


def test_a_wave_is_asked_for_with_name_group_and_hosts() -> None:
    least = {"name": "spring", "host_group": "web", "hosts": ["web01"]}
    assert said_of("wave", least) == ""
    for one in least:
        missing = {field: value for field, value in least.items() if field != one}
        assert f"'{one}' is a required property" in said_of("wave", missing)
    for field, value in (
        ("name", "Spring"),
        ("host_group", ""),
        ("canary", 0),
        ("growth", 0.5),
        ("failure_share", 1.1),
        ("per_pulp", -1),
    ):
        assert f"for field '{field}'" in said_of("wave", {**least, field: value})


@pytest.mark.parametrize("name", [one for one in FLOWS if one not in (*OF_HOSTS, "wave")])
def test_what_may_be_left_empty_may(name: str) -> None:
    fields = form(FLOWS[name])["properties"]
    assert said_of(name, {}) == ""
    assert said_of(name, {field: one["default"] for field, one in fields.items()}) == ""


@pytest.mark.long
async def test_prefects_server_checks_by_these_forms(prefect: Prefect) -> None:
    for name, flow in FLOWS.items():
        found = await prefect.client.read_deployment_by_name(f"{name}/{name}")
        assert found.description == flow.description
        assert found.parameter_openapi_schema == form(flow)
        assert found.enforce_parameter_schema
        assert ("rackrise" in found.tags, f"phase:{name}" in found.tags) == (True, name in OF_HOSTS)
    found = await prefect.client.read_deployment_by_name("inception/inception")
    with pytest.raises(PrefectHTTPStatusError) as caught:
        await prefect.client.create_flow_run_from_deployment(
            found.id, parameters={"hosts": ["web 01"]}
        )
    assert caught.value.response.status_code == 409
    assert caught.value.response.json()["detail"] == (
        "Error creating flow run: Validation failed for field 'hosts[0]'. "
        "Failure reason: 'web 01' does not match '^[A-Za-z0-9._-]+$'"
    )
