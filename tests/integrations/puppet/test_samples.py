"""The Puppet client and readers against what real servers and agents were seen to send."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from integrations.errors import OutsideError
from integrations.puppet import (
    BadReport,
    PuppetCa,
    identify,
    read_facts,
    read_report,
    read_request,
    verdict,
)
from tests.integrations.puppet.sites import DOUBLE

SAMPLES = Path(__file__).parents[3].parent / "shared" / "contracts" / "puppet-samples"
REPORTS = {
    "changed.n1.yaml": ("n1", True, "changed, configuration"),
    "changed.n2.http.yaml": ("n2", True, "changed, configuration"),
    "changed.n2.processor.json": ("n2", True, "changed, configuration"),
    "changed.v1-rootfs.http.yaml": ("v1", True, "changed, configuration"),
    "changed.v1-rootfs.processor.json": ("v1", True, "changed, configuration"),
    "unchanged.n1.http.yaml": ("n1", True, "unchanged, configuration"),
    "unchanged.n1.processor.json": ("n1", True, "unchanged, configuration"),
    "failed.n1.http.yaml": ("n1", False, "Exec[break-me] ("),
    "failed.n1.processor.json": ("n1", False, "Exec[break-me] ("),
    "compilefail-cachedcatalog.n1.http.yaml": ("n1", False, "compilation refused by policy"),
    "compilefail-cachedcatalog.n1.processor.json": ("n1", False, "compilation refused by policy"),
}


def sample(name: str) -> bytes:
    if not SAMPLES.is_dir():
        pytest.skip("../shared/contracts/puppet-samples is missing")
    return (SAMPLES / name).read_bytes()


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_is_read_and_judged(name: str) -> None:
    host, configured, words = REPORTS[name]
    body = sample(f"report.{name}")
    report = read_report(body)
    assert (report.host, identify(body).host) == (f"{host}.lab.test", f"{host}.lab.test")
    assert identify(body).key == report.transaction_uuid
    found = verdict(report)
    assert found.configured is configured
    assert words in found.reason


def test_both_ways_of_one_run_are_one_report() -> None:
    sent = [sample("report.changed.n2.http.yaml"), sample("report.changed.n2.processor.json")]
    assert identify(sent[0]) == identify(sent[1])


def test_a_failed_resource_is_named_with_its_place_and_its_words() -> None:
    (failure,) = read_report(sample("report.failed.n1.http.yaml")).failures
    assert failure.resource == "Exec[break-me]"
    assert failure.place.endswith("manifests/site.pp:13")
    assert "returned 3 instead of one of [0]" in failure.words


def test_errors_that_facter_writes_into_a_good_report_do_not_count() -> None:
    report = read_report(sample("report.changed.n1.yaml"))
    assert [one for one in report.logs if one.level == "err"]
    assert verdict(report).configured


def test_every_cut_of_a_report_is_read_or_refused() -> None:
    body = sample("report.failed.n1.http.yaml")
    for length in range(0, len(body), 131):
        with suppress(BadReport):
            read_report(body[:length])


@pytest.mark.parametrize(
    ("name", "host", "count"),
    [("server_data.n1", "n1", 95), ("enc-forwarded.n3", "n3", 102), ("v1-rootfs", "v1", 91)],
)
def test_facts_are_known_by_their_certname(name: str, host: str, count: int) -> None:
    facts = read_facts(sample(f"facts.{name}.json"))
    assert (facts.name, len(facts.values)) == (f"{host}.lab.test", count)
    assert facts.timestamp is not None


@pytest.mark.parametrize(
    ("name", "token"),
    # The third has its secret as an extension, which anybody may read once it is signed.
    [("n1", None), ("n2.challengepassword", "tok-n2"), ("n3.preshared-key-extension", None)],
)
def test_a_request_carries_its_token_as_challenge_password_only(
    name: str, token: str | None
) -> None:
    request = read_request(sample(f"{name}.csr.pem"))
    assert request.token == token
    assert request.common_name == f"{name[:2]}.lab.test"


Call = Callable[[PuppetCa, str], Awaitable[object]]
CALLS: dict[tuple[str, str, str], Call] = {
    ("GET", "certificate_status", ""): lambda ca, name: ca.status(name),
    ("GET", "certificate_request", ""): lambda ca, name: ca.request(name),
    ("GET", "certificate_statuses", ""): lambda ca, _: ca.pending(),
    ("PUT", "certificate_status", "signed"): lambda ca, name: ca.sign(name),
    ("PUT", "certificate_status", "revoked"): lambda ca, name: ca.revoke(name),
    ("PUT", "clean", ""): lambda ca, name: ca.clean(name),
    ("DELETE", "certificate_status", ""): lambda ca, name: ca.forget(name),
}


def recorded() -> list[dict[str, Any]]:
    return [json.loads(line) for line in sample("http-exchanges.jsonl").splitlines()]


def call_of(exchange: dict[str, Any]) -> Call | None:
    parts = exchange["path"].split("?")[0].split("/")
    if parts[1] != "puppet-ca":
        return None
    wish = exchange["request"] or {}
    state = wish.get("desired_state", "") if isinstance(wish, dict) else ""
    return CALLS.get((exchange["method"], parts[3], state))


async def test_every_recorded_answer_of_the_ca_is_understood() -> None:
    """Alone, without the reading back that follows: that finds nothing, and says so."""
    tried: set[tuple[str, int]] = set()
    for exchange in recorded():
        call = call_of(exchange)
        if call is None:
            continue
        text = exchange["body"]
        answers = [
            httpx.Response(
                exchange["status"],
                text=text if isinstance(text, str) else "" if text is None else json.dumps(text),
            )
        ]

        def answer(_: httpx.Request, answers: list[httpx.Response] = answers) -> httpx.Response:
            return answers.pop() if answers else httpx.Response(404, text="Resource not found.")

        name = exchange["path"].split("?")[0].split("/")[-1].lower()
        async with PuppetCa(DOUBLE, transport=httpx.MockTransport(answer)) as ca:
            found: OutsideError | None = None
            try:
                await call(ca, name if "." in name else "n1.lab.test")
            except OutsideError as error:
                found = error
        assert "another shape" not in str(found), exchange
        tried.add((exchange["method"], exchange["status"]))
    assert tried >= {("GET", 200), ("GET", 404), ("PUT", 204), ("PUT", 409), ("DELETE", 204)}
