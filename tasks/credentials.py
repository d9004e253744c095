"""Credentials as Prefect blocks: never flow parameters, results, logs or rows of the inventory."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from prefect.blocks.core import Block
from pydantic import SecretStr, ValidationError

from integrations.candlepin import CandlepinSettings, OAuthLogin, UserLogin
from integrations.power.settings import POWER_SETTINGS, PowerSettings
from integrations.pulp import PulpSettings
from integrations.puppet import PuppetSettings
from inventory.models import Bmc, Candlepin, Pulp, Puppet
from tasks.company import Problem

__all__ = [
    "CandlepinCredentials",
    "PowerCredentials",
    "PulpCredentials",
    "PuppetCredentials",
    "candlepin_settings",
    "power_settings",
    "pulp_settings",
    "puppet_settings",
]


Credentials = TypeVar("Credentials", bound=Block)


class PowerCredentials(Block):
    """What opens a BMC or a machine's SSH server.

    Example:
        ```python
        await PowerCredentials(user="admin", password="…").save("rack-7-bmc")
        ```
    """

    _block_type_name = "Rackrise power credentials"
    _block_type_slug = "rackrise-power-credentials"
    _description = "User and secret with which Rackrise switches machines."

    user: str
    """Account on the BMC, or user of the SSH server."""
    password: SecretStr | None = None
    """For Redfish and IPMI."""
    private_key: SecretStr | None = None
    """For SSH: the key itself."""


class PulpCredentials(Block):
    """Who we are in a Pulp; reading needs the role rpm.viewer, synchronising more.

    Example:
        ```python
        await PulpCredentials(user="rackrise", password="…").save("pulp")
        ```
    """

    _block_type_name = "Rackrise Pulp credentials"
    _block_type_slug = "rackrise-pulp-credentials"
    _description = "User and password with which Rackrise speaks to a Pulp."

    user: str
    password: SecretStr


class PuppetCredentials(Block):
    """Our certificate for the CA of a Puppet server, as ``puppetserver ca generate`` makes it.

    Example:
        ```python
        await PuppetCredentials(certificate="…", private_key="…", ca="…").save("puppet")
        ```
    """

    _block_type_name = "Rackrise Puppet credentials"
    _block_type_slug = "rackrise-puppet-credentials"
    _description = "Certificate and key with which Rackrise speaks to the CA of a Puppet server."

    certificate: str
    """As PEM; with the extension pp_cli_auth, or a rule of its own in the server's auth.conf."""
    private_key: SecretStr
    """As PEM."""
    ca: str
    """Puppet's CA, root and intermediate, as PEM."""


class CandlepinCredentials(Block):
    """Who we are in a Candlepin: an application with OAuth, or a user with a password.

    Example:
        ```python
        await CandlepinCredentials(oauth_key="rackrise", secret="…").save("candlepin")
        ```
    """

    _block_type_name = "Rackrise Candlepin credentials"
    _block_type_slug = "rackrise-candlepin-credentials"
    _description = "Key and secret, or user and password, with which Rackrise speaks to Candlepin."

    oauth_key: str = ""
    """OAuth; empty: a user with a password."""
    user: str = "admin"
    """Candlepin's user in whose name we speak."""
    secret: SecretStr
    """Of the OAuth key, or the user's password."""


async def _loaded(kind: type[Credentials], name: str, whose: str, command: str) -> Credentials:
    """Load a block.

    Raises:
        Problem: there is none of this name.
    """
    try:
        block: Credentials = await kind.aload(name)
    except ValueError as error:
        raise Problem(
            f"there are no {whose} credentials {name!r} in Prefect",
            f"Make them with `rackrise {command} credentials`; then retry.",
        ) from error
    return block


async def puppet_settings(puppet: Puppet) -> PuppetSettings:
    """Complete a Puppet's settings with the certificate of the block that it names.

    Raises:
        Problem: there is no such block.
    """
    block = await _loaded(PuppetCredentials, puppet.credentials, "Puppet", "puppet")
    return PuppetSettings(
        url=puppet.url, ca=block.ca, certificate=block.certificate, key=block.private_key
    )


async def candlepin_settings(candlepin: Candlepin) -> CandlepinSettings:
    """Complete a Candlepin's settings with the secret of the block that it names.

    Raises:
        Problem: there is no such block.
    """
    block = await _loaded(CandlepinCredentials, candlepin.credentials, "Candlepin", "candlepin")
    login: OAuthLogin | UserLogin
    if block.oauth_key:
        login = OAuthLogin(key=block.oauth_key, secret=block.secret, user=block.user)
    else:
        login = UserLogin(user=block.user, password=block.secret)
    return CandlepinSettings(url=candlepin.url, ca=candlepin.ca, login=login)


async def pulp_settings(pulp: Pulp) -> PulpSettings:
    """Complete a Pulp's settings with the password of the block that it names.

    Raises:
        Problem: there is no such block.
    """
    block = await _loaded(PulpCredentials, pulp.credentials, "Pulp", "content")
    return PulpSettings(
        url=pulp.url,
        api_root=pulp.api_root,
        ca=Path(pulp.ca) if pulp.ca else None,
        user=block.user,
        password=block.password,
    )


async def power_settings(bmc: Bmc) -> PowerSettings:
    """Complete a BMC's settings with the secrets of the block that it names.

    The block is read at each attempt, so that a corrected password is used by the next retry.

    Raises:
        Problem: there is no such block, or the settings are not valid with it.
    """
    block = await _loaded(PowerCredentials, bmc.credentials, "power", "bmc")
    settings = {**bmc.settings, "kind": bmc.kind, "user": block.user}
    secrets = {"password": block.password, "private_key": block.private_key}
    settings |= {key: secret for key, secret in secrets.items() if secret is not None}
    try:
        return POWER_SETTINGS.validate_python(settings)
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, one["loc"])) or one["msg"] for one in error.errors())
        raise Problem(
            f"the settings of BMC {bmc.name} ({bmc.kind}) are not valid: {wrong}",
            "Correct them in the site file, or the block that they name; then retry.",
        ) from None
