"""What Pulp keeps, as far as we look at it; hrefs are opaque."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "LABEL",
    "Distribution",
    "Policy",
    "Publication",
    "Remote",
    "Repository",
    "Synced",
    "Version",
]

LABEL = "rackrise"
"""Label of what we made in Pulp: ``managed`` or ``pin``. What lacks it is somebody else's."""

Policy = Literal["immediate", "on_demand", "streamed"]


class _Resource(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True)

    href: str = Field(validation_alias="pulp_href")


class _Named(_Resource):
    name: str
    labels: dict[str, str] = Field({}, validation_alias="pulp_labels")


class Remote(_Named):
    """Where packages and trees come from."""

    url: str
    policy: Policy


class Repository(_Named):
    """A growing row of versions."""

    latest_version: str = Field(validation_alias="latest_version_href")


class Version(_Resource):
    """One immutable content of a repository."""

    number: int
    repository: str


class Synced(BaseModel):
    """What a sync ended with."""

    model_config = ConfigDict(frozen=True)

    version: Version
    changed: bool
    """False: upstream is as it was, and no version was made."""


class Publication(_Resource):
    """One version, made ready to be served; it never changes."""

    version: str = Field(validation_alias="repository_version")


class Distribution(_Named):
    """A publication under a path; it may move on to another publication at any time."""

    base_path: str
    base_url: str
    """With a slash at the end."""
    publication: str | None = None
    repository: str | None = None
    """Serves this repository's newest publication."""
    repository_version: str | None = None
    created: datetime = Field(validation_alias="pulp_created")
