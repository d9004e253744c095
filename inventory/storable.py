"""What the outside sends, made fit for PostgreSQL, which refuses some of what JSON allows."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["storable_text", "storable_values"]

# Firmware pads serial numbers with NUL, and JSON may carry half of a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable_text(text: str) -> str:
    """The text with U+FFFD in the place of what cannot be stored."""
    return _UNSTORABLE.sub("\ufffd", text)


def storable_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object that PostgreSQL takes; a number that JSON does not know becomes its name."""
    return {storable_text(str(name)): _storable(value) for name, value in values.items()}


def _storable(value: Any) -> Any:
    match value:
        case str():
            return storable_text(value)
        case float() if not math.isfinite(value):
            return str(value)
        case Mapping():
            return storable_values(value)
        case list() | tuple():
            return [_storable(one) for one in value]
        case _:
            return value
