"""Facts of Puppet's agents, as the server keeps them and as Foreman's script sends them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

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
    """When the agent collected them, by its own clock."""


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
    try:
        return PuppetFacts(name=name, values=values, timestamp=stamp)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise BadFacts(f"the facts' {first['loc'][0]}: {first['msg']}") from None
