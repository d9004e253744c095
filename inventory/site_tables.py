"""The tables of a site file: what each key may hold, and what it is when it is left out."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any, Literal, Self

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificates
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from inventory.models import LOADERS, AfterBuild, OnFailure
from inventory.rule_draft import RuleDraft

__all__ = [
    "BmcTable",
    "CandlepinTable",
    "DiscoveryRuleTable",
    "DomainTable",
    "HostGroupTable",
    "HostTable",
    "InstallTreeTable",
    "OperatingSystemTable",
    "ProxyTable",
    "PulpTable",
    "PuppetTable",
    "SiteFile",
    "SiteTable",
    "SubnetTable",
]


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", text):
        raise ValueError(f"{text!r} is not a URL such as http://192.0.2.1:8000")
    return text


def _https_url(text: str) -> str:
    if not _url(text).startswith("https://"):
        raise ValueError(f"{text!r} is no https URL: a Puppet server knows us by our certificate")
    return text.rstrip("/")


def _pem(text: str) -> str:
    try:
        found = load_pem_x509_certificates(text.encode())
    except ValueError as error:
        raise ValueError("not certificates as PEM, from -----BEGIN to END-----") from error
    # Without what openssl has written around them: it goes into kickstarts.
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in found)


def _candlepin_url(text: str) -> str:
    if not _url(text).startswith("https://"):
        raise ValueError(f"{text!r} is no https URL: identities and their keys go this way")
    return text.rstrip("/")


def _front(text: str) -> str:
    if not re.fullmatch(r"https://[^\s/]+/rhsm", text := text.rstrip("/")):
        raise ValueError(f"{text!r} is not a front, such as https://rackrise.example.org:8444/rhsm")
    return text


def _proxy_url(text: str) -> str:
    return text if text == "local:" else _url(text)


def _loader(text: str) -> str:
    if text not in LOADERS:
        raise ValueError(f"{text!r} is not a known loader; known are {', '.join(LOADERS)}")
    return text


def _server(text: str) -> str:
    address, _, port = text.partition(":")
    IPv4Address(address)
    if port and not (port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{port!r} is not a port")
    return text


def _mac(text: str) -> str:
    mac = text.lower().replace("-", ":")
    if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", mac):
        raise ValueError(f"{text!r} is not a MAC address such as 52:54:00:aa:bb:01")
    return mac


def _domain(text: str) -> str:
    if not re.fullmatch(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z][a-z0-9-]*", text):
        raise ValueError(f"{text!r} is not a domain in lower case without a trailing dot")
    return text


def _password_hash(text: str) -> str:
    if not re.fullmatch(r"[!*]|\$[0-9a-z]+\$[^\s:]+", text):
        # The text itself may be a password: it is not repeated.
        raise ValueError("not a hash in crypt(3)'s form, such as openssl passwd -6 makes, nor '!'")
    return text


Name = Annotated[str, Field(pattern=r"^\S(.{0,61}\S)?$")]
Url = Annotated[str, AfterValidator(_url)]
Server = Annotated[str, AfterValidator(_server)]
Port = Annotated[int, Field(ge=1, le=65535)]
PuppetClass = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(::[a-z][a-z0-9_]*)*$")]
Classes = dict[PuppetClass, dict[str, Any]]
"""Each of Puppet's classes with its parameters, ``{}`` where it has none."""
Environment = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
Pem = Annotated[str, AfterValidator(_pem)]
CandlepinName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=255)]
"""Letters, digits, - and _, as Candlepin takes them."""
Minutes = Annotated[int, Field(ge=1, le=24 * 60)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SiteTable(_Table):
    """``[site]``."""

    name: Name
    gateway_url: Url


class ProxyTable(_Table):
    """``[[proxy]]``."""

    name: Name
    url: Annotated[str, AfterValidator(_proxy_url)]
    host_url: Url


class DomainTable(_Table):
    """``[[domain]]``."""

    name: Annotated[str, AfterValidator(_domain)]
    proxy: Name
    name_servers: tuple[Server, ...] = ()


class SubnetTable(_Table):
    """``[[subnet]]``."""

    name: Name
    network: IPv4Network
    """With its length: ``192.0.2.0/24``."""
    range_from: IPv4Address
    range_to: IPv4Address
    """Last address that provisioned hosts may get."""
    dynamic_from: IPv4Address | None = None
    """First address that the DHCP server gives away for a time; only checked, not kept."""
    dynamic_to: IPv4Address | None = None
    """Last address that the DHCP server gives away for a time."""
    gateway: IPv4Address | None = None
    """The router, for people to see: hosts hear of it from the DHCP server."""
    name_servers: tuple[IPv4Address, ...] = ()
    """Resolvers, for people to see: hosts hear of them from the DHCP server."""
    boot_server: IPv4Address
    boot_port: Port = 69
    filenames: dict[Annotated[str, AfterValidator(_loader)], str] = Field(default_factory=dict)
    dhcp_proxy: Name
    tftp_proxy: Name
    domain: Name
    discovery_options: str = ""


class OperatingSystemTable(_Table):
    """``[[operating_system]]``."""

    name: Name
    kickstart_version: str = "RHEL9"


class PulpTable(_Table):
    """``[[pulp]]``; its password is in a Prefect block, never in a file."""

    name: Name
    url: Url
    """Without the path of its API."""
    api_root: str = "/pulp/api/v3/"
    ca: str | None = None
    credentials: Name


class InstallTreeTable(_Table):
    """``[[install_tree]]``: with ``url``, or with ``pulp`` and ``base_path``."""

    name: Name
    operating_system: Name
    url: Url | None = None
    pulp: Name | None = None
    base_path: Annotated[str, Field(pattern=r"^[^/\s]+(/[^/\s]+)*$")] | None = None
    remote: Url | None = None
    architecture: str = "x86_64"
    """As its ``.treeinfo`` calls it."""
    variant: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.url is None) == (self.pulp is None):
            raise ValueError("give either url, or pulp with base_path")
        if (self.pulp is None) != (self.base_path is None):
            raise ValueError("pulp and base_path belong together")
        if self.remote is not None and self.pulp is None:
            raise ValueError("only Pulp has a remote: give pulp and base_path, or no remote")
        return self


