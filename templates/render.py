"""Turns checked values into text that boot loaders and Anaconda read."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2 import TemplateNotFound as JinjaTemplateNotFound

from integrations.records import Loader
from templates.models import BootInput, DiscoveryInput, InstallerOptions, KickstartInput

__all__ = [
    "UnknownTemplate",
    "installer_options",
    "mac_dashed",
    "render_boot_config",
    "render_default",
    "render_kickstart",
    "render_local_boot",
]

_SUFFIX = {Loader.PXELINUX: "pxelinux", Loader.GRUB2: "grub2", Loader.IPXE: "ipxe"}


class UnknownTemplate(LookupError):
    """A host group names a kickstart template that does not exist."""


def _grub(text: str) -> str:
    """Escape what GRUB's shell would take for its own: ``&`` ends a command there."""
    return re.sub(r"([&;|<>{}$\"'\\])", r"\\\1", text)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        # Not HTML: a kickstart with &amp; in it is broken. The models keep lines apart.
        autoescape=False,  # noqa: S701
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["grub"] = _grub
    return environment


def mac_dashed(mac: str) -> str:
    """``52-54-00-aa-bb-01``, as boot loaders name their files."""
    return mac.replace(":", "-")


def installer_options(values: InstallerOptions) -> str:
    """Anaconda's kernel command line, without any loader's escaping.

    ``inst.ks.sendmac`` makes it send its interfaces as ``X-RHN-Provisioning-MAC-n``, so that a
    kickstart fetched by the wrong machine is noticed.
    """
    words = [
        f"BOOTIF=01-{mac_dashed(values.mac)}",
        f"inst.ks={values.kickstart_url}",
        "inst.ks.sendmac",
        "ip=dhcp",
        f"inst.stage2={values.stage2_url}",
        values.kernel_options,
    ]
    return " ".join(word for word in words if word)


def render_kickstart(values: KickstartInput, template: str = "kickstart.ks.j2") -> str:
    """The kickstart of one build; it holds the token and the root password's hash.

    Raises:
        UnknownTemplate: there is no such template.
    """
    if not template.endswith(".ks.j2"):
        raise UnknownTemplate(f"{template!r} is not the name of a kickstart template (….ks.j2)")
    try:
        found = _environment().get_template(template)
    except JinjaTemplateNotFound:
        raise UnknownTemplate(f"there is no kickstart template {template!r}") from None
    return found.render(ks=values)


def render_boot_config(loader: Loader, values: BootInput) -> str:
    """The per-MAC boot configuration that starts the installer."""
    return _environment().get_template(f"install.{_SUFFIX[loader]}.j2").render(boot=values)


def render_local_boot(loader: Loader) -> str:
    """The per-MAC boot configuration that sends an installed host to its own disk."""
    return _environment().get_template(f"local.{_SUFFIX[loader]}.j2").render()


def render_default(loader: Loader, values: DiscoveryInput) -> str:
    """The boot configuration of machines without one of their own: the discovery image.

    GRUB2's and iPXE's first try the machine's own, because their signed or fixed first stage reads
    only one file.
    """
    return _environment().get_template(f"default.{_SUFFIX[loader]}.j2").render(boot=values)
