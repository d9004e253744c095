"""The library ``rhsm`` for Debian's own Python: a client of Candlepin that we did not write.

It is old, under another licence, and half of it is C, so it never enters our environment. It is
built once and kept in the cache; tests run it in a process of its own, and machines of the lab
install it as a package.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Cache, key
from lab.images.initramfs import GUEST
from lab.namespace import run

__all__ = ["CLIENT", "PARTS", "Rhsm", "rhsm_library"]

LOCK = Path(__file__).parents[1] / "rhsm.lock"
"""Exact versions with hashes, made from ``rhsm.in``; its first lines say how."""
CLIENT = GUEST / "rhsm" / "subscription-manager"
"""The program around it."""
PARTS = ("rhsm", "iniparse", "dateutil")
"""What it needs of ``site``."""
_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Rhsm:
    """Where it lies, for whoever runs it."""

    python: Path
    site: Path
    """Directory of its modules."""


async def rhsm_library(cache: Cache) -> Rhsm:
    """The library, built on first use.

    Raises:
        RuntimeError: pip or the compiler failed; the message holds what they printed.
    """
    version = await run(_PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    made = await cache.product("rhsm", key(LOCK, version), _install, deadline=600)
    return Rhsm(made / "bin" / "python3", made / "lib" / f"python{version.strip()}/site-packages")


async def _install(directory: Path) -> None:
    # The library comes as source: it is built with the lock's setuptools, for Debian's Python.
    text = LOCK.read_text()
    pinned = re.search(r"^setuptools==.*?(?=^    # via|^\S*==|\Z)", text, re.M | re.S)
    if pinned is None:
        raise RuntimeError(f"{LOCK} does not pin setuptools")
    builder = directory / "setuptools.lock"
    builder.write_text(pinned[0])
    await run(_PYTHON, "-m", "venv", "--without-pip", str(directory))
    python = str(directory / "bin" / "python3")
    for lock in (builder, LOCK):
        await run(
            sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps",
            "--no-build-isolation", "--require-hashes", "-r", str(lock),
            deadline=300,
        )  # fmt: skip
