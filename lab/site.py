"""What both sites have in common: hosts to switch on, and how Rackrise runs beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deployments.up import Place

__all__ = ["PULP_CREDENTIALS", "PUPPET_CREDENTIALS", "LabHost", "LabSite", "install_tree"]

PULP_CREDENTIALS = "lab-pulp"
"""Name of the block with Pulp's user and password, which whoever uses the site has to make."""

PUPPET_CREDENTIALS = "lab-puppet"
"""Likewise the block with our certificate for Puppet's CA."""


class LabHost(Protocol):
    """A blank machine that boots the network, real or simulated."""

    @property
    def mac(self) -> str:
        """Of its boot interface, lower case with colons."""

    async def power_on(self) -> None:
        """Switch it on and return; already on is fine."""

    async def last_words(self) -> str:
        """What it showed last, for whoever has to find out why it stopped."""


@dataclass(frozen=True)
class LabSite:
    """A site that runs: its servers answer, its hosts are off, Rackrise is not there yet."""

    hosts: Sequence[LabHost]
    place: Callable[[Path], Place]
    """How ``deployments.up.up`` runs here, given the directory for its data."""


def install_tree(plain_url: str, pulp_url: str | None) -> str:
    """The site file's part on the tree ``labos`` of the system ``LabOS 1``.

    Args:
        plain_url: where a plain server has it.
        pulp_url: of the Pulp that gets it from there and serves it; None: there is no Pulp.
    """
    head = '[[install_tree]]\nname = "labos"\noperating_system = "LabOS 1"\n'
    if pulp_url is None:
        return f'{head}url = "{plain_url}"\n'
    return f"""\
[[pulp]]
name = "lab"
url = "{pulp_url}"
credentials = "{PULP_CREDENTIALS}"

{head}\
pulp = "lab"
base_path = "labos/1"
remote = "{plain_url}/"
"""
