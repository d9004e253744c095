"""``/httpboot`` and ``/EFI``: the boot root for HTTP boot, read only."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fastapi import APIRouter, Response
from starlette.responses import FileResponse

from proxy.answers import ProxyError

__all__ = ["router"]


def router(root: Path) -> APIRouter:
    """Routes of both mounts; ranges, HEAD and conditional requests are Starlette's."""
    routes = APIRouter()

    @routes.api_route("/httpboot/{path:path}", methods=["GET", "HEAD"])
    @routes.api_route("/EFI/{path:path}", methods=["GET", "HEAD"])
    async def file(path: str) -> Response:
        found = await asyncio.to_thread(_inside, root, path)
        return FileResponse(found, media_type="application/octet-stream")

    return routes


def _inside(root: Path, path: str) -> Path:
    try:
        found = (root / path.lstrip("/")).resolve()
        if found.is_dir() and found.is_relative_to(root.resolve()):
            raise ProxyError(403, "Directory listing not allowed")
        # Links are followed before this check, so none leads out.
        if not found.is_relative_to(root.resolve()) or not found.is_file():
            raise ProxyError(404, "Not found")
    except (OSError, ValueError) as error:
        # A name that is too long, or holds a NUL.
        raise ProxyError(404, "Not found") from error
    return found
