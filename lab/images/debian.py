"""Debian as raw material: root trees and single packages, from the sources apt is set up with.

Packages are taken apart without being installed here, so that building images changes nothing on
the machine that builds them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from lab.namespace import run

__all__ = ["depends_on", "slim", "sources", "unpack_package", "unpack_tree"]

SUITE = "bookworm"

_NEVER_UNPACKED = ("man", "locale", "doc", "info", "lintian", "bash-completion", "zsh", "bug")

_NEVER_NEEDED = (
    # perl: only scripts of packages that are never configured again.
    "usr/share/perl",
    "usr/share/perl5",
    "usr/lib/*/perl*",
    "usr/lib/*/libperl.*",
    "usr/bin/perl*",
    # Nothing is ever installed by dpkg into these trees.
    "var/lib/dpkg",
    "var/lib/apt",
    "var/cache/apt",
    "var/cache/debconf",
    "usr/bin/dpkg*",
    "usr/share/dpkg",
    "usr/share/debconf",
    "usr/share/lintian",
    "usr/lib/file",
    "usr/share/i18n",
    "usr/share/zoneinfo/right",
    "usr/share/zoneinfo/posix",
    "usr/share/initramfs-tools",
    "usr/share/common-licenses",
    "var/log/*",
    "boot",
)


async def sources() -> str:
    """The Debian archives that apt is configured with on this machine, as a sources list.

    Raises:
        RuntimeError: apt has no index of a Debian archive.
    """
    wanted = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)|$(ORIGIN)|$(CODENAME)"
    printed = await run("apt-get", "indextargets", "--format", wanted, "Created-By: Packages")
    rows = [line.split("|") for line in printed.splitlines()]
    lines = [
        row[0] for row in rows if row[1] == "Debian" and row[2].split("-", maxsplit=1)[0] == SUITE
    ]
    if not lines:
        raise RuntimeError(
            f"apt has no package index of Debian {SUITE} on this machine: run `apt-get update`"
        )
    return "\n".join(lines) + "\n"


async def unpack_tree(tree: Path, packages: Sequence[str]) -> None:
    """Make a bootable-in-principle root tree with these packages and what they depend on.

    Args:
        tree: directory to make.
        packages: Debian package names; the essential ones are always there.
    """
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _NEVER_UNPACKED]
    await run(
        "mmdebstrap",
        "--quiet",
        "--variant=essential",
        "--mode=root",
        "--format=directory",
        *excluded,
        f"--include={','.join(packages)}",
        SUITE,
        str(tree),
        "-",
        stdin=await sources(),
        deadline=900,
    )


def slim(tree: Path, patterns: Iterable[str] = ()) -> None:
    """Take away what neither the installer nor the installed system ever opens.

    Each file costs the guest several milliseconds of emulated processor when it is installed.

    Args:
        tree: the root tree.
        patterns: more globs, relative to the root.
    """
    for pattern in (*_NEVER_NEEDED, *patterns):
        for path in tree.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for empty in ("dev", "proc", "sys", "run", "tmp", "boot"):
        shutil.rmtree(tree / empty, ignore_errors=True)
        (tree / empty).mkdir()
    (tree / "tmp").chmod(0o1777)


async def depends_on(meta: str) -> str:
    """The one package that a meta package stands for today.

    Raises:
        RuntimeError: apt does not know the meta package, or it depends on something else.
    """
    printed = await run("apt-cache", "depends", "--important", meta)
    found = [
        line.split(":", 1)[1].strip()
        for line in printed.splitlines()
        if line.strip().startswith("Depends:")
    ]
    if len(found) != 1:
        raise RuntimeError(f"{meta} should depend on exactly one package, but on {found}")
    return found[0]


async def unpack_package(package: str, into: Path) -> None:
    """Download one package and unpack its files, without installing it."""
    # As root: a directory for apt's own user would be one more thing to make and to clean up.
    await run(
        "sh", "-ec",
        'mkdir -p "$1" && cd "$1" && apt-get -qq -o APT::Sandbox::User=root download "$2"'
        ' && dpkg-deb -x *.deb . && rm *.deb',
        "sh", str(into), package, deadline=300,
    )  # fmt: skip
