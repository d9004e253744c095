"""Reports of Puppet's agents: read without trusting them, and judged.

They come as YAML from Puppet's own ``http`` processor and from its store, as JSON from processors
that send what ``to_data_hash`` gives, and in Foreman's shape (contract, section 4).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from integrations.puppet.names import is_certname

__all__ = [
    "BadReport",
    "Failure",
    "Log",
    "Report",
    "ReportName",
    "Verdict",
    "identify",
    "read_report",
    "verdict",
]

_ROOT_TAG = "!ruby/object:Puppet::Transaction::Report"
_MOST_BYTES = 4 << 20
_MOST_WORDS = 1500
_LONGEST_KEY = 320

_TOP = re.compile(rb"^(host|transaction_uuid): +(\S+)[ \t]*$", re.MULTILINE)
_OLD_CATALOG = re.compile("could not retrieve catalog|using cached catalog", re.IGNORECASE)


class BadReport(ValueError):
    """What was sent is no report of an agent; the text says what is wrong."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Log(_Part):
    """One line of the agent's log."""

    level: str
    source: str = ""
    message: str = ""


class _Event(_Part):
    status: str = ""
    message: str | None = None


class _Resource(_Part):
    failed: bool = False
    failed_to_restart: bool = False
    file: str | None = None
    line: int | None = None
    events: Sequence[_Event] = ()


class Failure(_Part):
    """A resource that could not be made so."""

    resource: str
    """``Exec[break-me]``."""
    place: str
    """File and line of the manifest; empty where Puppet does not say."""
    words: str

    def __str__(self) -> str:
        where = f" ({self.place})" if self.place else ""
        return f"{self.resource}{where}: {self.words}"


class Report(_Part):
    """One run of an agent."""

    host: str = Field(min_length=1, max_length=253)
    """The certname, in lower case."""
    time: datetime
    """When the agent began, by its own clock: before its certificate was signed."""
    status: str
    """``changed``, ``unchanged`` or ``failed``."""
    transaction_uuid: str = ""
    """Empty in Foreman's shape."""
    transaction_completed: bool = True
    cached_catalog_status: str = ""
    """``not_used``, ``on_failure`` or ``explicitly_requested``; empty in Foreman's shape."""
    configuration_version: str = ""
    environment: str | None = None
    noop: bool = False
    logs: Sequence[Log] = ()
    failures: Sequence[Failure] = ()


@dataclass(frozen=True)
class ReportName:
    """What tells a report from all others."""

    host: str
    key: str
    """Its ``transaction_uuid``; in Foreman's shape, which lacks it, host and time."""


@dataclass(frozen=True)
class Verdict:
    """Whether a run has made the host what it is to be."""

    configured: bool
    reason: str


def identify(body: bytes) -> ReportName:
    """Tell which report this is, without reading the whole of it.

    To read one takes tens of milliseconds, and a gateway is sent hundreds a second.

    Raises:
        BadReport: it does not say.
    """
    _check_size(body)
    if body.lstrip()[:1] == b"{":
        return _identify_json(body)
    found: dict[bytes, bytes] = {}
    for name, value in _TOP.findall(body):
        found.setdefault(name, value.strip(b"'\""))
    host, uuid = found.get(b"host", b""), found.get(b"transaction_uuid", b"")
    return _named(host.decode(errors="replace"), uuid.decode(errors="replace"))


def _identify_json(body: bytes) -> ReportName:
    sent = _json(body)
    if "config_report" in sent:
        inner = sent["config_report"] if isinstance(sent["config_report"], dict) else {}
        host, at = inner.get("host"), inner.get("reported_at")
        key = f"{host}:{at}" if host and at else None
    else:
        host, key = sent.get("host"), sent.get("transaction_uuid")
    return _named(host, key)


def _named(host: object, key: object) -> ReportName:
    if not isinstance(host, str) or not isinstance(key, str) or not host or not key:
        raise BadReport("the report names no host, or neither transaction_uuid nor reported_at")
    name = host.lower()
    if not is_certname(name):
        raise BadReport(f"the report is of no node: {name[:253]!r} is no certname")
    # What is neither a UUID nor a time could be anything, also what no database takes.
    if len(key) > _LONGEST_KEY or not key.isprintable():
        raise BadReport(f"{key[:_LONGEST_KEY]!r} is neither a transaction_uuid nor a time")
    return ReportName(name, key)


def read_report(body: bytes) -> Report:
    """Read a report in any of its shapes.

    Raises:
        BadReport: it is none of them.
    """
    _check_size(body)
    if body.lstrip()[:1] == b"{":
        sent = _json(body)
        if "config_report" in sent:
            return _from_foreman(sent["config_report"])
        return _report(sent)
    try:
        return _report(yaml.load(body, _Loader))  # noqa: S506 - a safe loader with one tag more
    except yaml.YAMLError as error:
        raise BadReport(f"the report is no YAML of Puppet's: {error}") from None
    except RecursionError:
        raise BadReport("the report is nested without end") from None


