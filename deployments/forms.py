"""The form of a deployment in Prefect's UI, by which its server checks what it is given."""

from __future__ import annotations

from typing import Any

from prefect import Flow
from prefect.utilities.callables import parameter_schema

__all__ = ["form"]

_OURS = {
    "company": {"type": ["string", "null"], "pattern": "^[0-9a-f-]{36}$"},
    "request": {"type": ["integer", "null"]},
}
"""Given by the dispatcher alone. Taken, but not shown: no person has anything to enter there."""


def form(flow: Flow[Any, Any]) -> dict[str, Any]:
    """The JSON schema of a flow's parameters.

    Prefect takes descriptions from the docstring and bounds from the annotations, and overwrites
    titles with the parameters' names; it does not mind what a flow does not know until it runs.
    """
    schema = parameter_schema(flow).model_dump()
    fields: dict[str, Any] = schema["properties"]
    schema["additionalProperties"] = False
    unshown = {f"^{one}$": kind for one, kind in _OURS.items() if fields.pop(one, None) is not None}
    if unshown:
        schema["patternProperties"] = unshown
    for name, one in fields.items():
        # A form shows the docstring's line breaks, which mean nothing there.
        one["description"] = " ".join(one["description"].split())
        one["title"] = name.replace("_", " ").capitalize()
    return schema
