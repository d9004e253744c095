"""From what the inventory knows of a build to what its kickstart says."""

from __future__ import annotations

from urllib.parse import urlsplit

from inventory.builds import certificate_token, registration_token
from inventory.context import BuildContext
from templates.models import KickstartInput

__all__ = ["kickstart_input"]

_PUPPET_PORT = 8140
_HTTPS_PORT = 443


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
            "puppet": _puppet(context, token),
            "rhsm": _rhsm(context, token),
        }
    )


def _puppet(context: BuildContext, token: str) -> dict[str, object] | None:
    if context.puppet is None:
        return None
    place = urlsplit(context.puppet.url)
    return {
        "server": place.hostname,
        "port": place.port or _PUPPET_PORT,
        "certname": context.host.name,
        "environment": context.group.environment,
        "token": certificate_token(token),
    }


def _rhsm(context: BuildContext, token: str) -> dict[str, object] | None:
    candlepin, group = context.candlepin, context.group
    if candlepin is None:
        return None
    place = urlsplit(candlepin.front)
    return {
        "hostname": place.hostname,
        "port": place.port or _HTTPS_PORT,
        "prefix": place.path,
        "ca": candlepin.front_ca,
        "content_url": candlepin.content_url,
        "owner": group.owner,
        "keys": f"{group.activation_key},{registration_token(token)}",
    }
