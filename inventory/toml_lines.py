"""In which line of a TOML text a value stands: ``tomllib`` does not say."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

__all__ = ["Place", "Problem", "lines_of"]

Place = tuple[str | int, ...]
"""The way to a value: keys, and indices into arrays of tables, as in pydantic's ``loc``."""
Problem = tuple[Place, str]
"""Where something is wrong in a file, and what."""


def lines_of(text: str) -> dict[Place, int]:
    """The line, from 1, of each table and key of a valid TOML text."""
    lines: dict[Place, int] = {}
    seen: dict[Place, int] = {}
    table: Place = ()
    for number, statement in _statements(text):
        parsed = tomllib.loads(statement)
        header = statement.lstrip().startswith("[")
        place = () if header else table
        node: Any = parsed
        while isinstance(node, dict) and node:
            key, node = next(iter(node.items()))
            place = (*place, key)
            if not header:
                lines.setdefault(place, number)
            elif isinstance(node, list):
                seen[place] = seen.get(place, -1) + 1
                place, node = (*place, seen[place]), node[0]
            elif place in seen:
                # [table.part] below [[table]] is part of its newest element.
                place = (*place, seen[place])
        if header:
            table = place
            lines[place] = number
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each statement with its first line: as many lines as it takes until they are TOML."""
    pending, first = "", 0
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if not pending and line.split("#")[0].strip() == "":
            continue
        first = first if pending else number
        pending += line
        try:
            tomllib.loads(pending)
        except tomllib.TOMLDecodeError:
            continue
        yield first, pending
        pending = ""
