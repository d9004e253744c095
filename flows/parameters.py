"""What people may give to flows: Prefect makes forms of it, and refuses what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

__all__ = [
    "Canary",
    "Days",
    "Growth",
    "HostGroupName",
    "HostLimit",
    "HostName",
    "HostNames",
    "OneHostName",
    "PlannedHosts",
    "Share",
    "SomeNames",
    "WaveGroup",
    "WaveName",
]

# Short, because it is part of the sentence by which Prefect refuses a name.
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=253)]
"""Full name, or that of a machine which has none yet."""

HostNames = Annotated[list[HostName], Field(min_length=1, json_schema_extra={"uniqueItems": True})]
"""One at least, none twice."""

PlannedHosts = Annotated[Sequence[HostName], Field(json_schema_extra={"uniqueItems": True})]
"""May be none."""

OneHostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]*$", max_length=253)]
"""May be empty."""

HostGroupName = Annotated[str, Field(pattern=r"^(\S(.*\S)?)?$", max_length=63)]
"""May be empty. No choice among those that there are: deployments are registered when a worker
starts, and groups come and go with every ``rackrise site apply``. A stale choice would refuse a
group that exists. One that does not is refused by the run, with a sentence."""

SomeNames = Annotated[
    Sequence[Annotated[str, Field(pattern=r"^\S(.*\S)?$", max_length=253)]],
    Field(json_schema_extra={"uniqueItems": True}),
]
"""May be none."""

Days = Annotated[int, Field(ge=1, le=36500)]

WaveName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)]
"""Name of a wave."""

WaveGroup = Annotated[str, Field(pattern=r"^\S(.*\S)?$", max_length=63)]
"""Name of a host group, not left empty."""

Canary = Annotated[int, Field(ge=1, lt=2**31)]
"""Hosts of a first batch."""

Growth = Annotated[float, Field(ge=1)]
"""How many times as large as the one before a batch is."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole."""

HostLimit = Annotated[int, Field(ge=0, lt=2**31)]
"""At most so many hosts; 0 is no limit."""
