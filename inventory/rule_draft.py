"""A discovery rule as somebody writes it, in a site file or by hand, before it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from inventory import windows
from inventory.errors import BadRule
from inventory.models import ProvisionWhen

__all__ = ["RuleDraft", "read_draft"]


def _window(text: str) -> str:
    windows.parse(text)
    return text


def _zone(text: str) -> str:
    windows.zone(text)
    return text


class RuleDraft(BaseModel):
    """Which discovered hosts are to become what, and when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^\S(.{0,61}\S)?$")]
    priority: Annotated[int, Field(ge=-(2**31), lt=2**31)] = 100
    """Lower is weighed first."""
    condition: str
    """Jinja2 expression, such as ``memory >= 60 GiB and cpus >= 16``."""
    host_group: Annotated[str, Field(min_length=1)]
    host_name: str
    """Jinja2 template of the short name, such as ``web{{ number }}``."""
    host_limit: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """At most so many hosts; 0: no limit."""
    enabled: bool = True
    """Whether it is weighed at all."""
    provision: ProvisionWhen = ProvisionWhen.AT_ONCE
    """Whether its hosts are provisioned at once, in its windows, or when somebody asks."""
    windows: tuple[Annotated[str, AfterValidator(_window)], ...] = ()
    """For ``in_window``: such as ``mon-fri 22:00-05:00`` and ``sat,sun 00:00-24:00``."""
    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """In which the windows are, such as ``Europe/Berlin``."""

    @model_validator(mode="after")
    def _windows_are_for_something(self) -> Self:
        if self.provision is ProvisionWhen.IN_WINDOW and not self.windows:
            raise ValueError('provision = "in_window" needs windows, such as "mon-fri 22:00-05:00"')
        if self.provision is not ProvisionWhen.IN_WINDOW and self.windows:
            raise ValueError('windows are for provision = "in_window"')
        return self


def read_draft(values: Mapping[str, Any]) -> RuleDraft:
    """Read what somebody has written.

    Raises:
        BadRule: a field is missing, unknown or not what it should be; all problems.
    """
    try:
        return RuleDraft.model_validate(dict(values))
    except ValidationError as error:
        problems = [
            (
                ".".join(str(part) for part in one["loc"]) or "provision",
                one["msg"].removeprefix("Value error, "),
            )
            for one in error.errors(include_url=False)
        ]
        raise BadRule(str(values.get("name", "")), problems) from error
