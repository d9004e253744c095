"""In whose name a command acts: whoever can reach the database may do everything, and is named."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inventory.rights import Actor

__all__ = ["at_the_command_line"]


def at_the_command_line() -> Actor:
    """The system's user who runs the command."""
    from inventory.models import Door, Role
    from inventory.rights import Actor

    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        # In a container nobody need have a name.
        name = f"uid {os.getuid()}"
    return Actor(name, Door.CLI, Role.ADMIN)
