"""Boot configurations and boot files through a Smart Proxy, read back where it can be read."""

from __future__ import annotations

import hashlib
import json

from pydantic import BaseModel, TypeAdapter

from integrations.records import BootConfig, BootFile, Loader, Outcome, normal_mac
from integrations.smart_proxy.answers import BootFileState
from integrations.smart_proxy.wire import Wire

__all__ = ["TftpCalls", "boot_file_prefix"]

_DEFAULT_FILES = {
    Loader.PXELINUX: "pxelinux.cfg/default",
    Loader.GRUB2: "grub2/grub.cfg",
    Loader.IPXE: "pxelinux.cfg/default.ipxe",
}
_FETCH_SECONDS = 1800.0
"""Our own proxy answers only when the file is whole; an installer's initrd is 100 MB and more."""


class _ServerName(BaseModel):
    serverName: str  # noqa: N815 - spelt so on the wire


_SERVER_NAME = TypeAdapter(_ServerName)


def boot_file_prefix(file: BootFile) -> str:
    """The ``prefix`` that makes a proxy store a file under exactly ``file.path``.

    A proxy names files ``<prefix>-<last part of the URL>``, without the dash after a slash.

    Raises:
        ValueError: no prefix gives that path.

    >>> f = BootFile(path="boot/labos-1-vmlinuz", url="http://example.org/x/vmlinuz", sha256="")
    >>> boot_file_prefix(f)
    'boot/labos-1'
    """
    last = file.url.rsplit("/", 1)[-1]
    for end, keep in ((f"-{last}", 0), (f"/{last}", 1)):
        if last and file.path.endswith(end) and len(file.path) > len(end):
            return file.path[: len(file.path) - len(end) + keep]
    raise ValueError(
        f"a Smart Proxy cannot store {file.url} as {file.path!r}: the path must end with "
        f"'-{last}' or '/{last}'"
    )


class TftpCalls:
    """The ``/tftp`` mount, and ``/httpboot`` for reading what lies below the boot root."""

    _wire: Wire

    async def read_boot_config(self, loader: Loader, mac: str) -> str | None:
        """What one interface's loader is told; None: nothing of its own."""
        answer = await self._wire.find(
            f"/tftp/{loader}/{normal_mac(mac)}",
            operation=f"read the {loader} configuration of {mac}",
            missing="TFTP: Failed to retrieve pxe config file",
        )
        return None if answer is None else answer.text

    async def write_boot_config(self, config: BootConfig) -> Outcome:
        """Tell one interface's loader this text, in place of what it was told before.

        Whoever must not overwrite somebody else's text reads it first.

        Returns:
            CREATED, or ALREADY when it was there word by word.

        Raises:
            Unverified: the proxy said yes, and another text is read back.
        """
        operation = f"write the {config.loader} configuration of {config.mac}"
        if await self.read_boot_config(config.loader, config.mac) == config.text:
            return Outcome.ALREADY
        path = f"/tftp/{config.loader}/{config.mac}"
        await self._wire.ask("POST", path, operation=operation, form={"pxeconfig": config.text})
        found = await self.read_boot_config(config.loader, config.mac)
        if found != config.text:
            raise self._wire.unverified(operation, f"200, but read back: {found!r:.200}")
        return Outcome.CREATED

    async def remove_boot_config(self, loader: Loader, mac: str) -> Outcome:
        """Remove one interface's configuration, whatever it says; REMOVED or ABSENT."""
        operation = f"remove the {loader} configuration of {mac}"
        if await self.read_boot_config(loader, mac) is None:
            return Outcome.ABSENT
        await self._wire.ask("DELETE", f"/tftp/{loader}/{normal_mac(mac)}", operation=operation)
        if await self.read_boot_config(loader, mac) is not None:
            raise self._wire.unverified(operation, "200, but the file is still there")
        return Outcome.REMOVED

    async def read_default(self, loader: Loader) -> str | None:
        """What a loader without a configuration of its own is told, read through HTTP boot.

        Raises:
            Unsupported: this listener does not serve HTTP boot: read it through TFTP.
        """
        operation = f"read the default {loader} configuration"
        body = await self._wire.boot_file(_DEFAULT_FILES[loader], operation=operation)
        if body is None:
            return None
        return b"".join([chunk async for chunk in body]).decode(errors="replace")

    async def write_default(self, loader: Loader, text: str) -> None:
        """Tell a loader what to do for hosts without a configuration of their own.

        The proxy's API cannot read it back: use ``read_default`` or TFTP itself.
        """
        operation = f"write the default {loader} configuration"
        path = f"/tftp/{loader}/create_default"
        await self._wire.ask("POST", path, operation=operation, form={"menu": text})

    async def fetch_boot_file(self, file: BootFile) -> None:
        """Have the proxy fetch a file; then call ``verify_boot_file`` until it holds.

        Our own proxy reads ``sha256`` and ``size`` and answers once the file is whole; an upstream
        one ignores them and answers 200 at once, also for files that do not exist.
        """
        operation = f"fetch {file.url} to {file.path}"
        try:
            prefix = boot_file_prefix(file)
        except ValueError as error:
            raise self._wire.refused(operation, str(error)) from error
        form = {"prefix": prefix, "path": file.url, "sha256": file.sha256}
        if file.size is not None:
            form["size"] = str(file.size)
        await self._wire.ask(
            "POST", "/tftp/fetch_boot_file", operation=operation, form=form, timeout=_FETCH_SECONDS
        )

    async def remove_boot_file(self, path: str) -> None:
        """Remove a boot file that no host needs; one that is gone is success.

        Raises:
            Unsupported: an upstream proxy keeps every file that it ever fetched.
        """
        operation = f"remove the boot file {path}"
        await self._wire.ask("DELETE", f"/tftp/boot_file/{path}", operation=operation)

    async def boot_file_state(self, path: str) -> BootFileState | None:
        """Size and checksum of a file below the boot root, read to its end; None: not there.

        Our own proxy reads it beside the disk; from an upstream one all of it is fetched.
        """
        operation = f"read boot file {path}"
        if told := await self._wire.boot_file_digest(path, operation=operation):
            return BootFileState(path=path, size=told[0], sha256=told[1])
        body = await self._wire.boot_file(path, operation=operation)
        if body is None:
            return None
        size, digest = 0, hashlib.sha256()
        async for chunk in body:
            size += len(chunk)
            digest.update(chunk)
        return BootFileState(path=path, size=size, sha256=digest.hexdigest())

    async def verify_boot_file(self, file: BootFile) -> BootFileState:
        """Read a boot file through HTTP boot and compare it with what it must be.

        Raises:
            Unverified: it is not there yet, not whole, or an older one.
        """
        operation = f"hold {file.path} as {file.url}"
        state = await self.boot_file_state(file.path)
        if state is None:
            raise self._wire.unverified(operation, "the file is not there")
        if file.size not in (None, state.size) or file.sha256.lower() != state.sha256:
            raise self._wire.unverified(
                operation,
                f"found {state.size} bytes with SHA-256 {state.sha256}, "
                f"wanted {file.size or 'any number of'} bytes with {file.sha256}",
            )
        return state

    async def tftp_server_name(self) -> str:
        """The boot server's own address for ``next_server``; empty: use the proxy's host name."""
        answer = await self._wire.ask("GET", "/tftp/serverName", operation="tell its TFTP name")
        # An unset name is no object but the text "" or nothing at all.
        if answer.text.strip() in ("", json.dumps("")):
            return ""
        return answer.parsed(_SERVER_NAME).serverName