class PuppetTable(_Table):
    """``[[puppet]]``; our certificate for its CA is in a Prefect block, never in a file."""

    name: Name
    url: Annotated[str, AfterValidator(_https_url)]
    certname: Annotated[str, AfterValidator(_domain)]
    credentials: Name
    vardir: str | None = None


class CandlepinTable(_Table):
    """``[[candlepin]]``; key and secret are in a Prefect block, never in a file."""

    name: Name
    url: Annotated[str, AfterValidator(_candlepin_url)]
    ca: Pem | None = None
    credentials: Name
    front: Annotated[str, AfterValidator(_front)]
    front_ca: Pem | None = None
    content_url: Url | None = None


class HostGroupTable(_Table):
    """``[[host_group]]``; what its ``parent`` gives it is in it already."""

    name: Name
    operating_system: Name
    install_tree: Name
    subnet: Name
    domain: Name
    loader: Annotated[str, AfterValidator(_loader)] = "PXELinux"
    """What its hosts boot: ``PXELinux``, ``PXEGrub2`` or ``iPXE``."""
    root_password_hash: Annotated[str, AfterValidator(_password_hash)]
    packages: tuple[str, ...] = ()
    """Lines of the kickstart's ``%packages``: packages, ``@groups``, ``-exclusions``."""
    kernel_options: str = ""
    kickstart_template: str = "kickstart.ks.j2"
    """Name of a template in ``templates/``."""
    after_build: AfterBuild = AfterBuild.LOCAL_BOOT
    """What an installed host finds on the boot server: an order to boot its disk, or nothing."""
    on_failure: OnFailure = OnFailure.HOLD
    """What becomes of a host whose inception fails: it is held, or given up and undone."""
    candlepin: Name | None = None
    owner: CandlepinName | None = None
    activation_key: CandlepinName | None = None
    content_environments: tuple[CandlepinName, ...] = ()
    puppet: Name | None = None
    classes: Classes = Field(default_factory=dict)
    environment: Environment = "production"
    install_minutes: Minutes = 60
    first_boot_minutes: Minutes = 30
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Of the kickstart, and of Puppet where the group has one."""

    @model_validator(mode="after")
    def _registration_is_complete(self) -> Self:
        told = (self.owner is not None, self.activation_key is not None)
        if self.candlepin is not None and not all(told):
            raise ValueError("candlepin needs owner, its organization, and activation_key")
        if self.candlepin is None and (any(told) or self.content_environments):
            raise ValueError(
                "owner, activation_key and content_environments are of a candlepin: name it"
            )
        return self


class BmcTable(_Table):
    """``[[bmc]]``; its secrets are in a Prefect block, never in a file."""

    name: Name
    mac: Annotated[str, AfterValidator(_mac)]
    kind: Literal["redfish", "ipmi", "ssh"]
    credentials: Name
    settings: dict[str, Any] = Field(default_factory=dict)


class HostTable(_Table):
    """``[[host]]``: what Puppet is told of one host beyond its group."""

    name: Annotated[str, AfterValidator(_domain)]
    classes: Classes = Field(default_factory=dict)
    """Puppet's classes; single keys of the group's are changed."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Single parameters, in the group's place."""
    environment: Environment | None = None
    """Puppet's, in the group's place."""


class DiscoveryRuleTable(RuleDraft):
    """``[[discovery_rule]]``."""


class SiteFile(_Table):
    """A checked site file."""

    site: SiteTable
    proxy: tuple[ProxyTable, ...] = ()
    domain: tuple[DomainTable, ...] = ()
    subnet: tuple[SubnetTable, ...] = ()
    operating_system: tuple[OperatingSystemTable, ...] = ()
    pulp: tuple[PulpTable, ...] = ()
    install_tree: tuple[InstallTreeTable, ...] = ()
    puppet: tuple[PuppetTable, ...] = ()
    candlepin: tuple[CandlepinTable, ...] = ()
    host_group: tuple[HostGroupTable, ...] = ()
    host: tuple[HostTable, ...] = ()
    bmc: tuple[BmcTable, ...] = ()
    discovery_rule: tuple[DiscoveryRuleTable, ...] = ()
