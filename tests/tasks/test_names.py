from __future__ import annotations

import inspect
import re

import pytest
from prefect import Task

from inventory.arrows import deed
from tasks import boot, candlepin, dhcp, dns, hosts, kickstart, power

STEPS = [
    one
    for module in (boot, candlepin, dhcp, dns, hosts, kickstart, power)
    for one in vars(module).values()
    if isinstance(one, Task)
]

CARRIES_OUT = re.compile(r"^(?!Weigh |Judge ).* \(\d")
"""The others decide something, and are called what they do."""


@pytest.mark.parametrize("task", STEPS, ids=lambda task: str(task.name))
def test_a_timeline_tells_what_each_run_does_and_for_whom(task: Task[..., object]) -> None:
    assert list(inspect.signature(task.fn).parameters) == ["company"]
    numbers = [int(one) for one in re.findall(r"\d+", task.name.partition(" (")[2])]
    carried_out = deed(numbers) if CARRIES_OUT.search(task.name) else task.name
    assert task.task_run_name == f"{carried_out} · {{company}}"
    assert task.retries


def test_runs_are_called_as_on_the_diagram() -> None:
    assert dhcp.reserve_in_dhcp.task_run_name == (
        "12, 13 Proxy → DHCP: creates the reservation · {company}"
    )


def test_the_arrows_that_we_carry_out_are_in_the_names() -> None:
    assert len(STEPS) >= 18
    named = " ".join(task.name for task in STEPS)
    for number in (7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 23, 28, 29):
        assert str(number) in named
