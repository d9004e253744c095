"""What the demo shows of hosts and arrows."""

from datetime import UTC, datetime

from inventory.arrows import Evidence, arrow
from inventory.fleet import FleetRow
from inventory.life import HostState
from inventory.models import StepState
from inventory.overview import ArrowRow
from lab.view import Fleet, arrows_in_full, arrows_in_short, summary

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def _arrow(number: int, state: StepState, evidence: Evidence | None = None) -> ArrowRow:
    at = AT if state is StepState.DONE else None
    return ArrowRow(number, arrow(number).label, state, evidence, at, "a lease", None, None)


def _host(name: str, state: HostState) -> FleetRow:
    return FleetRow(
        id=1,
        name=name,
        state=state,
        since=AT,
        site="lab",
        host_group="web",
        mac="52:54:00:aa:bb:01",
        ip="192.0.2.50",
        deadline=None,
        held_step=None,
        held_reason=None,
        held_advice=None,
        trouble=None,
        given_up=None,
        step=None,
        done=0,
        asked=34,
    )


ROWS = [
    _arrow(1, StepState.DONE, Evidence.IMPLIED),
    _arrow(2, StepState.DONE, Evidence.OBSERVED),
    _arrow(22, StepState.DONE, Evidence.REPORTED),
    _arrow(24, StepState.NOT_ASKED),
]


def test_the_last_line_counts_hosts_and_evidence() -> None:
    hosts = [_host("a", HostState.IN_OPERATION), _host("b", HostState.HELD)]
    seen = Fleet(hosts, {"a": ROWS, "b": [*ROWS, _arrow(27, StepState.FAILED)]})
    assert summary(seen, 3) == (
        "hosts in operation: 1 of 3; arrows: 2 observed, 2 reported, 2 implied, 2 not asked for"
    )
    assert [(name, one.number) for name, one in seen.unsettled] == [("b", 27)]


def test_each_arrow_is_shown_with_its_evidence_and_time() -> None:
    lines = arrows_in_full(ROWS).splitlines()
    assert lines[1].split()[:3] == ["●", "observed", "03:04:05"]
    assert lines[1].endswith("requests a temporary address: a lease")
    assert "not asked for" in lines[3]
    assert arrows_in_short(ROWS) == "1○03:04:05  2●03:04:05  22◐03:04:05  24–"  # noqa: RUF001
