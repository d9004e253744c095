"""What hosts may be called, so that DNS, DHCP, boot files and certificates can all say it."""

from __future__ import annotations

import re

from inventory.errors import BadName

__all__ = ["LABEL", "require_full_name"]

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""One part of a name (RFC 1123), in lower case."""
_LONGEST = 253


def require_full_name(text: str) -> str:
    """A full name in lower case, without the dot at its end.

    Raises:
        BadName: it is none (RFC 1123).
    """
    name = text.strip().lower().removesuffix(".")
    labels = name.split(".")
    # Programs that read a name whose end is a number take it for an address.
    wrong = len(labels) < 2 or len(name) > _LONGEST or labels[-1].isdigit()
    if wrong or not all(map(LABEL.fullmatch, labels)):
        raise BadName(text)
    return name
