"""The boot root on disk: what each machine's loader is told, written whole or not at all.

File names are those of Foreman's Smart Proxy, so either may stand in the other's place.
"""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import httpx

from integrations.bootfetch import FetchLimits, fetch_boot_file, remove_boot_file
from integrations.bootplaces import publish, readable_directory
from integrations.errors import Exhausted, Refused, Unsupported
from integrations.records import BootConfig, BootFile, Loader, Outcome, normal_mac

__all__ = ["BootKind", "BootRoot", "default_paths", "host_paths"]


class BootKind(StrEnum):
    """Kinds of boot configuration in the Smart Proxy API, in Foreman's spelling.

    ``Loader`` holds those that Rackrise itself writes; the others serve a Foreman that uses us.
    """

    SYSLINUX = "Syslinux"
    PXELINUX = "PXELinux"
    GRUB = "PXEGrub"
    GRUB2 = "PXEGrub2"
    IPXE = "iPXE"
    ZTP = "ZTP"
    POAP = "POAP"


@dataclass(frozen=True)
class _Names:
    """Where a kind's configuration lies below the root; ``format`` fills in the MAC address."""

    host: tuple[str, ...]
    default: tuple[str, ...]


_PXELINUX = _Names(host=("pxelinux.cfg/01-{dashes}",), default=("pxelinux.cfg/default",))
_NAMES: dict[str, _Names] = {
    BootKind.SYSLINUX: _PXELINUX,
    BootKind.PXELINUX: _PXELINUX,
    BootKind.GRUB: _Names(
        host=("grub/menu.lst.01{PLAIN}", "grub/01-{DASHES}"),
        default=("grub/menu.lst", "grub/efidefault"),
    ),
    BootKind.GRUB2: _Names(
        host=("grub2/grub.cfg-01-{dashes}", "grub2/grub.cfg-{colons}"),
        default=("grub2/grub.cfg",),
    ),
    BootKind.IPXE: _Names(
        host=("pxelinux.cfg/01-{dashes}.ipxe",), default=("pxelinux.cfg/default.ipxe",)
    ),
    BootKind.ZTP: _Names(host=("ztp.cfg/{PLAIN}", "ztp.cfg/{PLAIN}.cfg"), default=("ztp.cfg",)),
    # Upstream's default for POAP was never observed, so there is none.
    BootKind.POAP: _Names(host=("poap.cfg/{PLAIN}",), default=()),
}


def host_paths(kind: BootKind | Loader, mac: str) -> tuple[str, ...]:
    """Files below the root that hold one interface's configuration, all with the same text.

    Raises:
        ValueError: that is no MAC address.

    >>> host_paths(BootKind.GRUB2, "52-54-00-AA-BB-01")
    ('grub2/grub.cfg-01-52-54-00-aa-bb-01', 'grub2/grub.cfg-52:54:00:aa:bb:01')
    """
    colons = normal_mac(mac)
    dashes, plain = colons.replace(":", "-"), colons.replace(":", "")
    return tuple(
        name.format(colons=colons, dashes=dashes, DASHES=dashes.upper(), PLAIN=plain.upper())
        for name in _NAMES[kind].host
    )


def default_paths(kind: BootKind | Loader) -> tuple[str, ...]:
    """Files below the root that hosts without a configuration of their own read."""
    return _NAMES[kind].default


