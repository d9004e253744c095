"""What Candlepin has, as far as it is read here, under the names of its own documents."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import AliasPath, BaseModel, ConfigDict, Field

__all__ = [
    "ActivationKey",
    "Consumer",
    "Content",
    "Deleted",
    "Environment",
    "Job",
    "JobState",
    "NewConsumer",
    "Owner",
    "Status",
]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Status(_Record):
    """How a Candlepin is."""

    mode: str
    """``NORMAL``, or ``SUSPEND`` while its message broker is away."""
    mode_reason: str | None = Field(default=None, alias="modeReason")


class Owner(_Record):
    """An organization."""

    key: str
    content_access_mode: str | None = Field(default=None, alias="contentAccessMode")
    """Current clients unregister again unless it is ``org_environment`` (contract, 2.4)."""


class Environment(_Record):
    """A set of content within an organization; its id is chosen by whoever makes it."""

    id: str
    name: str
    owner: str = Field(validation_alias=AliasPath("owner", "key"))


class ActivationKey(_Record):
    """By which hosts of an organization register without a user."""

    id: str
    name: str
    owner: str = Field(validation_alias=AliasPath("owner", "key"))


class _Reference(_Record):
    id: str


class Consumer(_Record):
    """A registered host."""

    uuid: str
    name: str
    owner: str = Field(validation_alias=AliasPath("owner", "key"))
    environments: tuple[_Reference, ...] | None = ()
    document: bytes = Field(default=b"", exclude=True, repr=False)
    """The whole answer as it came. It holds the identity's private key: never log or keep it."""

    @property
    def environment_ids(self) -> tuple[str, ...]:
        """Its environments, by priority."""
        return tuple(one.id for one in self.environments or ())


class Deleted(_Record):
    """A consumer that there was; its UUID can be used no more."""

    uuid: str


class NewConsumer(_Record):
    """A host that registers."""

    uuid: str
    """Chosen by us, so that a repeated call makes no second one."""
    name: str
    facts: Mapping[str, str] = {}
    more: Mapping[str, Any] = {}
    """Further keys of Candlepin's ConsumerDTO, as the host has sent them."""

    def body(self) -> dict[str, Any]:
        """As Candlepin takes it."""
        return {
            **self.more,
            "uuid": self.uuid,
            "name": self.name,
            "type": {"label": "system"},
            "facts": dict(self.facts),
        }


class Content(_Record):
    """A repository that hosts may be given."""

    id: str
    label: str
    name: str
    content_url: str | None = Field(default=None, alias="contentUrl")
    type: str = "yum"
    vendor: str = "Custom"


class JobState(StrEnum):
    """How far an asynchronous job is."""

    CREATED = "CREATED"
    WAITING = "WAITING"
    SCHEDULED = "SCHEDULED"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    FAILED_WITH_RETRY = "FAILED_WITH_RETRY"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    ABORTED = "ABORTED"

    @property
    def final(self) -> bool:
        """Whether it stays so."""
        return self in (self.FINISHED, self.FAILED, self.CANCELED, self.ABORTED)


class Job(_Record):
    """An asynchronous job."""

    id: str
    name: str | None = None
    state: JobState
    status_path: str = Field(alias="statusPath")
    """Where it is looked at, below Candlepin's URL."""
    result: Any = Field(default=None, alias="resultData")
