"""Places below the boot root: none outside of it, readable for everybody, whole at any moment."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import IO

__all__ = ["boot_path", "publish", "readable_directory"]


def boot_path(root: Path, path: str) -> Path:
    """The place of a path below the root, wherever links lead.

    Raises:
        ValueError: it would lie outside, or is no name that a boot file may have.
    """
    parts = PurePosixPath(path).parts
    if not parts or "\0" in path or path.endswith("/") or parts[-1].startswith("."):
        raise ValueError(f"{path!r} is no file name below the boot root")
    place = root / path
    inside = place.parent.resolve().is_relative_to(root.resolve())
    if path.startswith("/") or ".." in parts or not inside:
        raise ValueError(f"{path!r} lies outside of the boot root")
    return place


def readable_directory(path: Path) -> None:
    """Make a directory that the TFTP server's ``nobody`` may enter, whatever our own umask."""
    if path.is_dir():
        return
    readable_directory(path.parent)
    path.mkdir(exist_ok=True)
    path.chmod(0o755)


def publish(out: IO[bytes], place: Path, changed: float | None = None) -> None:
    """Give a finished file its name, so that a loader reads the old one or this one.

    Args:
        out: the open file, in the same directory under a name of its own.
        place: the name that loaders ask for.
        changed: its time of change in seconds since 1970; None: now.
    """
    out.flush()
    os.fchmod(out.fileno(), 0o644)
    if changed is not None:
        os.utime(out.fileno(), (changed, changed))
    # Without this a power cut could leave the new name with nothing in it.
    os.fsync(out.fileno())
    os.replace(out.name, place)
