"""Where hosts stand and what they become: what the site file says, as tables."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import CIDR, INET
from sqlmodel import Field, SQLModel

from inventory.models.columns import json, time, word

__all__ = [
    "LOADERS",
    "AfterBuild",
    "Bmc",
    "Candlepin",
    "DiscoveryRule",
    "Domain",
    "HostGroup",
    "HostOverride",
    "InstallTree",
    "ManagedBy",
    "OnFailure",
    "OperatingSystem",
    "ProvisionWhen",
    "Proxy",
    "Pulp",
    "Puppet",
    "Site",
    "Subnet",
]


class Site(SQLModel, table=True):
    """A place with its own gateway."""

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    gateway_url: str
    """Where hosts reach the gateway (directly or through a proxy's template relay)."""


class Proxy(SQLModel, table=True):
    """A Smart Proxy, ours or Foreman's, beside the DHCP, DNS and TFTP servers of some subnets."""

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    url: str
    """``https://…:8443``, or ``local:`` for the one that runs in the worker's own process."""
    host_url: str
    """Where hosts reach it over plain HTTP: boot files, discovery, template relay."""


class Domain(SQLModel, table=True):
    """A DNS domain whose records we keep."""

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    proxy_id: int = Field(foreign_key="proxy.id")
    name_servers: list[str] = json(default_factory=list)
    """Authoritative servers, ``address`` or ``address:port``; asked when records are verified."""


class Subnet(SQLModel, table=True):
    """A network whose hosts boot from it."""

    __table_args__ = (sa.UniqueConstraint("site_id", "network"),)

    id: int = Field(default=None, primary_key=True)
    site_id: int = Field(foreign_key="site.id")
    name: str = Field(unique=True)
    network: str = Field(sa_type=CIDR)
    range_from: str = Field(sa_type=INET)
    """First address that provisioned hosts may get; outside the DHCP server's dynamic range."""
    range_to: str = Field(sa_type=INET)
    gateway: str | None = Field(default=None, sa_type=INET)
    name_servers: list[str] = json(default_factory=list)
    boot_server: str = Field(sa_type=INET)
    """TFTP server's address, handed out as next-server."""
    boot_port: int = 69
    """TFTP server's port, asked when boot files are verified."""
    filenames: dict[str, str] = json(default_factory=dict)
    """Boot file name in the reservation for each loader; empty: the DHCP server's own choice."""
    dhcp_proxy_id: int = Field(foreign_key="proxy.id")
    tftp_proxy_id: int = Field(foreign_key="proxy.id")
    domain_id: int = Field(foreign_key="domain.id")
    discovery_options: str = ""
    """Added to the discovery image's kernel command line."""


class OperatingSystem(SQLModel, table=True):
    """What can be installed."""

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    kickstart_version: str = "RHEL9"
    """pykickstart's name of the syntax that its installer reads."""


class Pulp(SQLModel, table=True):
    """A Pulp 3 that serves install trees."""

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    url: str
    api_root: str = "/pulp/api/v3/"
    """Where the API begins; with domains on: ``/pulp/DOMAIN/api/v3/``."""
    ca: str | None = None
    """File on the workers with the CA of its certificate; None: the system's CAs."""
    credentials: str
    """Name of the Prefect block with user and password."""


class InstallTree(SQLModel, table=True):
    """Where an operating system's installer and packages come from: a plain URL, or a Pulp."""

    __table_args__ = (
        sa.CheckConstraint("(url IS NULL) <> (pulp_id IS NULL)", name="url_or_pulp"),
        sa.CheckConstraint("(pulp_id IS NULL) = (base_path IS NULL)", name="pulp_has_path"),
    )

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    operating_system_id: int = Field(foreign_key="operatingsystem.id")
    url: str | None = None
    """Base of a plain tree; it holds ``.treeinfo``."""
    pulp_id: int | None = Field(default=None, foreign_key="pulp.id")
    base_path: str | None = None
    """Of the Pulp distribution that serves it."""
    remote: str | None = None
    """Where Pulp gets it from; None: somebody else keeps the distribution."""
    architecture: str = "x86_64"
    variant: str | None = None
    """Needed where a repository holds several trees for the architecture, e.g. ``BaseOS``."""


class Puppet(SQLModel, table=True):
    """A Puppet server: it signs hosts, asks us what they are, and tells what became of them."""

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    url: str
    """``https://puppet.example.org:8140``, of agents and of the CA."""
    certname: str = Field(unique=True)
    """Common name of the server's certificate: who bears it may speak of other hosts."""
    credentials: str
    """Name of the Prefect block with our certificate for its CA."""
    vardir: str | None = None
    """Where workers read what the server keeps itself; None: a report that is lost stays lost."""
    collected_at: datetime | None = time(default=None, nullable=True)
    """Until when what it keeps itself was looked through."""


class Candlepin(SQLModel, table=True):
    """A Candlepin: hosts are its consumers, and reach it through our RHSM front."""

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    url: str = Field(unique=True)
    """With its path: ``https://candlepin.example.org:8443/candlepin``."""
    ca: str | None = None
    """CA of its certificate, as PEM; None: the system's."""
    credentials: str
    """Name of the Prefect block by which workers speak to it."""
    front: str
    """Where hosts reach the gateway's front: ``https://rackrise.example.org:8444/rhsm``."""
    front_ca: str | None = None
    """CA of the front's certificate, as PEM, which hosts are given; None: they know it."""
    content_url: str | None = None
    """Start of the addresses of their repositories; None: as their own settings say."""


class AfterBuild(StrEnum):
    """What a host finds on the boot server once it is installed."""

    LOCAL_BOOT = "local_boot"
    REMOVE = "remove"


class OnFailure(StrEnum):
    """What becomes of a host whose inception fails."""

    HOLD = "hold"
    UNDO = "undo"


LOADERS = ("PXELinux", "PXEGrub2", "iPXE")
"""Names of ``integrations.records.Loader``, which the inventory may not import; a test compares."""


class HostGroup(SQLModel, table=True):
    """What hosts of one kind have in common."""

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    operating_system_id: int = Field(foreign_key="operatingsystem.id")
    install_tree_id: int = Field(foreign_key="installtree.id")
    subnet_id: int = Field(foreign_key="subnet.id")
    domain_id: int = Field(foreign_key="domain.id")
    loader: str = "PXELinux"
    root_password_hash: str
    """In crypt(3)'s form; ``!`` locks the account."""
    packages: list[str] = json(default_factory=list)
    kernel_options: str = ""
    """Added to the installer's and the installed system's kernel command line."""
    kickstart_template: str = "kickstart.ks.j2"
    after_build: AfterBuild = word(AfterBuild, default=AfterBuild.LOCAL_BOOT)
    on_failure: OnFailure = word(OnFailure, default=OnFailure.HOLD)
    candlepin_id: int | None = Field(default=None, foreign_key="candlepin.id")
    """Where its hosts are registered; None: nowhere."""
    owner: str | None = None
    """Key of their organization in Candlepin."""
    activation_key: str | None = None
    """By which they register; Candlepin's name of it."""
    content_environments: list[str] = json(default_factory=list)
    """Candlepin's environments that they get, by id; empty: all of the organization's content."""
    puppet_id: int | None = Field(default=None, foreign_key="puppet.id")
    """The Puppet server that configures its hosts; None: nobody does."""
    classes: dict[str, Any] = json(default_factory=dict)
    """Puppet's classes, each with its parameters."""
    environment: str = "production"
    """Puppet's, from which its hosts are configured."""
    install_minutes: int = 60
    """From the reboot order to ``built``; later the host is held."""
    first_boot_minutes: int = 30
    """From ``built`` to the first report; later the host is held."""
    parameters: dict[str, Any] = json(default_factory=dict)


class ProvisionWhen(StrEnum):
    """When a host that a rule takes is provisioned."""

    AT_ONCE = "at_once"
    IN_WINDOW = "in_window"
    """By the flow ``auto-provision``, while one of the rule's windows is open."""
    WHEN_ASKED = "when_asked"
    """The rule only recommends."""


class ManagedBy(StrEnum):
    """Who may change a rule."""

    SITE_FILE = "site file"
    OPERATOR = "operator"


class DiscoveryRule(SQLModel, table=True):
    """Which discovered hosts are provisioned without being asked for one by one."""

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    priority: int = 100
    """Lower is weighed first."""
    condition: str
    """Jinja2 expression over a machine, true for hosts that the rule takes."""
    host_group_id: int = Field(foreign_key="hostgroup.id")
    host_name: str
    """Jinja2 template of the short name, over a machine and ``number``."""
    host_limit: int = 0
    """At most so many hosts; 0: no limit."""
    enabled: bool = True
    provision: ProvisionWhen = word(ProvisionWhen, default=ProvisionWhen.AT_ONCE)
    windows: list[str] = json(default_factory=list)
    """Such as ``mon-fri 22:00-05:00``; ``inventory.windows`` reads them."""
    time_zone: str = "UTC"
    """In which the windows are."""
    managed_by: ManagedBy = word(ManagedBy, default=ManagedBy.SITE_FILE)


class HostOverride(SQLModel, table=True):
    """What Puppet is told of one host beyond its group, known by name before the host is there."""

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    """Full name of the host."""
    classes: dict[str, Any] = json(default_factory=dict)
    parameters: dict[str, Any] = json(default_factory=dict)
    environment: str | None = None


class Bmc(SQLModel, table=True):
    """How a machine is switched, known by its boot interface before it has ever been seen."""

    __table_args__ = (
        sa.CheckConstraint("mac ~ '^[0-9a-f]{2}(:[0-9a-f]{2}){5}$'", name="bmc_mac_normal"),
    )

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    mac: str = Field(unique=True)
    """Of the interface that boots the network."""
    kind: str
    """Protocol: ``redfish``, ``ipmi`` or ``ssh``."""
    credentials: str
    """Name of the Prefect block with user and secret."""
    settings: dict[str, Any] = json(default_factory=dict)
    """The protocol's other settings, as ``integrations.power.settings`` names them."""
