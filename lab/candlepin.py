"""A Candlepin on a site of the lab, and the gateway's front before it.

It is the double on both sites: no real Candlepin is to be had as a package.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from deployments.up import GatewayRhsm
from lab.authority import Authority, Pair

__all__ = [
    "CREDENTIALS",
    "ENVIRONMENT",
    "GROUP_KEYS",
    "OAUTH_KEY",
    "OAUTH_SECRET",
    "OWNER",
    "LabCandlepin",
    "lab_candlepin",
]

OWNER, KEY, ENVIRONMENT = "LAB", "lab", "lab-prod"
OAUTH_KEY, OAUTH_SECRET = "rackrise", "lab-secret"
"""As the double knows them."""
CREDENTIALS = "lab-candlepin"
"""Name of the block with key and secret, which whoever uses the site has to make."""
GROUP_KEYS = f"""\
candlepin = "lab"
owner = "{OWNER}"
activation_key = "{KEY}"
content_environments = ["{ENVIRONMENT}"]
"""
"""What makes a host group's hosts register."""


@dataclass(frozen=True)
class LabCandlepin:
    """Where it is, and the files by which everybody believes everybody."""

    url: str
    ca: Path
    """Of its own certificate."""
    identities: Path
    """CA of the identities that it gives to hosts."""
    front: Pair
    """The front's certificate."""
    front_ca: Path
    front_url: str
    port: int
    """Where the front listens."""

    @property
    def gateway(self) -> GatewayRhsm:
        """How the gateway has its front."""
        return GatewayRhsm(
            port=self.port,
            certificate=self.front.certificate,
            key=self.front.key,
            ca=self.identities,
            candlepin_url=self.url,
            candlepin_ca=self.ca,
            oauth_key=OAUTH_KEY,
            oauth_secret=OAUTH_SECRET,
        )

    def site_table(self) -> str:
        """Its part of the site file."""
        return f"""
[[candlepin]]
name = "lab"
url = "{self.url}"
ca = \"\"\"
{self.ca.read_text()}\"\"\"
credentials = "{CREDENTIALS}"
front = "{self.front_url}"
front_ca = \"\"\"
{self.front_ca.read_text()}\"\"\"
"""


def lab_candlepin(
    directory: Path, address: IPv4Address, port: int, *, url: str, ca: Path, identities: Path
) -> LabCandlepin:
    """Make the front's certificate for a Candlepin that runs.

    Args:
        directory: gets the files.
        address: where the gateway will listen.
        port: likewise.
        url: of Candlepin.
        ca: of its own certificate.
        identities: CA of hosts' identities.
    """
    authority = Authority(directory, "front-ca", address)
    return LabCandlepin(
        url=url,
        ca=ca,
        identities=identities,
        front=authority.sign("rackrise-front"),
        front_ca=authority.file,
        front_url=f"https://{address}:{port}/rhsm",
        port=port,
    )
