"""RPM packages made from root trees, and the repository that holds them.

Debian's files in RPM packages are an operating system that dnf installs for real and that needs
nothing from outside this machine's own package mirror.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab.namespace import run

__all__ = ["Package", "build_package", "build_repository", "spec"]


@dataclass(frozen=True)
class Package:
    """What an RPM package of the lab says about itself.

    Args:
        name: the package's name.
        summary: one line.
        provides: other names under which it is found.
        requires: names that it needs.
        compressed: whether its files are compressed already.
    """

    name: str
    summary: str
    provides: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    compressed: bool = False


# No scriptlets: they would need a shell in a root that is still empty. MD5 digests and fast
# decompression because the guest's processor is emulated. Spec scripts run under dash.
_SPEC = """\
Name: {name}
Version: 9
Release: 1
Summary: {summary}
License: various
BuildArch: x86_64
AutoReqProv: no
{relations}
%global __os_install_post %{{nil}}
%global debug_package %{{nil}}
%global _build_id_links none
%global _binary_filedigest_algorithm 1
%global _binary_payload {payload}
%description
{summary}.
%install
cp -a {tree}/. %{{buildroot}}/
%files
{files}
"""


def spec(package: Package, tree: Path) -> str:
    """The spec file of a package that holds exactly what is in a tree."""
    relations = [f"Provides: {name}" for name in package.provides]
    relations += [f"Requires: {name}" for name in package.requires]
    return _SPEC.format(
        name=package.name,
        summary=package.summary,
        relations="\n".join(relations),
        payload="w0.gzdio" if package.compressed else "w3.zstdio",
        tree=tree,
        files="/",
    )


async def build_package(package: Package, tree: Path, into: Path) -> None:
    """Build the RPM of one package from a tree; owners and modes are kept.

    Args:
        package: what it says about itself.
        tree: its files, from the root down.
        into: existing directory that gets the RPM.

    Raises:
        RuntimeError: rpmbuild failed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        # Debian's rpm keeps its database elsewhere unless it is told not to.
        (home / ".rpmmacros").write_text(f"%_dbpath {home}/db\n%_topdir {home}/rpm\n")
        (home / "package.spec").write_text(spec(package, tree))
        await run(
            "env", f"HOME={home}", "rpmbuild", "-bb", "--quiet", str(home / "package.spec"),
            deadline=600,
        )  # fmt: skip
        await asyncio.to_thread(_move_packages, home / "rpm" / "RPMS", into)


def _move_packages(source: Path, into: Path) -> None:
    for rpm in source.rglob("*.rpm"):
        shutil.move(rpm, into / rpm.name)


async def build_repository(directory: Path, groups: Path) -> None:
    """Write the metadata by which dnf finds the packages and groups of a directory."""
    await run("createrepo_c", "-q", "--compress-type=gz", "-g", str(groups), str(directory))
