"""Markdown as the generated pages need it: tables, headings, docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence

__all__ = ["cell", "code", "fenced", "prose", "table"]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown already, see ``cell`` and ``code``."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """Text from a docstring for one cell of a table."""
    return " ".join(prose(text).split()).replace("|", "\\|")


def code(text: str) -> str:
    """Something that is typed as it stands, also where it holds a bar and stands in a table."""
    return f"`{text}`".replace("|", "\\|") if text else ""


def fenced(text: str, language: str = "text") -> str:
    """A block that is shown as it stands."""
    return f"```{language}\n{text.rstrip()}\n```\n"


def prose(docstring: str | None) -> str:
    """What a docstring says to people, as Markdown: without its sections for programmers."""
    text = inspect.cleandoc(docstring or "")
    text = re.split(r"^(?:Args|Attributes|Example|Raises|Returns):$", text, flags=re.MULTILINE)[0]
    text = re.sub(r"``(.+?)``", r"`\1`", text)
    # Tags of Foreman's configuration and placeholders are no HTML.
    return text.replace("<", "&lt;").strip()
