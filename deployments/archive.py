"""The one file that a backup is: dumps, key and a manifest with their checksums, in a plain zip.

It holds secrets: the installation's key, and with Prefect's database all credentials and the key
that opens them. So it is its owner's to read only, from its first byte on.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, ValidationError

from deployments.dumping import BackupError

__all__ = [
    "INVENTORY",
    "PREFECT",
    "TOKEN_KEY",
    "Archive",
    "Manifest",
    "Writer",
    "opened",
    "written",
]

INVENTORY, PREFECT, TOKEN_KEY = "rackrise.dump", "prefect.dump", "token.key"
_MANIFEST = "manifest.json"
_FORMAT = 1
_CHUNK = 1 << 20


class Member(BaseModel):
    """One part, as it was when it was written."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sha256: str
    bytes: int


class Manifest(BaseModel):
    """What is in a backup, and what it takes to read it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = _FORMAT
    made_at: str
    rackrise: str
    """Version that made it."""
    revision: str
    """Shape of the inventory's tables."""
    prefect_revision: str | None = None
    server: int
    """First part of PostgreSQL's version."""
    members: dict[str, Member] = {}


class Writer:
    """Takes the parts of a backup."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._zip = archive
        self.members: dict[str, Member] = {}

    def add(self, name: str, give: Callable[[Callable[[bytes], object]], object]) -> None:
        """Add a part that is given piece by piece."""
        digest, size = hashlib.sha256(), 0
        with self._zip.open(name, "w", force_zip64=True) as member:

            def take(piece: bytes) -> None:
                nonlocal size
                digest.update(piece)
                size += len(piece)
                member.write(piece)

            give(take)
        self.members[name] = Member(sha256=digest.hexdigest(), bytes=size)

    def end(self, manifest: Manifest) -> None:
        """Say what was added."""
        told = manifest.model_copy(update={"members": self.members})
        self._zip.writestr(_MANIFEST, told.model_dump_json(indent=1))


@contextmanager
def written(
    file: Path, *, force: bool, check: Callable[[Archive], object] = lambda _: None
) -> Iterator[Writer]:
    """Write a backup beside its place, and put it there when it is whole and was read again.

    Args:
        file: its place.
        force: whether a file may be there already; it stays until the new one is whole.
        check: looks at what was written, before it is anywhere.

    Raises:
        BackupError: it is there already, or cannot be written.
    """
    if file.exists() and not force:
        raise BackupError(f"{file} is there already; --force overwrites it")
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        with _errors_of(file):
            handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w+b") as out:
                with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
                    yield Writer(archive)
                out.flush()
                os.fsync(out.fileno())
            with opened(partial) as there:
                check(there)
            _put(partial, file, force=force)
    finally:
        partial.unlink(missing_ok=True)


def _put(partial: Path, file: Path, *, force: bool) -> None:
    if force:
        partial.replace(file)
    else:
        try:
            # Fails where somebody else has put a file there meanwhile, which a rename would not.
            os.link(partial, file)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP) or file.exists():
                raise
            partial.replace(file)  # not every file system has links
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def _errors_of(file: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise BackupError(f"{error.filename2 or error.filename} is there already") from error
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else str(error)
        raise BackupError(f"{file} cannot be written: {why}") from error


class Archive:
    """A backup that is whole."""

    def __init__(self, archive: zipfile.ZipFile, manifest: Manifest) -> None:
        self._zip = archive
        self.manifest = manifest

    def __contains__(self, name: str) -> bool:
        return name in self.manifest.members

    def read(self, name: str) -> IO[bytes]:
        """A part, from its beginning."""
        return self._zip.open(name)


@contextmanager
def opened(file: Path) -> Iterator[Archive]:
    """Open a backup, once all of it was compared with its checksums.

    Raises:
        BackupError: it is no backup, is damaged, or cannot be read.
    """
    try:
        archive = zipfile.ZipFile(file)
    except OSError as error:
        raise BackupError(f"{file} cannot be read: {error}") from error
    except zipfile.BadZipFile as error:
        raise BackupError(f"{file} is no backup of Rackrise, or was cut off: {error}") from error
    with archive:
        manifest = _manifest(file, archive)
        for name, member in manifest.members.items():
            if _digest(archive, name) != (member.sha256, member.bytes):
                raise BackupError(f"{file} is damaged: {name} is not what was written")
        yield Archive(archive, manifest)


def _manifest(file: Path, archive: zipfile.ZipFile) -> Manifest:
    try:
        told = json.loads(archive.read(_MANIFEST))
        if isinstance(told, dict) and told.get("format", 0) > _FORMAT:
            raise BackupError(f"{file} was made by a newer Rackrise, {told.get('rackrise')}")
        manifest = Manifest.model_validate(told)
    except (KeyError, ValueError, zipfile.BadZipFile, ValidationError, TypeError) as error:
        raise BackupError(f"{file} is no backup of Rackrise: {error}") from error
    if INVENTORY not in manifest.members:
        raise BackupError(f"{file} is no backup of Rackrise: no inventory is in it")
    return manifest


def _digest(archive: zipfile.ZipFile, name: str) -> tuple[str, int] | None:
    digest, size = hashlib.sha256(), 0
    try:
        with archive.open(name) as member:
            while piece := member.read(_CHUNK):
                digest.update(piece)
                size += len(piece)
    except (KeyError, EOFError, zipfile.BadZipFile):
        return None
    return digest.hexdigest(), size
