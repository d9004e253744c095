"""The tables of the inventory; what must be unique is kept so by PostgreSQL itself.

A row's ``id`` is an ``int`` to everybody: it is None only between being made and being flushed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import CIDR, INET, JSONB
from sqlmodel import Field, SQLModel

from inventory.arrows import Evidence, Phase
from inventory.life import HostState

__all__ = [
    "LOADERS",
    "AfterBuild",
    "Bmc",
    "Build",
    "BuildOutcome",
    "Callback",
    "CallbackKind",
    "Candlepin",
    "Claim",
    "Classification",
    "Consumer",
    "DiscoveryRule",
    "Domain",
    "Drift",
    "Effect",
    "EffectState",
    "Facts",
    "Host",
    "HostGroup",
    "HostOverride",
    "InstallTree",
    "Interface",
    "OnFailure",
    "OperatingSystem",
    "Profile",
    "ProfileChange",
    "Proxy",
    "Pulp",
    "Puppet",
    "RenderedKickstart",
    "ReportedRepository",
    "Site",
    "Step",
    "StepState",
    "Subnet",
    "WorkerLease",
    "now",
]


def now() -> datetime:
    """The present moment, with its zone; tests pass their own clock instead."""
    return datetime.now(UTC)


def _word(enum: type[StrEnum], **more: Any) -> Any:
    """A column of plain text that admits an enumeration's values only."""
    kind = sa.Enum(
        enum,
        native_enum=False,
        length=32,
        values_callable=lambda members: [member.value for member in members],
        create_constraint=True,
        name=enum.__name__.lower(),
    )
    return Field(sa_type=kind, **more)


def _time(**more: Any) -> Any:
    return Field(sa_type=sa.DateTime(timezone=True), **more)


def _json(**more: Any) -> Any:
    # None is SQL's NULL: as JSON's own null it would be a value that is there.
    return Field(sa_type=JSONB(none_as_null=True), **more)


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
    name_servers: list[str] = _json(default_factory=list)
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
    name_servers: list[str] = _json(default_factory=list)
    boot_server: str = Field(sa_type=INET)
    """TFTP server's address, handed out as next-server."""
    boot_port: int = 69
    """TFTP server's port, asked when boot files are verified."""
    filenames: dict[str, str] = _json(default_factory=dict)
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
    collected_at: datetime | None = _time(default=None, nullable=True)
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
    packages: list[str] = _json(default_factory=list)
    kernel_options: str = ""
    """Added to the installer's and the installed system's kernel command line."""
    kickstart_template: str = "kickstart.ks.j2"
    after_build: AfterBuild = _word(AfterBuild, default=AfterBuild.LOCAL_BOOT)
    on_failure: OnFailure = _word(OnFailure, default=OnFailure.HOLD)
    candlepin_id: int | None = Field(default=None, foreign_key="candlepin.id")
    """Where its hosts are registered; None: nowhere."""
    owner: str | None = None
    """Key of their organization in Candlepin."""
    activation_key: str | None = None
    """By which they register; Candlepin's name of it."""
    content_environments: list[str] = _json(default_factory=list)
    """Candlepin's environments that they get, by id; empty: all of the organization's content."""
    puppet_id: int | None = Field(default=None, foreign_key="puppet.id")
    """The Puppet server that configures its hosts; None: nobody does."""
    classes: dict[str, Any] = _json(default_factory=dict)
    """Puppet's classes, each with its parameters."""
    environment: str = "production"
    """Puppet's, from which its hosts are configured."""
    install_minutes: int = 60
    """From the reboot order to ``built``; later the host is held."""
    first_boot_minutes: int = 30
    """From ``built`` to the first report; later the host is held."""
    parameters: dict[str, Any] = _json(default_factory=dict)


class DiscoveryRule(SQLModel, table=True):
    """Which discovered hosts are provisioned without being asked for one by one."""

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    priority: int = 100
    """Lower is weighed first."""
    condition: str
    """Jinja2 expression over ``facts``, true for hosts that the rule takes."""
    host_group_id: int = Field(foreign_key="hostgroup.id")
    host_name: str
    """Jinja2 template of the short name, over ``facts``, ``mac`` and ``number``."""
    host_limit: int = 0
    """At most so many hosts; 0: no limit."""
    enabled: bool = True


