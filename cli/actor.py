"""In whose name a command acts: whoever can reach the database may do everything, and is named."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inventory.rights import Actor

__all__ = ["at_the_command_line"]


def at_the_command_line() -> Actor:
    """The system's user who runs the command."""
    from inventory.models import Door, Role
    from inventory.rights import Actor

    return Actor(getpass.getuser(), Door.CLI, Role.ADMIN)
