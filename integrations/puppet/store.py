"""What a Puppet server has kept by itself: the second source of what is told only once.

A report is delivered at most once. The server's processor ``store`` and its facts cache are
directories; whoever can read them (on the Puppet server, or where they are mounted) can ask again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from integrations.errors import Unavailable
from integrations.puppet.facts import BadFacts, PuppetFacts, read_facts

__all__ = ["ReportStore", "Stored"]

_log = logging.getLogger(__name__)
_MOST_BYTES = 4 << 20


@dataclass(frozen=True)
class Stored:
    """One report as the server keeps it."""

    certname: str
    body: bytes
    """YAML, with the one tag of its root."""
    written: datetime
    """When the server kept it, by the clock of its file system."""


@dataclass(frozen=True)
class ReportStore:
    """Reads the directory ``vardir`` of a Puppet server (contract, sections 4 and 5)."""

    vardir: Path

    async def reports(self, certname: str, since: datetime) -> list[Stored]:
        """A host's reports that were kept since a moment, the newest first.

        Raises:
            Unavailable: the directory cannot be read.
        """
        return await asyncio.to_thread(self._reports, self.vardir / "reports" / certname, since)

    async def all_reports(self, since: datetime) -> list[Stored]:
        """The reports of all hosts that were kept since a moment, the newest of each first.

        Raises:
            Unavailable: the directory cannot be read.
        """
        return await asyncio.to_thread(self._all, since)

    async def facts(self, certname: str) -> PuppetFacts | None:
        """The facts of a host's latest run; None: there are none that can be read."""
        file = self.vardir / "server_data/facts" / f"{certname}.json"
        body = await asyncio.to_thread(_content, file)
        if body is None:
            return None
        try:
            return read_facts(body)
        except BadFacts as error:
            _log.warning("%s is passed over: %s", file, error)
            return None

    def _all(self, since: datetime) -> list[Stored]:
        try:
            hosts = sorted(one for one in (self.vardir / "reports").iterdir() if one.is_dir())
        except OSError as error:
            raise self._away(error) from error
        return [report for one in hosts for report in self._reports(one, since)]

    def _reports(self, directory: Path, since: datetime) -> list[Stored]:
        if not self.vardir.is_dir():
            raise self._away(FileNotFoundError(f"{self.vardir} is no directory"))
        return list(_kept(directory, since))

    def _away(self, error: OSError) -> Unavailable:
        return Unavailable(
            system="Puppet's report store",
            address=str(self.vardir),
            operation="read reports",
            said=str(error),
        )


def _kept(directory: Path, since: datetime) -> Iterator[Stored]:
    # Named after the minute of the run's start; a long run is written later than that.
    for file in sorted(directory.glob("*.yaml"), reverse=True):
        try:
            written = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        except FileNotFoundError:
            continue  # the server has just tidied up
        if written < since:
            continue
        if (body := _content(file)) is not None:
            yield Stored(directory.name, body, written)


def _content(file: Path) -> bytes | None:
    try:
        if file.stat().st_size > _MOST_BYTES:
            _log.warning("%s is passed over: it has more than %d bytes", file, _MOST_BYTES)
            return None
        return file.read_bytes()
    except FileNotFoundError:
        return None