class Host(SQLModel, table=True):
    """One machine."""

    id: int = Field(default=None, primary_key=True)
    site_id: int = Field(foreign_key="site.id")
    name: str = Field(unique=True)
    """Full name; before it has one, ``mac525400aabb01`` after its boot interface."""
    state: HostState = _word(HostState, default=HostState.DISCOVERED, index=True)
    state_since: datetime = _time(default_factory=now)
    host_group_id: int | None = Field(default=None, foreign_key="hostgroup.id")
    discovery_rule_id: int | None = Field(default=None, foreign_key="discoveryrule.id")
    created_at: datetime = _time(default_factory=now)


class HostOverride(SQLModel, table=True):
    """What Puppet is told of one host beyond its group, known by name before the host is there."""

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    """Full name of the host."""
    classes: dict[str, Any] = _json(default_factory=dict)
    parameters: dict[str, Any] = _json(default_factory=dict)
    environment: str | None = None


class Classification(SQLModel, table=True):
    """What Puppet was told of a host; a row for each change, so that it can be looked at."""

    id: int = Field(default=None, primary_key=True)
    host_id: int = Field(foreign_key="host.id", index=True)
    answered_at: datetime = _time(default_factory=now)
    answer: str
    """As YAML."""
    difference: str
    """Lines that went (``-``) and came (``+``) since the answer before."""


class Consumer(SQLModel, table=True):
    """What a host is to Candlepin; written down before Candlepin is asked to make it."""

    host_id: int = Field(foreign_key="host.id", primary_key=True)
    candlepin_id: int = Field(foreign_key="candlepin.id")
    owner: str
    """Key of its organization."""
    uuid: str = Field(unique=True)
    """Chosen by us, so that a registration that is repeated makes no second consumer."""
    build_id: UUID = Field(foreign_key="build.id")
    """In which it registered."""
    chosen_at: datetime = _time(default_factory=now)
    registered_at: datetime | None = _time(default=None, nullable=True)
    """When Candlepin had it; None: nobody has heard so."""
    checked_in_at: datetime | None = _time(default=None, nullable=True)
    """When the host last came with its identity certificate."""


class Profile(SQLModel, table=True):
    """What a host last reported to have: packages, modules, repositories, whatever it is."""

    host_id: int = Field(foreign_key="host.id", primary_key=True)
    content_type: str = Field(primary_key=True)
    """``rpm``, ``deb``, ``modulemd``, ``enabled_repos``; others are kept as they come."""
    received_at: datetime = _time(default_factory=now)
    changed_at: datetime = _time(default_factory=now)
    """When it was last another one than before."""
    items: list[Any] = _json()


class ProfileChange(SQLModel, table=True):
    """How a host's profile differed from the one before."""

    id: int = Field(default=None, sa_column=sa.Column(sa.BigInteger, primary_key=True))
    host_id: int = Field(foreign_key="host.id", index=True)
    content_type: str
    at: datetime = _time(default_factory=now)
    added: list[Any] = _json()
    removed: list[Any] = _json()


class Interface(SQLModel, table=True):
    """A network interface of a host. No two have the same MAC address, nor the same address."""

    __table_args__ = (
        # One spelling: in two spellings one interface could belong to two hosts.
        sa.CheckConstraint("mac ~ '^[0-9a-f]{2}(:[0-9a-f]{2}){5}$'", name="mac_normal"),
        sa.Index(
            "interface_provisioning_once",
            "host_id",
            unique=True,
            postgresql_where=sa.text("provisioning"),
        ),
    )

    id: int = Field(default=None, primary_key=True)
    host_id: int = Field(foreign_key="host.id", index=True)
    mac: str = Field(unique=True)
    name: str = ""
    provisioning: bool = False
    """The one that boots the network."""
    subnet_id: int | None = Field(default=None, foreign_key="subnet.id")
    ip: str | None = Field(default=None, sa_type=INET, unique=True)
    """The address that it is to have for good; unique, and so the reservation of that address."""
    discovered_ip: str | None = Field(default=None, sa_type=INET)
    """The temporary address that it last reported."""


class Facts(SQLModel, table=True):
    """The latest facts of a host from one source."""

    host_id: int = Field(foreign_key="host.id", primary_key=True)
    source: str = Field(primary_key=True)
    """``discovery``, ``first_boot``, ``puppet`` or ``rhsm``."""
    received_at: datetime = _time(default_factory=now)
    values: dict[str, Any] = _json()


