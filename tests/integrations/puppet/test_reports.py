"""Reports that nobody sane would send, and judgements that no sample shows."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from integrations.puppet import (
    BadFacts,
    BadReport,
    BadRequest,
    identify,
    read_facts,
    read_report,
    read_request,
    verdict,
)

TAG = "--- !ruby/object:Puppet::Transaction::Report\n"
GOOD: dict[str, Any] = {
    "host": "web01.example.org",
    "time": "2026-11-22T13:48:57+00:00",
    "transaction_uuid": "0f4c",
    "status": "changed",
    "transaction_completed": True,
    "cached_catalog_status": "not_used",
}
FOREMAN = {
    "host": "Web01.example.org",
    "reported_at": "2026-11-22 13:48:57 UTC",
    "status": {"applied": 1, "failed": 0, "failed_restarts": 0, "pending": 0},
    "logs": [],
}


def as_yaml(**changes: Any) -> bytes:
    return (TAG + yaml.safe_dump({**GOOD, **changes})).encode()


def foreman(**changes: Any) -> bytes:
    return json.dumps({"config_report": {**FOREMAN, **changes}}).encode()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "failed"}, "failed"),
        ({"cached_catalog_status": "on_failure"}, "an old catalog was applied"),
        ({"cached_catalog_status": "explicitly_requested"}, "an old catalog was applied"),
        ({"transaction_completed": False}, "broken off"),
        ({"noop": True}, "only looked"),
        ({"status": "exploded"}, "exploded"),
    ],
)
def test_a_good_status_alone_proves_nothing(changes: dict[str, Any], words: str) -> None:
    assert verdict(read_report(as_yaml())).configured
    found = verdict(read_report(as_yaml(**changes)))
    assert not found.configured
    assert words in found.reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TAG + "host: &a [1]\nlogs: *a\n", "alias"),
        (TAG + "host: !ruby/object:Gem::Requirement {}\n", "Gem::Requirement"),
        (TAG + "host: !!python/object/apply:os.system [true]\n", "os.system"),
        ("--- [1, 2]\n", "no keys"),
        (TAG + "host: web01\n", "time"),
        (TAG + "[" * 5000, "."),
        ("{" * 5000, "JSON"),
        ('{"host": 1}', "time"),
        ("\x00", "."),
        ("", "no keys"),
    ],
)
def test_what_is_no_report_is_refused_with_a_sentence(text: str, words: str) -> None:
    with pytest.raises(BadReport, match=words):
        read_report(text.encode())


def test_a_report_without_end_is_not_read() -> None:
    for read in (identify, read_report):
        with pytest.raises(BadReport, match="at most"):
            read(b"x" * (5 << 20))


@pytest.mark.parametrize("body", [b"", b"host: web01\n", b'{"host": "a"}', b'{"config_report": 1}'])
def test_a_report_that_does_not_say_which_it_is_is_refused(body: bytes) -> None:
    with pytest.raises(BadReport, match="names no host"):
        identify(body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (TAG + "host: web01\x00\ntransaction_uuid: a\n", "no certname"),
        (TAG + "host: ../ca\ntransaction_uuid: a\n", "no certname"),
        (TAG + "host: web01\ntransaction_uuid: a\x00b\n", "neither a transaction_uuid"),
        (r'{"host": "web01", "transaction_uuid": "\ud800"}', "neither a transaction_uuid"),
        (r'{"config_report": {"host": "\u0000", "reported_at": "now"}}', "no certname"),
        (r'{"config_report": {"host": "web01", "reported_at": "\u0000"}}', "nor a time"),
    ],
)
def test_a_name_that_no_node_and_no_database_can_have_is_refused(body: str, words: str) -> None:
    with pytest.raises(BadReport, match=words):
        identify(body.encode())


@pytest.mark.parametrize("name", ["", "web01\x00", "../ca", "a" * 254, "WEB 01"])
def test_facts_of_what_is_no_node_are_refused(name: str) -> None:
    with pytest.raises(BadFacts, match="no certname"):
        read_facts(json.dumps({"name": name, "values": {}}).encode())


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-11-22T13:39:22.987654321+00:00",
        "2026-11-22T13:39:22",
        "2026-11-22 13:39:22 UTC",
        "2026-11-22 15:39:22 +0200",
        "Sun Nov 22 08:39:22 -0500 2026",
    ],
)
def test_the_time_of_facts_is_read_in_any_spelling_of_rubys(stamp: str) -> None:
    bodies = (
        {"name": "web01", "values": {}, "timestamp": stamp},
        {"certname": "web01", "facts": {"_timestamp": stamp}},
    )
    for body in bodies:
        read = read_facts(json.dumps(body).encode()).timestamp
        assert read is not None
        assert read.replace(microsecond=0) == datetime(2026, 11, 22, 13, 39, 22, tzinfo=UTC)


@pytest.mark.parametrize("stamp", [None, "", "yesterday", 5, {"a": 1}, "9999999-01-01"])
def test_facts_without_a_readable_time_are_facts(stamp: object) -> None:
    body = {"certname": "web01", "facts": {"_timestamp": stamp}}
    assert read_facts(json.dumps(body).encode()).timestamp is None


@pytest.mark.parametrize("depth", [33, 400, 900])
def test_facts_nested_without_end_are_refused(depth: int) -> None:
    body = '{"name": "web01", "values": ' + '{"a":' * depth + "1" + "}" * depth + "}"
    with pytest.raises(BadFacts, match="nested deeper than 32"):
        read_facts(body.encode())


def test_what_stands_deeper_in_a_report_does_not_name_it() -> None:
    forged = as_yaml(logs=[{"level": "info", "message": "a\nhost: other.example.org\nb"}])
    assert identify(forged).host == read_report(forged).host == "web01.example.org"


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for read, refusal in (
        (identify, BadReport),
        (read_report, BadReport),
        (read_facts, BadFacts),
        (read_request, BadRequest),
    ):
        with suppress(refusal):
            read(body)


def test_foremans_shape_is_judged_by_its_counts() -> None:
    assert identify(foreman()).host == "web01.example.org"
    assert identify(foreman()) == identify(foreman(status={}))
    assert verdict(read_report(foreman())).configured
    assert not verdict(read_report(foreman(status={"failed": 2}))).configured


def test_foremans_shape_does_not_say_which_catalog_but_its_log_does() -> None:
    line = {"level": "err", "messages": {"message": "Could not retrieve catalog from remote"}}
    found = verdict(read_report(foreman(logs=[{"log": {**line, "sources": {"source": "Puppet"}}}])))
    assert not found.configured
    assert "old catalog" in found.reason
