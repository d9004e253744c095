"""Where a machine's power is switched and with which credentials: one frozen model a protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    SecretStr,
    TypeAdapter,
    model_validator,
)

__all__ = [
    "POWER_SETTINGS",
    "DiscoverySettings",
    "IpmiSettings",
    "PowerSettings",
    "RedfishSettings",
    "SshSettings",
]


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("give a URL with scheme and host, such as https://192.0.2.9:8443")
    if "@" in parts.netloc:
        # Not echoed: the part before the @ is a password more often than not.
        raise ValueError("give credentials in their own fields, not inside the URL")
    if parts.query or parts.fragment:
        raise ValueError("give the URL without a query and without a fragment")
    return value.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_base_url)]
# A leading dash would be read as an option by the programs that get it as an argument.
Host = Annotated[str, Field(pattern=r"^[0-9A-Za-z_][0-9A-Za-z._:%-]*$")]
User = Annotated[str, Field(pattern=r"^[^-\s][^\s]*$", max_length=255)]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Settings(BaseModel):
    # Bad values stay out of messages: any of them may be a password in the wrong field.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class DiscoverySettings(_Settings):
    """A machine that runs the discovery image.

    Attributes:
        url: the image itself (``https://HOST:8443`` or ``http://HOST:8448``), or the same API
            behind a proxy (``https://PROXY:8443/discovery/HOST``).
        ca_file: certificates to verify an https server by. None does not verify: the image's
            certificate is made at boot and signed by itself, so nobody can vouch for it. Set
            it for a proxy.
        certificate_file: client certificate, for a proxy that asks for one.
        key_file: its key.
        deadline: seconds that one request may take; 20 is what Foreman grants the image.
        gone_within: seconds within which the image must fall silent after it promised to
            restart.
        poll_every: seconds between two looks whether it did.
    """

    kind: Literal["discovery"] = "discovery"
    url: BaseUrl
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    deadline: PositiveFloat = 20
    gone_within: PositiveFloat = 60
    poll_every: PositiveFloat = 0.5

    @model_validator(mode="after")
    def _key_for_certificate(self) -> DiscoverySettings:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together: give both or none")
        return self


class SshSettings(_Settings):
    """A machine whose operating system is reached over SSH.

    Attributes:
        host: name or address.
        user: who logs in; must be allowed to run the commands.
        private_key: the private key itself, in OpenSSH or PEM form, without a passphrase.
        host_key: the host's public key as in ``known_hosts``, without the name
            (``ssh-ed25519 AAAA...``). None refuses every host and says what it showed.
        reboot_command: what restarts the machine.
        connect_deadline: seconds until the connection must stand and the login be through.
        deadline: seconds that a command may take after that.
    """

    kind: Literal["ssh"] = "ssh"
    host: Host
    port: Port = 22
    user: User = "root"
    private_key: SecretStr
    host_key: str | None = None
    reboot_command: str = Field(default="systemctl reboot", min_length=1)
    connect_deadline: PositiveFloat = 10
    deadline: PositiveFloat = 20


class RedfishSettings(_Settings):
    """A machine with a Redfish BMC.

    Attributes:
        url: the BMC, without ``/redfish/v1``.
        system: path of the system (``/redfish/v1/Systems/1``); needed where the BMC has several.
        user: account on the BMC with the right to switch.
        password: its password.
        verify: True verifies the BMC's certificate by the machine's own authorities, a path by
            the certificates in that file, False not at all.
        request_deadline: seconds that one exchange with the BMC may take, login included.
        settle_within: seconds within which the BMC must report what was asked of it.
        poll_every: seconds between two looks.
    """

    kind: Literal["redfish"] = "redfish"
    url: BaseUrl
    system: str | None = None
    user: User
    password: SecretStr
    verify: bool | Path = True
    request_deadline: PositiveFloat = 30
    settle_within: PositiveFloat = 60
    poll_every: PositiveFloat = 1


class IpmiSettings(_Settings):
    """A machine with an IPMI 2.0 BMC, reached by ``ipmitool`` over RMCP+.

    Attributes:
        host: name or address of the BMC.
        user: account on the BMC with the right to switch.
        password: its password, of at most 20 bytes (IPMI 2.0, section 22.30).
        cipher_suite: 3 is what every IPMI 2.0 BMC must have; asking the BMC for its best one
            costs ten seconds a call where it does not answer the question. 17 where 3 is shut.
        efi: True for machines that boot by UEFI; some BMCs ignore an override without it.
        reports_valid_flag: False for BMCs that never show an override as valid, so that only
            device and duration are compared. Known: OpenIPMI's ``ipmi_sim`` 2.0.33.
        request_deadline: seconds that one run of ``ipmitool`` may take.
        settle_within: seconds within which the BMC must report what was asked of it.
        poll_every: seconds between two looks.
    """

    kind: Literal["ipmi"] = "ipmi"
    host: Host
    port: Port = 623
    user: User
    password: SecretStr = Field(max_length=20)
    cipher_suite: int = Field(default=3, ge=0, le=17)
    efi: bool = False
    reports_valid_flag: bool = True
    request_deadline: PositiveFloat = 20
    settle_within: PositiveFloat = 60
    poll_every: PositiveFloat = 1


PowerSettings = Annotated[
    DiscoverySettings | SshSettings | RedfishSettings | IpmiSettings,
    Field(discriminator="kind"),
]
"""Any of them, told apart by ``kind``: the form in which a host's power is configured.

A model that has such a field must set ``hide_input_in_errors`` itself: pydantic asks only the
outermost one whether a bad value, perhaps a password, may be shown.
"""

POWER_SETTINGS: TypeAdapter[PowerSettings] = TypeAdapter(
    PowerSettings, config=ConfigDict(hide_input_in_errors=True)
)
"""Reads settings of any kind from outside, without repeating bad values in the error."""
