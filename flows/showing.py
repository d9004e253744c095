"""What a run shows of its hosts in Prefect's UI: a link to a lone one's page, a table of many.

Every call costs, so a lone host's run makes one at most. None is worth holding a host for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from urllib.parse import quote
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import acreate_link_artifact, acreate_table_artifact
from prefect.exceptions import PrefectHTTPStatusError

from tasks.company import Company, advice
from tasks.departures import Departure
from tasks.means import means
from tasks.naming import artifact_key

__all__ = ["Settled", "show_outcomes", "show_page"]


@dataclass(frozen=True)
class Settled:
    """How a host ended in a run that failed."""

    outcome: str
    step: str
    error: Exception


@dataclass(frozen=True)
class _Row:
    host: str
    outcome: str
    step: str = ""
    error: str = ""
    advice: str = ""


async def show_page(party: Company) -> None:
    """Link to a lone host's page in Rackrise's console; nothing where there is no console."""
    console = means().console_url
    if not console or len(party.travellers) != 1:
        return
    host = party.travellers[0].host
    with _not_needed("the link to the host's page"):
        await acreate_link_artifact(
            link=f"{console}/hosts/{quote(host)}",
            link_text=f"{host} in Rackrise's console",
            key=artifact_key("host", host),
            description=f"All arrows of {host}, with their evidence",
        )


async def show_outcomes(
    party: Company, left: Sequence[Departure], settled: Mapping[UUID, Settled]
) -> None:
    """Show what became of each of several hosts in this run, those that failed first."""
    if len(party.travellers) < 2:
        return
    rows = sorted(_rows(party, left, settled), key=lambda one: (not one.error, one.host))
    failed = sum(bool(one.error) for one in rows)
    with _not_needed("the table of outcomes"):
        await acreate_table_artifact(
            key=f"{party.phase.value}-outcomes",
            table=[asdict(one) for one in rows],
            description=f"{len(rows) - failed} of {len(rows)} hosts are through this run of "
            f"{party.phase.value}",
        )


def _rows(
    party: Company, left: Sequence[Departure], settled: Mapping[UUID, Settled]
) -> Iterator[_Row]:
    gone = {one.host: one for one in left}
    for one in party.travellers:
        if one.build in settled:
            end = settled[one.build]
            yield _Row(one.host, end.outcome, end.step, str(end.error), advice(end.error))
        elif one.host in gone:
            away = gone[one.host]
            yield _Row(
                one.host,
                "goes on in another run",
                away.step,
                str(away.error),
                advice(away.error),
            )
        else:
            yield _Row(one.host, "done")


@contextmanager
def _not_needed(what: str) -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        get_run_logger().warning("%s is not shown: Prefect's API says: %s", what, error)
