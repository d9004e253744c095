"""Reports of a host with what each comes to, judged as the flows judge them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from integrations.puppet.reports import BadReport, Verdict, read_report, verdict
from inventory.host_reports import ReportView
from inventory.models import CallbackKind
from inventory.reports import FirstReport

__all__ = ["Judged", "judged"]


@dataclass(frozen=True)
class Judged:
    """One report with its verdict."""

    report: ReportView
    good: bool
    words: str


async def judged(reports: Sequence[ReportView], name: str) -> list[Judged]:
    """Say of each report whether the host is by it what it is to be.

    Args:
        reports: a few; to read one of Puppet's takes tens of milliseconds.
        name: how the host is called.
    """
    return [
        Judged(one, said.configured, said.reason)
        for one in reports
        for said in [await asyncio.to_thread(_verdict, one, name)]
    ]


def _verdict(report: ReportView, name: str) -> Verdict:
    if report.kind is CallbackKind.REPORT:
        return _of_the_system(report.body, name)
    try:
        return verdict(read_report(report.body.encode()))
    except BadReport as error:
        return Verdict(False, f"it cannot be read: {error}")


def _of_the_system(body: str, name: str) -> Verdict:
    try:
        said = FirstReport.model_validate_json(body)
    except ValidationError as error:
        return Verdict(False, f"it cannot be read: {error.errors()[0]['msg']}")
    if said.hostname.lower() not in (name, name.partition(".")[0]):
        return Verdict(False, f"the system calls itself {said.hostname}, not {name}")
    parts = [said.os, f"kernel {said.kernel}" if said.kernel else "", said.root_device]
    return Verdict(True, ", ".join(one for one in parts if one) or "it runs")
