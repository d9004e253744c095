"""What goes into a template: checked values, so that no input can add a line of its own."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from integrations.records import Fqdn, Mac

__all__ = [
    "BootInput",
    "DiscoveryInput",
    "InstallerOptions",
    "KickstartInput",
    "KickstartParameters",
    "PuppetAgent",
    "RhsmClient",
]


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line of printable characters")
    return text


Line = Annotated[str, AfterValidator(_one_line)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s\"'`$\\<>]+$")]
BootPath = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_+-][A-Za-z0-9._+-]*/?)+$")]
"""Relative to the boot server's root."""
Pem = Annotated[
    str,
    StringConstraints(
        pattern=r"^(-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n?)+$"
    ),
]
KernelOptions = Annotated[
    Line,
    # Linux on x86 cuts its command line at 2048 bytes; a quote would end the kickstart's --append.
    StringConstraints(pattern=r"^[^\"]*$", max_length=1900, strip_whitespace=True),
]


DISCOVERY_OPTIONS = (
    "rootflags=loop root=live:/fdi.iso rootfstype=auto ro rd.live.image acpi=force rd.luks=0 "
    "rd.md=0 rd.dm=0 rd.lvm=0 rd.bootif=0 rd.neednet=0 nokaslr nomodeset"
)
"""What foreman-discovery-image needs on any machine; other images ignore it."""


class _Input(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KickstartParameters(_Input):
    """What a host group may say about its kickstart, in its ``parameters``; the rest is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    language: Annotated[Line, StringConstraints(pattern=r"^[A-Za-z0-9_.@-]+$")] = "en_US.UTF-8"
    keyboard: Annotated[Line, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$")] = "us"
    timezone: Annotated[Line, StringConstraints(pattern=r"^[A-Za-z0-9_+/-]+$")] = "Etc/UTC"
    partitioning: tuple[Line, ...] = ("autopart",)
    """Kickstart commands that lay out the disk, one a line."""


class PuppetAgent(_Input):
    """Whom a host's Puppet agent asks, and as whom."""

    server: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
    port: int = 8140
    certname: Fqdn
    environment: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]
    token: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]+$")]
    """Comes with the certificate request; good for nothing else."""


class RhsmClient(_Input):
    """Where a host registers, and as what."""

    hostname: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
    """Of the front; it is compared with the front's certificate."""
    port: int = 443
    prefix: Annotated[str, StringConstraints(pattern=r"^/[a-z]+$")] = "/rhsm"
    ca: Pem | None = None
    """Whom the host must believe; None: it does already."""
    content_url: Url | None = None
    """Start of the addresses of its repositories; None: as its own settings say."""
    owner: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$")]
    keys: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_,-]+$")]
    """Activation keys; one of them is good for this build only."""


class KickstartInput(_Input):
    """All that a kickstart says about one host and one build of it."""

    fqdn: Fqdn
    mac: Mac
    """The interface that is configured; the one the host booted from."""
    gateway_url: Url
    """Where the host calls home, without a slash at the end."""
    token: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$")]
    """The build's one-time token: the only secret with which the host calls home."""
    tree_url: Url
    root_password_hash: Annotated[str, StringConstraints(pattern=r"^(!|\$[A-Za-z0-9./$=,*_-]+)$")]
    """In crypt(3)'s form; ``!`` locks the account."""
    packages: tuple[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9@^._+*:-]+$")], ...]
    """Names, ``@groups`` and ``-names`` to leave out, as ``%packages`` has them."""
    kernel_options: KernelOptions = ""
    """For the installed system."""
    parameters: KickstartParameters = KickstartParameters()
    puppet: PuppetAgent | None = None
    """None: the host has no Puppet agent."""
    rhsm: RhsmClient | None = None
    """None: the host is registered nowhere."""


class BootInput(_Input):
    """What starts one host's installer."""

    mac: Mac
    kernel: BootPath
    initrd: BootPath
    proxy_url: Url
    """Where the host reaches its proxy over plain HTTP; iPXE fetches ``/httpboot/…`` there."""
    options: KernelOptions
    """The installer's kernel command line; ``templates.render.installer_options`` makes it."""


class DiscoveryInput(_Input):
    """What starts the discovery image, on a machine that nobody knows yet."""

    kernel: BootPath
    initrd: BootPath
    proxy_url: Url
    """Where the image posts its facts, and where iPXE fetches ``/httpboot/…``."""
    options: KernelOptions = ""
    """The subnet's own, added to the base options of a live image."""

    @property
    def command_line(self) -> str:
        """The image's kernel command line but for BOOTIF, which each loader adds in its own way."""
        words = (DISCOVERY_OPTIONS, f"proxy.url={self.proxy_url}", "proxy.type=proxy", self.options)
        return " ".join(word for word in words if word)


class InstallerOptions(_Input):
    """What Anaconda is told on its kernel command line."""

    mac: Mac
    kickstart_url: Url
    stage2_url: Url
    """The install tree, or one image file."""
    kernel_options: KernelOptions = ""
    """The host group's own."""
