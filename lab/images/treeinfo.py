"""The ``.treeinfo`` of an install tree: what is where, and the checksums to verify it by."""

from __future__ import annotations

import configparser
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

__all__ = ["IMAGES", "treeinfo"]

IMAGES: Mapping[str, str] = {
    "kernel": "images/pxeboot/vmlinuz",
    "initrd": "images/pxeboot/initrd.img",
    "mainimage": "images/install.img",
}
"""The names by which a ``.treeinfo`` knows an install tree's images, and where they lie."""


def treeinfo(tree: Path, *, name: str, version: str, timestamp: int) -> str:
    """Describe an install tree as productmd's format 1.2 does.

    Args:
        tree: the directory that holds the images of ``IMAGES`` and the repository.
        name: the operating system's name.
        version: the operating system's version.
        timestamp: when the tree was made, in seconds since 1970.
    """
    files = (*IMAGES.values(), "repodata/repomd.xml")
    checksums = {file: f"sha256:{_sha256(tree / file)}" for file in sorted(files)}
    made = str(timestamp)
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read_dict(
        {
            "checksums": checksums,
            "general": {
                "arch": "x86_64",
                "family": name,
                "name": f"{name} {version}",
                "packagedir": "Packages",
                "platforms": "x86_64",
                "repository": ".",
                "timestamp": made,
                "variant": "BaseOS",
                "version": version,
            },
            "header": {"type": "productmd.treeinfo", "version": "1.2"},
            "images-x86_64": {kind: IMAGES[kind] for kind in ("kernel", "initrd")},
            "release": {"name": name, "short": name, "version": version},
            "stage2": {"mainimage": IMAGES["mainimage"]},
            "tree": {
                "arch": "x86_64",
                "build_timestamp": made,
                "platforms": "x86_64",
                "variants": "BaseOS",
            },
            "variant-BaseOS": {
                "id": "BaseOS",
                "name": "BaseOS",
                "packages": "Packages",
                "repository": ".",
                "type": "variant",
                "uid": "BaseOS",
            },
        }
    )
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
