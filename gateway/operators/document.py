"""What the API's OpenAPI document says beside what FastAPI finds out: names, refusals, rights.

Clients are generated from it: an operation's name is the function that they call.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from inventory.models import Role

__all__ = ["REFUSALS", "Documented", "Refused", "operation_id"]


class Refused(BaseModel):
    """Why something was not done."""

    message: Annotated[str, Field(description="One sentence for people.")]


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refused, "description": why}
    for status, why in (
        (401, "There is no token, or it is not right."),
        (403, "Your role or your limits do not allow it."),
        (404, "There is no such thing, or it is not yours to see."),
        (409, "It does not go with what is there now."),
        (422, "What was sent cannot be understood."),
    )
}
"""What any path may answer."""
_ROLES = {
    Role.OPERATOR: (
        "provision_host",
        "rebuild_host",
        "cancel_host",
        "decommission_host",
        "retry_hosts",
        "add_rule",
        "try_rule",
        "change_rule",
        "remove_rule",
        "start_wave",
        "pause_wave",
        "go_on_with_wave",
        "cancel_wave",
    ),
    Role.ADMIN: (
        "list_people",
        "add_person",
        "change_person",
        "list_webhooks",
        "add_webhook",
        "list_deliveries",
        "redeliver",
        "change_webhook",
        "remove_webhook",
    ),
}
"""Said here, required in ``inventory``; a test compares. What is not here takes a viewer."""


def operation_id(route: APIRoute) -> str:
    """The name of an operation: of the function that carries it out."""
    return route.name


class Documented(FastAPI):
    """An application whose document says which role each operation takes."""

    def openapi(self) -> dict[str, Any]:
        """The document; made once."""
        if self.openapi_schema is None:
            for item in super().openapi()["paths"].values():
                for operation in item.values():
                    _say_role(operation)
        return super().openapi()


def _say_role(operation: dict[str, Any]) -> None:
    name = operation["operationId"]
    role = next((role for role, names in _ROLES.items() if name in names), Role.VIEWER)
    operation["x-role"] = role.value
    words = f"Takes the role {role}" + (", limited to nothing." if role is Role.ADMIN else ".")
    told = operation.get("description", "")
    operation["description"] = f"{told}\n\n{words}".strip()