def verdict(report: Report) -> Verdict:
    """Judge a run as the contract has it: by status, catalog and completion together.

    No log line makes it a failure, since Facter writes errors into good reports; and a good status
    proves nothing while an old catalog was applied.
    """
    if report.cached_catalog_status not in ("", "not_used"):
        why = _compile_errors(report) or "Puppet does not say why"
        return Verdict(False, f"an old catalog was applied ({report.cached_catalog_status}): {why}")
    if not report.cached_catalog_status and (errors := _compile_errors(report)):
        return Verdict(False, f"an old catalog may have been applied: {errors}")
    if report.status not in ("changed", "unchanged"):
        words = "; ".join(map(str, report.failures)) or _errors(report) or "no resource is named"
        return Verdict(False, f"the run {report.status}: {words}"[:_MOST_WORDS])
    if not report.transaction_completed:
        return Verdict(False, "the run was broken off before its end")
    if report.noop:
        return Verdict(False, "the run only looked (noop) and changed nothing")
    return Verdict(True, f"{report.status}, configuration {report.configuration_version or '?'}")


def _compile_errors(report: Report) -> str:
    found = [
        one.message
        for one in report.logs
        if (one.level == "err" and one.source == "Puppet") or _OLD_CATALOG.search(one.message)
    ]
    return "; ".join(dict.fromkeys(found))[:_MOST_WORDS]


def _errors(report: Report) -> str:
    found = [one.message for one in report.logs if one.level == "err" and one.source != "Facter"]
    return "; ".join(dict.fromkeys(found))[:_MOST_WORDS]


class _Loader(yaml.SafeLoader):
    """YAML's plain types, and the one tag that Puppet puts at a report's root."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """No aliases: a report has none, and nested ones grow without bound."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Mapping[Any, Any]:
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(_ROOT_TAG, _mapping)


def _check_size(body: bytes) -> None:
    if len(body) > _MOST_BYTES:
        raise BadReport(f"the report has {len(body)} bytes; {_MOST_BYTES} are read at most")


def _json(body: bytes) -> dict[str, Any]:
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadReport(f"the report is no JSON: {error}") from None
    if not isinstance(sent, dict):
        raise BadReport("the report is no object of JSON")
    return sent


def _report(sent: object) -> Report:
    if not isinstance(sent, Mapping):
        raise BadReport("the report has no keys")
    resources = sent.get("resource_statuses") or {}
    try:
        return Report.model_validate(
            {
                **sent,
                "host": str(sent.get("host") or "").lower(),
                "configuration_version": str(sent.get("configuration_version") or ""),
                "logs": sent.get("logs") or (),
                "failures": _failures(resources, sent.get("logs") or ()),
            }
        )
    except ValidationError as error:
        raise BadReport(_fault(error)) from None
    except (AttributeError, TypeError) as error:
        raise BadReport(f"the report has another shape than Puppet's: {error}") from None


def _failures(resources: Mapping[str, Any], logs: Sequence[Mapping[str, Any]]) -> list[Failure]:
    found = []
    for name, raw in resources.items():
        one = _Resource.model_validate(raw)
        if not (one.failed or one.failed_to_restart):
            continue
        words = [event.message for event in one.events if event.status == "failure"]
        # A resource that failed before it had an event says so in the log only.
        words = words or [
            str(line.get("message"))
            for line in logs
            if line.get("level") == "err" and name in str(line.get("source"))
        ]
        place = f"{one.file}:{one.line}" if one.file else ""
        said = "; ".join(filter(None, words)) or "failed"
        found.append(Failure(resource=name, place=place, words=said))
    return found


def _from_foreman(sent: object) -> Report:
    if not isinstance(sent, Mapping):
        raise BadReport("config_report is no object")
    counts = sent.get("status")
    logs = [
        {
            "level": log.get("level", ""),
            "source": (log.get("sources") or {}).get("source", ""),
            "message": (log.get("messages") or {}).get("message", ""),
        }
        for entry in sent.get("logs") or ()
        if isinstance(entry, Mapping) and isinstance(log := entry.get("log"), Mapping)
    ]
    if not isinstance(counts, Mapping):
        raise BadReport("config_report has no status")
    failed = any(counts.get(key) for key in ("failed", "failed_restarts"))
    status = "failed" if failed else "changed" if counts.get("applied") else "unchanged"
    try:
        return Report.model_validate(
            {
                "host": str(sent.get("host") or "").lower(),
                "time": _moment(sent.get("reported_at")),
                "status": status,
                "logs": logs,
            }
        )
    except ValidationError as error:
        raise BadReport(_fault(error)) from None


def _moment(value: object) -> object:
    # Ruby's spelling, which no ISO reader takes: 2026-11-22 13:48:57 UTC.
    if isinstance(value, str) and value.endswith(" UTC"):
        return value.removesuffix(" UTC").replace(" ", "T", 1) + "Z"
    return value


def _fault(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    return f"the report's {'.'.join(map(str, first['loc']))}: {first['msg']}"
