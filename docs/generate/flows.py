"""The page of the deployments: what runs in Prefect, by itself or with which parameters."""

from __future__ import annotations

from typing import Any

from prefect.utilities.callables import parameter_schema

from deployments.catalogue import CATALOGUE
from docs.generate.markdown import cell, code, prose, table

__all__ = ["flows_page"]


def flows_page() -> str:
    """All deployments of the catalogue."""
    parts = [
        "# Flows and deployments\n",
        "Each flow has one deployment of its own name, in the work pool `rackrise`. In Prefect's "
        "UI: *Deployments*, its name, *Run*. Flows of a phase are started by Rackrise's dispatcher "
        "when hosts are ready for them, and may be started by people as well.\n",
    ]
    for entry in CATALOGUE:
        when = f"Runs by itself every {entry.every}." if entry.every else ""
        if entry.phase:
            when = "Carries out a phase of a host's life."
        said = prose(entry.flow.description)
        parts.append(f"## {entry.flow.name}\n\n{said}\n\n{when}\n")
        schema = parameter_schema(entry.flow)
        if schema.properties:
            rows = [
                _row(name, given, name in schema.required)
                for name, given in schema.properties.items()
            ]
            parts.append(table(("parameter", "default", ""), rows))
    return "\n".join(parts)


def _row(name: str, given: dict[str, Any], required: bool) -> tuple[str, str, str]:
    default = given.get("default")
    shown = "" if default in (None, "") else code(str(default).lower())
    return code(name), "required" if required else shown, cell(given.get("description", ""))
