"""Names of Puppet's nodes, wherever they come in: what is none is not looked up anywhere."""

from __future__ import annotations

import re

__all__ = ["CERTNAME", "is_certname"]

CERTNAME = r"[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?"
"""A name that the CA takes: lower case, at most 253 characters, fit to stand in a path."""
_CERTNAME = re.compile(CERTNAME)


def is_certname(name: str) -> bool:
    """Whether a node may be called so."""
    return _CERTNAME.fullmatch(name) is not None
