"""Examines install trees, plain and in Pulp, and what we may do there."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from functools import partial

import httpx
from prefect import task
from sqlmodel import select

from integrations.pulp import Pulp
from integrations.treeinfo import TreeInfo, read_treeinfo
from inventory.models import InstallTree
from inventory.models import Pulp as PulpRow
from tasks.credentials import pulp_settings
from tasks.doctor.checked import Checked
from tasks.doctor.examination import LOOK_SECONDS, PROBE_SECONDS, Examination
from tasks.doctor.served import require_served
from tasks.means import means

__all__ = ["examine_pulps", "examine_trees"]

_INFO = ".treeinfo names kernel and initrd"
_FILE = "its {0} is there"
_BLOCK = "its credentials are in Prefect"
_STATUS = "it answers, and lets us log in"
_LISTS = "we may list what provisioning lists"
_TREE = "the distribution {0} serves the tree {1}"


@task(name="Examine install trees", persist_result=False)
async def examine_trees() -> list[Checked]:
    """Read each plain tree as inception does, and see that its boot files are there."""
    async with means().sessions() as session:
        rows = await session.exec(select(InstallTree))
        trees = [one for one in rows if one.url is not None]
    exam = Examination("tree")
    async with httpx.AsyncClient(timeout=LOOK_SECONDS) as http:
        await exam.all(_tree(exam, http, one) for one in trees)
    return exam.found


async def _tree(exam: Examination, http: httpx.AsyncClient, tree: InstallTree) -> None:
    url = (tree.url or "").rstrip("/")
    place = f"{tree.name}, {url}"
    found: list[TreeInfo] = []

    async def read() -> str:
        info = await read_treeinfo(http, url, tree.architecture)
        found.append(info)
        return f"{info.kernel.path} and {info.initrd.path}, with checksums"

    await exam.look(place, _INFO, read)
    await _files(exam, http, place, url, found)


async def _files(
    exam: Examination, http: httpx.AsyncClient, place: str, url: str, found: Sequence[TreeInfo]
) -> None:
    for what in ("kernel", "initrd"):
        if not found:
            exam.not_tried(place, _FILE.format(what), ".treeinfo cannot be read")
            continue
        file = found[0].kernel if what == "kernel" else found[0].initrd
        address = f"{url}/{file.path}"
        await exam.look(place, _FILE.format(what), partial(require_served, http, address, "tree"))


@task(name="Examine Pulps", persist_result=False)
async def examine_pulps() -> list[Checked]:
    """Log in to each Pulp, list what provisioning lists, and find the trees that it is to serve."""
    async with means().sessions() as session:
        pulps = list(await session.exec(select(PulpRow)))
        trees = list(await session.exec(select(InstallTree)))
    exam = Examination("Pulp")
    await exam.all(
        _pulp(exam, one, [tree for tree in trees if tree.pulp_id == one.id]) for one in pulps
    )
    return exam.found


async def _pulp(exam: Examination, row: PulpRow, trees: Sequence[InstallTree]) -> None:
    place = f"{row.name}, {row.url}"

    async def block() -> str:
        return f"{row.credentials}: user {(await pulp_settings(row)).user}"

    async def status() -> str:
        found = await (await means().pulps.of(row)).status()
        return f"{len(found.workers)} workers, {len(found.content_apps)} content apps"

    async def lists() -> str:
        pulp = await means().pulps.of(row)
        known, pins = await pulp.distributions(), await pulp.pins()
        return f"{len(known)} distributions, {len(pins)} of them pins"

    checks = {_BLOCK: block, _STATUS: status, _LISTS: lists}
    failed = ""
    for check, how in checks.items():
        if failed:
            exam.not_tried(place, check, failed)
        elif not await exam.look(place, check, how):
            failed = f"not well: {check}"
    for tree in trees:
        check = _TREE.format(tree.base_path, tree.name)
        if failed:
            exam.not_tried(place, check, failed)
    if not failed:
        await exam.all(_served(exam, row, place, one) for one in trees)


async def _served(exam: Examination, row: PulpRow, place: str, tree: InstallTree) -> None:
    found: list[tuple[str, TreeInfo]] = []

    async def look() -> str:
        pulp: Pulp = await means().pulps.of(row)
        distribution = await pulp.distribution(tree.base_path or "")
        publication = await pulp.publication_of(distribution)
        info = await pulp.boot_tree(
            distribution, architecture=tree.architecture, variant=tree.variant
        )
        found.append((distribution.base_url.rstrip("/"), info))
        return f"{distribution.name} serves {publication.href}: {info.kernel.path}"

    check = _TREE.format(tree.base_path, tree.name)
    await exam.look(place, check, look, seconds=PROBE_SECONDS)
    if found:
        url, info = found[0]
        tls = ssl.create_default_context(cafile=row.ca) if row.ca else True
        # As proxies fetch them: without a login.
        async with httpx.AsyncClient(timeout=LOOK_SECONDS, verify=tls) as http:
            await _files(exam, http, f"{place}, {tree.name}", url, [info])
