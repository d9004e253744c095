"""``/httpboot`` and ``/EFI``: the boot root for HTTP boot, read only."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.responses import FileResponse

from proxy.answers import ProxyError

__all__ = ["router"]


def router(root: Path) -> APIRouter:
    """Routes of both mounts; ranges, HEAD and conditional requests are Starlette's.

    A HEAD that asks for it (RFC 9530, ``Want-Repr-Digest: sha-256=1``) is told the checksum of the
    file as it lies on the disk now, so that nobody need carry 100 MB to know that they are whole.
    """
    routes = APIRouter()

    @routes.api_route("/httpboot/{path:path}", methods=["GET", "HEAD"])
    @routes.api_route("/EFI/{path:path}", methods=["GET", "HEAD"])
    async def file(request: Request, path: str) -> Response:
        found = await asyncio.to_thread(_inside, root, path)
        answer = FileResponse(found, media_type="application/octet-stream")
        if request.method == "HEAD" and "sha-256" in request.headers.get("want-repr-digest", ""):
            answer.headers["Repr-Digest"] = await asyncio.to_thread(_digest, found)
        return answer

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


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").digest()
    return f"sha-256=:{base64.b64encode(digest).decode()}:"
