"""What host groups of a site file get from their parents, before the file is checked."""

from __future__ import annotations

from typing import Any

from inventory.toml_lines import Problem

__all__ = ["inherited"]

_MERGED = ("classes", "parameters")
"""Tables of which a child may change single keys; of others it takes all or nothing."""


def inherited(data: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Give each ``[[host_group]]`` what it does not say itself, from its ``parent``.

    Args:
        data: a site file as TOML reads it, which may be wrong in any way.

    Returns:
        The same without the key ``parent``, and what is wrong about parents.
    """
    groups = data.get("host_group")
    if not isinstance(groups, list):
        return data, []
    tables = [one for one in groups if isinstance(one, dict)]
    by_name = {str(one["name"]): one for one in tables if "name" in one}
    problems: list[Problem] = []
    complete: list[Any] = []
    for number, group in enumerate(groups):
        if not isinstance(group, dict) or "parent" not in group:
            complete.append(group)
            continue
        line, wrong = _ancestors(group, by_name)
        if wrong:
            problems.append((("host_group", number, "parent"), wrong))
        merged: dict[str, Any] = {}
        for one in reversed(line):
            merged = _merged(merged, one)
        complete.append({key: value for key, value in merged.items() if key != "parent"})
    return {**data, "host_group": complete}, problems


def _ancestors(
    group: dict[str, Any], by_name: dict[str, dict[str, Any]]
) -> tuple[list[dict[str, Any]], str]:
    """The group, its parent, and so on; and what is wrong with that line."""
    line, names = [group], [str(group.get("name"))]
    while "parent" in line[-1]:
        parent = str(line[-1]["parent"])
        if parent not in by_name:
            known = ", ".join(by_name) or "none"
            return line, f"there is no host_group {parent!r}; there are: {known}"
        if parent in names:
            return line, f"is its own ancestor: {' → '.join([*names, parent])}"
        line.append(by_name[parent])
        names.append(parent)
    return line, ""


def _merged(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    merged = {key: value for key, value in parent.items() if key != "name"} | child
    for key in _MERGED:
        ours, theirs = parent.get(key), child.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            merged[key] = {**ours, **theirs}
            for name in ours.keys() & theirs.keys():
                if isinstance(ours[name], dict) and isinstance(theirs[name], dict):
                    merged[key][name] = {**ours[name], **theirs[name]}
    return merged
