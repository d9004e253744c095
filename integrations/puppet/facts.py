"""Facts of Puppet's agents, as the server keeps them and as Foreman's script sends them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from integrations.nesting import deeper_than
from integrations.puppet.names import is_certname

__all__ = ["BadFacts", "PuppetFacts", "read_facts"]

_DEEPEST = 32
"""Levels of nesting; real facts have six."""


class BadFacts(ValueError):
    """What was sent holds no facts of an agent; the text says what is wrong."""


class PuppetFacts(BaseModel):
    """The facts of one host."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    """The certname; the facts' own ``fqdn`` proves nothing."""
    values: Mapping[str, Any]
    timestamp: datetime | None = None
    """When the agent collected them, by its own clock; None where that is not said readably."""


def read_facts(body: bytes) -> PuppetFacts:
    """Read ``{name, values, timestamp}``, or Foreman's ``{name, certname, facts}``.

    Raises:
        BadFacts: it is neither.
    """
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadFacts(f"the facts are no JSON: {error}") from None
    if not isinstance(sent, dict):
        raise BadFacts("the facts are no object of JSON")
    values = sent.get("values", sent.get("facts"))
    if not isinstance(values, dict):
        raise BadFacts("the facts have neither values nor facts")
    if deeper_than(values, _DEEPEST):
        raise BadFacts(f"the facts are nested deeper than {_DEEPEST} levels")
    stamp = sent.get("timestamp", values.get("_timestamp"))
    name = str(sent.get("certname") or sent.get("name") or "").lower()
    if not is_certname(name):
        raise BadFacts(f"the facts are of no node: {name[:253]!r} is no certname")
    return PuppetFacts(name=name, values=values, timestamp=_moment(stamp))


def _moment(stamp: object) -> datetime | None:
    # Of many Rubies, and no reason to refuse the facts: Puppet's files have ISO, Foreman's script
    # passes on Time#to_s, which was spelt otherwise in old ones.
    if not isinstance(stamp, str):
        return None
    for read in _SPELLINGS:
        try:
            moment = read(stamp)
        except ValueError:
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


_SPELLINGS: tuple[Callable[[str], datetime], ...] = (
    datetime.fromisoformat,
    lambda text: datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z"),
    lambda text: datetime.strptime(text, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC),
    lambda text: datetime.strptime(text, "%a %b %d %H:%M:%S %z %Y"),
)
