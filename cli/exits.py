"""What the exit codes of ``rackrise`` mean, for scripts that call it."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Exit"]


class Exit(IntEnum):
    """How a command has ended; README shows the same table."""

    DONE = 0
    """Done, or everything is well."""
    FAULT = 1
    """It has looked and found something wrong; or a fault of Rackrise itself."""
    REFUSED = 2
    """Wrong usage, or what was asked for cannot be done; nothing was changed."""
    UNREACHABLE = 3
    """Something that the command needs is not reachable: the inventory, Prefect, a worker."""