class ReportedRepository(SQLModel, table=True):
    """A package repository that a host says it uses (arrow 26)."""

    host_id: int = Field(foreign_key="host.id", primary_key=True)
    source: str = Field(primary_key=True)
    """Who said so: ``first_boot`` or ``rhsm``. They see other repositories of one host."""
    repository: str = Field(primary_key=True)
    """Its name on the host."""
    url: str
    reported_at: datetime = _time(default_factory=now)
    compared_at: datetime | None = _time(default=None, nullable=True)
    """When it was compared with what our Pulps serve; None: not yet."""
    distribution: str | None = None
    """Which one serves it; None: none of ours, once it was compared."""


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
    settings: dict[str, Any] = _json(default_factory=dict)
    """The protocol's other settings, as ``integrations.power.settings`` names them."""


class BuildOutcome(StrEnum):
    """How a build ended."""

    IN_OPERATION = "in_operation"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    RETIRED = "retired"


class Build(SQLModel, table=True):
    """One generation of one host. At most one of a host is open, kept so by a unique index."""

    __table_args__ = (
        sa.UniqueConstraint("host_id", "generation"),
        sa.Index(
            "build_open_once", "host_id", unique=True, postgresql_where=sa.text("closed_at IS NULL")
        ),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    host_id: int = Field(foreign_key="host.id")
    generation: int = 1
    host_group_id: int | None = Field(default=None, foreign_key="hostgroup.id")
    opened_at: datetime = _time(default_factory=now)
    closed_at: datetime | None = _time(default=None, nullable=True)
    outcome: BuildOutcome | None = _word(BuildOutcome, default=None, nullable=True)
    asked_by: str | None = None
    """Who or what asked for it: a person, a rule, a schedule, a flow run."""
    token_hash: str | None = Field(default=None, unique=True)
    """SHA-256 of the one-time token, in hexadecimal; the token itself is never kept."""
    token_spent_at: datetime | None = _time(default=None, nullable=True)
    """When ``built`` or ``failed`` came; the hash stays, so that a repeat is known."""
    certificate_hash: str | None = None
    """SHA-256 of the token that comes with the host's certificate request."""
    certificate_key: str | None = None
    """SHA-256 of the public key that came with it first; with another key it is a stranger's."""
    registration_hash: str | None = Field(default=None, unique=True)
    """SHA-256 of the token that comes with the host's registration at Candlepin."""
    certificate_stale: bool = False
    """The host installs anew, so that a certificate for its former key is in its way."""
    tree_url: str | None = None
    """Base of the tree that this build installs from, from its inception to its end."""
    tree_pin: str | None = None
    """Base path of the pin that keeps that tree in Pulp; None: the tree is not in Pulp."""
    tree_publication: str | None = None
    """What the pin serves, by Pulp's own reference: a pin that is lost is made again from it."""
    kickstarts: int = 0
    """How often the kickstart was fetched."""
    deadline: datetime | None = _time(default=None, nullable=True)
    """When the present wait for the host ends."""
    network_boots: int = 0
    """How often the host came back into discovery since it was sent into its installer."""
    network_booted_at: datetime | None = _time(default=None, nullable=True)
    """When it did so last."""
    trouble_since: datetime | None = _time(default=None, nullable=True)
    """Since when something is not well though the host is not held; None: all is well."""
    trouble: str = ""
    """What: it is slower than its kind usually is, or boots the network instead of its disk."""
    given_up: str | None = None
    """Who gave it up, or what failed; None: nobody has."""
    held_from: HostState | None = _word(HostState, default=None, nullable=True)
    held_step: int | None = None
    held_reason: str | None = None
    held_advice: str | None = None


class StepState(StrEnum):
    """How far an arrow is."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    NOT_ASKED = "not asked for"


class Step(SQLModel, table=True):
    """One arrow of one build: what people look at."""

    build_id: UUID = Field(foreign_key="build.id", primary_key=True)
    number: int = Field(primary_key=True)
    state: StepState = _word(StepState, default=StepState.PENDING)
    evidence: Evidence | None = _word(Evidence, default=None, nullable=True)
    seen: str = ""
    """The evidence in words: what was read back, from where."""
    error: str | None = None
    attempts: int = 0
    started_at: datetime | None = _time(default=None, nullable=True)
    ended_at: datetime | None = _time(default=None, nullable=True)
    flow_run_id: UUID | None = None


class CallbackKind(StrEnum):
    """What a host or a server told us."""

    FACTS = "facts"
    KICKSTART = "kickstart"
    PROGRESS = "progress"
    BUILT = "built"
    FAILED = "failed"
    REPORT = "report"
    PUPPET_REPORT = "puppet_report"


class Callback(SQLModel, table=True):
    """One thing that we were told, kept as received before it is answered."""

    __table_args__ = (
        sa.Index("callback_unhandled", "id", postgresql_where=sa.text("handled_at IS NULL")),
    )

    id: int = Field(default=None, sa_column=sa.Column(sa.BigInteger, primary_key=True))
    kind: CallbackKind = _word(CallbackKind)
    key: str = Field(unique=True)
    """The same telling told again has the same key."""
    host_id: int = Field(foreign_key="host.id", index=True)
    build_id: UUID | None = Field(default=None, foreign_key="build.id", index=True)
    received_at: datetime = _time(default_factory=now)
    remote: str
    """Address of the host that spoke, as well as we can know it."""
    body: str = ""
    handled_at: datetime | None = _time(default=None, nullable=True)


class Claim(SQLModel, table=True):
    """The right to run a phase of a build, written before the flow run is created.

    One live claim a build, one claim a (build, phase, attempt): by construction one run at a time.
    """

    __table_args__ = (
        sa.UniqueConstraint("build_id", "phase", "attempt"),
        sa.Index(
            "claim_live_once", "build_id", unique=True, postgresql_where=sa.text("ended_at IS NULL")
        ),
        sa.Index("claim_company", "company"),
    )

    id: int = Field(default=None, sa_column=sa.Column(sa.BigInteger, primary_key=True))
    build_id: UUID = Field(foreign_key="build.id")
    phase: Phase = _word(Phase)
    attempt: int
    company: UUID
    """The hosts that travel together have the same; it is the flow run's idempotency key."""
    flow_run_id: UUID | None = None
    worker: str | None = None
    """Lease of the worker that runs it; None until one has taken it up."""
    made_at: datetime = _time(default_factory=now)
    withdrawn_at: datetime | None = _time(default=None, nullable=True)
    """When something else was asked for: its run changes nothing more, and then lets go of it."""
    ended_at: datetime | None = _time(default=None, nullable=True)


class WorkerLease(SQLModel, table=True):
    """Says which workers live: one row for each start of a worker, renewed while it lives."""

    name: str = Field(primary_key=True)
    """``<worker>/<boot>``, unique for each start."""
    until: datetime = _time()


class EffectState(StrEnum):
    """How far a change outside is."""

    INTENDED = "intended"
    APPLIED = "applied"
    VERIFIED = "verified"
    UNDONE = "undone"
    LEFT = "left"
    """Not undone, because what is there is not ours, or not one host's to take away."""


class Effect(SQLModel, table=True):
    """One change that we made outside, written before it is made."""

    __table_args__ = (sa.UniqueConstraint("build_id", "system", "place", "key"),)

    id: int = Field(default=None, sa_column=sa.Column(sa.BigInteger, primary_key=True))
    build_id: UUID = Field(foreign_key="build.id", index=True)
    system: str
    """``DHCP``, ``DNS``, ``TFTP``, ``boot file``."""
    place: str
    """Where exactly: the proxy that wrote it, and there the subnet, zone or directory."""
    key: str
    """What identifies the record there: MAC address, name and type, path."""
    before: dict[str, Any] | None = _json(default=None, nullable=True)
    after: dict[str, Any] | None = _json(default=None, nullable=True)
    """None: the effect was the record's removal."""
    earlier: list[dict[str, Any] | None] = _json(default_factory=list)
    """What this build wrote there before ``after``, oldest first: ours too when it is undone."""
    state: EffectState = _word(EffectState, default=EffectState.INTENDED)
    intended_at: datetime = _time(default_factory=now)
    applied_at: datetime | None = _time(default=None, nullable=True)
    verified_at: datetime | None = _time(default=None, nullable=True)
    undone_at: datetime | None = _time(default=None, nullable=True)
    seen: str = ""
    """What was seen when it was undone, or why it was left."""


class Drift(SQLModel, table=True):
    """What the last sweep found not to be as it should be; each sweep replaces them all."""

    id: int = Field(default=None, sa_column=sa.Column(sa.BigInteger, primary_key=True))
    found_at: datetime = _time(default_factory=now)
    host: str
    system: str
    place: str
    key: str
    judgement: str
    """``missing``, ``changed``, ``foreign``, ``leaked`` or ``not readable``."""
    words: str


class RenderedKickstart(SQLModel, table=True):
    """The kickstart that a build's host was given last, without its secrets."""

    build_id: UUID = Field(foreign_key="build.id", primary_key=True)
    rendered_at: datetime = _time(default_factory=now)
    text: str
