"""The ``/tftp`` mount: boot configurations and boot files below one root (contract, section 5)."""

from __future__ import annotations

from collections.abc import Awaitable

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from integrations.bootfiles import BootKind, BootRoot
from integrations.errors import OutsideError, Unavailable, Unverified
from integrations.records import BootFile, Outcome, normal_mac
from proxy.answers import Form, ProxyError, done, form_of, refuse
from proxy.logs import Log

__all__ = ["router"]

_KINDS = {kind.lower(): kind for kind in BootKind}
_SCHEMES = ("http://", "https://")
_FETCH = "TFTP: Failed to fetch boot file: "


def router(boot: BootRoot, server_name: str, log: Log) -> APIRouter:
    """Routes of the mount.

    Args:
        boot: the boot server's files.
        server_name: its address for ``next_server``.
        log: takes what the answers leave out.
    """
    routes = APIRouter()

    async def attempt(doing: Awaitable[Outcome], before: str) -> Response:
        try:
            await doing
        except OutsideError as error:
            log.error(str(error))
            raise refuse(error, before) from error
        return done()

    @routes.get("/tftp/serverName")
    async def name() -> Response:
        # Labelled HTML by upstream, and read as JSON by its clients.
        return Response(f'{{"serverName":"{server_name}"}}', media_type="text/html")

    @routes.post("/tftp/fetch_boot_file")
    async def fetch(request: Request) -> Response:
        file = _boot_file(await form_of(request))
        try:
            await boot.fetch(file)
        except Unavailable as error:
            log.error(str(error))
            raise ProxyError(400, f"{_FETCH}No response from {file.url}: {error.said}") from error
        except Unverified as error:
            log.error(str(error))
            raise ProxyError(400, f"{_FETCH}{file.path} is not whole: {error.said}") from error
        except OutsideError as error:
            log.error(str(error))
            raise refuse(error, _FETCH) from error
        return done()

    @routes.delete("/tftp/boot_file/{path:path}")
    async def forget(path: str) -> Response:
        # Ours: upstream keeps every file that it ever fetched.
        return await attempt(boot.forget(path), "TFTP: Failed to remove boot file: ")

    @routes.post("/tftp/create_default")
    @routes.post("/tftp/{kind}/create_default")
    async def create_default(request: Request, kind: str = "syslinux") -> Response:
        kind_of = _kind(kind)
        before = "TFTP: Failed to create PXE default file: "
        menu = (await form_of(request)).get("menu")
        if not menu:
            raise ProxyError(400, f"{before}Default config not supplied")
        return await attempt(boot.write_default(kind_of, menu), before)

    @routes.post("/tftp/{mac}")
    @routes.post("/tftp/{kind}/{mac}")
    async def write(mac: str, request: Request, kind: str = "syslinux") -> Response:
        kind_of, mac = _kind(kind), _mac(mac)
        before = "TFTP: Failed to create pxe config file: "
        form = await form_of(request)
        text = form.get("pxeconfig") or form.get("syslinux_config")
        if not text:
            raise ProxyError(400, f"{before}Invalid parameters received")
        return await attempt(boot.write_kind(kind_of, mac, text), before)

    @routes.get("/tftp/{kind}/{mac}")
    async def read(kind: str, mac: str) -> Response:
        kind_of, mac = _kind(kind), _mac(mac)
        try:
            text = await boot.read(kind_of, mac)
        except OutsideError as error:
            log.error(str(error))
            raise refuse(error, "TFTP: Failed to read pxe config file: ") from error
        if text is None:
            # Upstream names the file here; where our files lie is nobody's business.
            said = f"TFTP: Failed to retrieve pxe config file: File of {kind_of} {mac} not found"
            raise ProxyError(404, said)
        return Response(text, media_type="text/html")

    @routes.delete("/tftp/{mac}")
    @routes.delete("/tftp/{kind}/{mac}")
    async def remove(mac: str, kind: str = "syslinux") -> Response:
        doing = boot.remove(_kind(kind), _mac(mac))
        return await attempt(doing, "TFTP: Failed to delete pxe config file: ")

    return routes


def _kind(given: str) -> BootKind:
    try:
        return _KINDS[given.lower()]
    except KeyError as error:
        raise ProxyError(403, f"Unrecognized pxeboot config type: {given}") from error


def _mac(given: str) -> str:
    try:
        return normal_mac(given)
    except ValueError as error:
        raise ProxyError(403, f"Invalid MAC address: {given}") from error


def _boot_file(form: Form) -> BootFile:
    """What to fetch; ``sha256`` and ``size`` are ours and not known to upstream's clients."""
    prefix, url = form.get("prefix"), form.get("path")
    if not prefix or not url:
        raise ProxyError(400, f"{_FETCH}prefix and path are needed")
    if not url.startswith(_SCHEMES):
        said = f"Cannot fetch boot file, unknown protocol for medium source path: {url}"
        raise ProxyError(400, _FETCH + said)
    path = prefix + ("" if prefix.endswith("/") else "-") + url.rsplit("/", 1)[-1]
    if path.startswith("/") or ".." in path.split("/") or path.endswith("/"):
        raise ProxyError(400, f"{_FETCH}TFTP destination outside of tftproot")
    try:
        return BootFile.model_validate(
            {
                "path": path,
                "url": url,
                "sha256": form.get("sha256"),
                "size": form.get("size") or None,
            }
        )
    except ValidationError as error:
        fault = error.errors()[0]
        raise ProxyError(400, f"{_FETCH}{fault['loc'][-1]}: {fault['msg']}") from error
