"""What Pulp's double synchronises: the files of an upstream tree, fetched and checked for real."""

from __future__ import annotations

import configparser
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

import httpx

from lab.doubles.pulp_tasks import PulpTask, TaskFailure

__all__ = ["Content", "fetch"]

_REPO = "{http://linux.duke.edu/metadata/repo}"
_COMMON = "{http://linux.duke.edu/metadata/common}"


@dataclass(frozen=True)
class Content:
    """One version's files, by path, and its distribution trees as the API shows them."""

    files: Mapping[str, bytes]
    trees: tuple[Mapping[str, object], ...]
    fingerprint: str = ""
    """Of what tells whether upstream changed."""


async def fetch(http: httpx.AsyncClient, url: str, task: PulpTask, before: Content) -> Content:
    """Fetch a tree.

    Args:
        http: asks upstream.
        url: of the tree.
        task: shows the progress.
        before: of the version before; it is returned itself if nothing changed upstream.

    Raises:
        TaskFailure: in the words of the real one.
    """
    base = url.rstrip("/")
    repomd = await _get(http, f"{base}/repodata/repomd.xml")
    described = await _get(http, f"{base}/.treeinfo", optional=True)
    fingerprint = hashlib.sha256(url.encode() + repomd + described).hexdigest()
    if fingerprint == before.fingerprint:
        task.report(
            "sync.was_skipped", "Skipping Sync (no change from previous sync)", done=1, total=1
        )
        return before
    files = {"repodata/repomd.xml": repomd}
    for data in ElementTree.fromstring(repomd):
        await _listed(http, base, data, _REPO, files)
        if data.get("type") == "primary":
            primary = ElementTree.fromstring(_plain(_place(data, _REPO), files))
            for package in primary:
                await _listed(http, base, package, _COMMON, files)
    trees: tuple[Mapping[str, object], ...] = ()
    if described:
        files[".treeinfo"] = described
        parsed = configparser.ConfigParser(interpolation=None, delimiters=("=",))
        parsed.read_string(described.decode())
        checksums = dict(parsed["checksums"]) if "checksums" in parsed else {}
        wanted = [path for path in checksums if path != "repodata/repomd.xml"]
        for done, path in enumerate(wanted, 1):
            expected = checksums[path].removeprefix("sha256:")
            files[path] = _checked(await _get(http, f"{base}/{path}"), expected, f"{base}/{path}")
            task.report("sync.downloading.artifacts", "Downloading Artifacts", done)
        trees = (_tree(parsed, checksums),)
    return Content(files, trees, fingerprint)


def _tree(parsed: configparser.ConfigParser, checksums: Mapping[str, str]) -> dict[str, object]:
    general = parsed["tree"] if "tree" in parsed else parsed["general"]
    images = [
        {
            "name": name,
            "path": path,
            "platforms": general.get("platforms", ""),
            "artifact": {"sha256": checksums[path].removeprefix("sha256:")},
        }
        for section in parsed.sections()
        if section.startswith("images-")
        for name, path in parsed[section].items()
    ]
    return {
        "release_name": parsed.get("release", "name", fallback=""),
        "release_version": parsed.get("release", "version", fallback=""),
        "arch": general["arch"],
        "mainimage": parsed.get("stage2", "mainimage", fallback=None),
        "checksums": [{"path": path, "checksum": value} for path, value in checksums.items()],
        "images": images,
        "variants": [{"variant_id": one} for one in general.get("variants", "").split(",") if one],
    }


def _place(entry: ElementTree.Element, space: str) -> str:
    location = entry.find(f"{space}location")
    href = None if location is None else location.get("href")
    if href is None:
        raise TaskFailure("the repository's metadata names no location")
    return href


def _plain(path: str, files: Mapping[str, bytes]) -> bytes:
    return gzip.decompress(files[path]) if path.endswith(".gz") else files[path]


async def _listed(
    http: httpx.AsyncClient,
    base: str,
    entry: ElementTree.Element,
    space: str,
    files: dict[str, bytes],
) -> None:
    if entry.find(f"{space}location") is None:
        return  # the revision, which stands between the files
    path = _place(entry, space)
    url = f"{base}/{path}"
    files[path] = _checked(await _get(http, url), entry.findtext(f"{space}checksum") or "", url)


def _checked(content: bytes, expected: str, url: str) -> bytes:
    actual = hashlib.sha256(content).hexdigest()
    if actual != expected:
        raise TaskFailure(
            f"[PLP0003] A file located at the url {url} failed validation due to checksum."
            f" Expected '{expected}', Actual '{actual}'"
        )
    return content


async def _get(http: httpx.AsyncClient, url: str, *, optional: bool = False) -> bytes:
    try:
        answer = await http.get(url)
    except httpx.HTTPError as error:
        place = httpx.URL(url)
        raise TaskFailure(
            f"Cannot connect to host {place.host}:{place.port} ssl:default [{error}]"
        ) from error
    if optional and answer.status_code == httpx.codes.NOT_FOUND:
        return b""
    if answer.is_error:
        raise TaskFailure(f"{answer.status_code}, message={answer.reason_phrase!r}, url={url!r}")
    return answer.content
