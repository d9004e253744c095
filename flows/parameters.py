"""What people may give to flows: Prefect makes forms of it, and refuses what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

__all__ = [
    "Days",
    "HostGroupName",
    "HostName",
    "HostNames",
    "OneHostName",
    "PlannedHosts",
    "SomeNames",
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
