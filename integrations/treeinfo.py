"""Install trees over plain HTTP: where one keeps its installer's files, and their checksums.

``.treeinfo`` is the file of productmd that every tree of the Red Hat family carries; Anaconda reads
it as well.
"""

from __future__ import annotations

import configparser
import re

import httpx
from pydantic import BaseModel, ConfigDict

from integrations.errors import Refused, Unavailable

__all__ = ["TreeFile", "TreeInfo", "parse_treeinfo", "read_treeinfo"]

_SYSTEM = "install tree"
_MOST = 1_000_000


class TreeFile(BaseModel):
    """One file of a tree."""

    model_config = ConfigDict(frozen=True)

    path: str
    """Relative to the tree."""
    sha256: str


class TreeInfo(BaseModel):
    """What is needed to boot a tree's installer."""

    model_config = ConfigDict(frozen=True)

    kernel: TreeFile
    initrd: TreeFile
    stage2: str | None
    """Path of the installer's root image, relative to the tree; None: in the initrd."""
    stage2_sha256: str | None = None
    """None: there is no stage2, or the tree does not say."""
    variants: tuple[str, ...] = ()


async def read_treeinfo(http: httpx.AsyncClient, url: str, architecture: str) -> TreeInfo:
    """Fetch and read a tree's ``.treeinfo``.

    Args:
        http: a client whose timeouts are the deadlines.
        url: base of the tree.
        architecture: which of its images, e.g. ``x86_64``.

    Raises:
        Unavailable: the server does not answer, or answers 5xx.
        Refused: there is no such tree, or it lacks what is needed.
    """
    address = f"{url.rstrip('/')}/.treeinfo"
    try:
        answer = await http.get(address)
    except httpx.HTTPError as error:
        raise Unavailable(
            system=_SYSTEM,
            address=address,
            operation="read .treeinfo",
            said=str(error) or repr(error),
        ) from error
    if answer.status_code >= 500:
        raise Unavailable(
            system=_SYSTEM,
            address=address,
            operation="read .treeinfo",
            said=f"HTTP {answer.status_code}",
        )
    if answer.status_code != 200 or len(answer.content) > _MOST:
        raise _refused(address, f"HTTP {answer.status_code}, {len(answer.content)} bytes")
    return parse_treeinfo(answer.text, address, architecture)


def parse_treeinfo(text: str, address: str, architecture: str) -> TreeInfo:
    """Read the text of a ``.treeinfo``.

    Raises:
        Refused: it is no such file, or names no images for the architecture, or no checksums.
    """
    parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",))
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise _refused(address, f"not a .treeinfo: {error.message.splitlines()[0]}") from error
    images = f"images-{architecture}"
    if images not in parser:
        others = [name.removeprefix("images-") for name in parser if name.startswith("images-")]
        raise _refused(address, f"no images for {architecture}; it has: {', '.join(others) or '-'}")
    stage2 = parser.get("stage2", "mainimage", fallback=None)
    variants = parser.get("tree", "variants", fallback="").split(",")
    return TreeInfo(
        kernel=_file(parser, address, images, "kernel"),
        initrd=_file(parser, address, images, "initrd"),
        stage2=stage2,
        stage2_sha256=_sha256(parser, stage2) if stage2 else None,
        variants=tuple(one.strip() for one in variants if one.strip()),
    )


def _file(parser: configparser.ConfigParser, address: str, section: str, name: str) -> TreeFile:
    path = parser.get(section, name, fallback=None)
    if path is None or path.startswith("/") or ".." in path.split("/"):
        raise _refused(address, f"[{section}] names no {name} below the tree")
    sha256 = _sha256(parser, path)
    if sha256 is None:
        raise _refused(address, f"[checksums] has no sha256 for {path}, so it cannot be verified")
    return TreeFile(path=path, sha256=sha256)


def _sha256(parser: configparser.ConfigParser, path: str) -> str | None:
    listed = parser.get("checksums", path, fallback="")
    match = re.fullmatch(r"sha256:\s*([0-9a-fA-F]{64})", listed.strip())
    return match[1].lower() if match else None


def _refused(address: str, said: str) -> Refused:
    return Refused(
        system=_SYSTEM, address=address, operation="tell where its boot files are", said=said
    )
