"""From what the inventory knows of a build to what its kickstart says."""

from __future__ import annotations

from inventory.context import BuildContext
from templates.models import KickstartInput

__all__ = ["kickstart_input"]


def kickstart_input(context: BuildContext, token: str) -> KickstartInput:
    """What the kickstart of a build says.

    Raises:
        pydantic.ValidationError: a value of the host group does not belong in a kickstart.
    """
    return KickstartInput.model_validate(
        {
            "fqdn": context.host.name,
            "mac": context.interface.mac,
            "gateway_url": context.site.gateway_url.rstrip("/"),
            "token": token,
            "tree_url": context.tree_url,
            "root_password_hash": context.group.root_password_hash,
            "packages": context.group.packages,
            "kernel_options": context.group.kernel_options,
            "parameters": context.group.parameters,
        }
    )