class BootRoot:
    """The files that a boot server gives out.

    Args:
        root: the directory; it must exist.
        client: fetches boot files; its time limits hold for each step of a download.
        limits: what a download may take.

    All methods raise Refused where the disk or the rights on it do not allow what is asked, and
    where a MAC address or path is not valid.
    """

    def __init__(self, root: Path, client: httpx.AsyncClient, limits: FetchLimits) -> None:
        self._root = root
        self._client = client
        self._limits = limits

    async def read(self, kind: BootKind | Loader, mac: str) -> str | None:
        """One interface's configuration; None: it has none, or not in all its files the same."""
        with self._translated(f"read the {kind} configuration of {mac}"):
            return await asyncio.to_thread(self._read_all, host_paths(kind, mac))

    async def write(self, config: BootConfig) -> Outcome:
        """Replace one interface's configuration: CREATED, or ALREADY if it was there word by word.

        Whoever must not overwrite somebody else's text reads it first.
        """
        return await self.write_kind(config.loader, config.mac, config.text)

    async def write_kind(self, kind: BootKind | Loader, mac: str, text: str) -> Outcome:
        """As ``write``, for every kind that the Smart Proxy API knows."""
        with self._translated(f"write the {kind} configuration of {mac}"):
            return await asyncio.to_thread(self._write_all, host_paths(kind, mac), text)

    async def remove(self, kind: BootKind | Loader, mac: str) -> Outcome:
        """Remove one interface's configuration, whatever it says: REMOVED or ABSENT."""
        with self._translated(f"remove the {kind} configuration of {mac}"):
            return await asyncio.to_thread(self._remove_all, host_paths(kind, mac))

    async def read_default(self, kind: BootKind | Loader) -> str | None:
        """What hosts without a configuration of their own are told."""
        with self._translated(f"read the default {kind} configuration"):
            return await asyncio.to_thread(self._read_all, self._defaults(kind))

    async def write_default(self, kind: BootKind | Loader, text: str) -> Outcome:
        """Replace what hosts without a configuration of their own are told."""
        with self._translated(f"write the default {kind} configuration"):
            return await asyncio.to_thread(self._write_all, self._defaults(kind), text)

    async def fetch(self, file: BootFile) -> Outcome:
        """Have a boot file lie there whole before this returns; see ``fetch_boot_file``."""
        with self._translated(f"fetch {file.url} to {file.path}"):
            return await fetch_boot_file(self._client, self._root, file, self._limits)

    async def forget(self, path: str) -> Outcome:
        """Remove a boot file that no host needs any more: REMOVED or ABSENT.

        Raises:
            Refused: the path is not below ``boot/``, where fetched files lie.
        """
        operation = f"remove the boot file {path}"
        with self._translated(operation):
            if not path.startswith("boot/"):
                raise ValueError(f"{path!r} is not below boot/, where fetched files lie")
            return await remove_boot_file(self._root, path)

    def _defaults(self, kind: BootKind | Loader) -> tuple[str, ...]:
        paths = default_paths(kind)
        if not paths:
            raise Unsupported(
                system="boot root",
                address=str(self._root),
                operation=f"write the default {kind} configuration",
                said=f"{kind} has no default",
            )
        return paths

    def _read_all(self, paths: tuple[str, ...]) -> str | None:
        texts = {_text(self._root / path) for path in paths}
        return texts.pop() if len(texts) == 1 else None

    def _write_all(self, paths: tuple[str, ...], text: str) -> Outcome:
        if self._read_all(paths) == text:
            return Outcome.ALREADY
        for path in paths:
            _replace(self._root / path, text)
        return Outcome.CREATED

    def _remove_all(self, paths: tuple[str, ...]) -> Outcome:
        there = [file for path in paths if (file := self._root / path).exists()]
        for file in there:
            file.unlink(missing_ok=True)
        return Outcome.REMOVED if there else Outcome.ABSENT

    @contextmanager
    def _translated(self, operation: str) -> Iterator[None]:
        place = {"system": "boot root", "address": str(self._root), "operation": operation}
        try:
            yield
        except ValueError as error:
            raise Refused(**place, said=str(error)) from error
        except OSError as error:
            kind = Exhausted if error.errno in (errno.ENOSPC, errno.EDQUOT) else Refused
            raise kind(**place, said=f"{error.filename or ''}: {error.strerror}") from error


def _text(file: Path) -> str | None:
    try:
        return file.read_bytes().decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None


def _replace(file: Path, text: str) -> None:
    """Write so that a loader reads the old text or the new one, also after a power cut."""
    readable_directory(file.parent)
    with tempfile.NamedTemporaryFile(prefix=f".{file.name}.", dir=file.parent, delete=False) as out:
        try:
            out.write(text.encode())
            publish(out, file)
        except BaseException:
            os.unlink(out.name)
            raise
