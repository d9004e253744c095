"""The page of the example files, as they stand in the repository."""

from __future__ import annotations

from pathlib import Path

from docs.generate.markdown import fenced

__all__ = ["examples_page"]

EXAMPLES = Path(__file__).parents[2] / "examples"


def examples_page() -> str:
    """Every file below ``examples/``."""
    parts = ["# Example files\n", "As they lie in `examples/`; the tests keep them valid.\n"]
    for file in sorted(EXAMPLES.rglob("*")):
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            language = "toml" if file.suffix == ".toml" else "sh"
            parts.append(f"## {file.relative_to(EXAMPLES)}\n\n{fenced(text, language)}")
    return "\n".join(parts)
