"""Examines those who keep what hosts are: Puppet's CA and Candlepin."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from prefect import task
from sqlmodel import select

from inventory.models import Candlepin, HostGroup, Puppet
from tasks.credentials import candlepin_settings, puppet_settings
from tasks.doctor.checked import Checked
from tasks.doctor.examination import Examination
from tasks.doctor.probing import Mark, mark_of
from tasks.means import means

__all__ = ["examine_candlepins", "examine_puppets"]

_BLOCK = "its credentials are in Prefect"
_CERTIFICATE = "its CA accepts our certificate and tells what it has of a name"
_PENDING = "we may list the requests that wait"
_NORMAL = "it takes changes"
_LOGIN = "it accepts our credentials"


async def _in_turn(
    exam: Examination, place: str, checks: Mapping[str, Callable[[], Awaitable[str]]]
) -> None:
    """One after the other; after a failure the rest is not tried."""
    failed = ""
    for check, how in checks.items():
        if failed:
            exam.not_tried(place, check, f"not well: {failed}")
        elif not await exam.look(place, check, how):
            failed = check


@task(name="Examine Puppet's CAs", persist_result=False)
async def examine_puppets() -> list[Checked]:
    """Ask each CA what it has of a name that no host has, with our certificate."""
    async with means().sessions() as session:
        found, mark = list(await session.exec(select(Puppet))), await mark_of(session)
    exam = Examination("Puppet")
    await exam.all(_puppet(exam, one, mark) for one in found)
    return exam.found


async def _puppet(exam: Examination, row: Puppet, mark: Mark) -> None:
    async def block() -> str:
        await puppet_settings(row)
        return row.credentials

    async def status() -> str:
        there = await (await means().puppets.of(row)).status(mark.label)
        return f"of {mark.label} it has {there or 'nothing'}"

    async def pending() -> str:
        return f"{len(await (await means().puppets.of(row)).pending())} requests wait"

    checks = {_BLOCK: block, _CERTIFICATE: status, _PENDING: pending}
    await _in_turn(exam, f"{row.name}, {row.url}", checks)


@task(name="Examine Candlepins", persist_result=False)
async def examine_candlepins() -> list[Checked]:
    """See that each Candlepin takes changes, and which organizations of host groups it has."""
    async with means().sessions() as session:
        found, mark = list(await session.exec(select(Candlepin))), await mark_of(session)
        groups = list(await session.exec(select(HostGroup.candlepin_id, HostGroup.owner)))
    exam = Examination("Candlepin")
    await exam.all(
        _candlepin(exam, one, sorted({o for its, o in groups if its == one.id and o}), mark)
        for one in found
    )
    return exam.found


async def _candlepin(exam: Examination, row: Candlepin, owners: Sequence[str], mark: Mark) -> None:
    async def block() -> str:
        await candlepin_settings(row)
        return row.credentials

    async def normal() -> str:
        status = await (await means().candlepins.of(row)).require_normal()
        return f"its mode is {status.mode}"

    async def login() -> str:
        candlepin = await means().candlepins.of(row)
        if not owners:
            await candlepin.owner(mark.label)
            return "asked for an organization that is not there, as it says"
        said = []
        for key in owners:
            there = await candlepin.owner(key)
            said.append(f"{key} is {'there' if there else 'made with its first host'}")
        return "; ".join(said)

    checks = {_BLOCK: block, _NORMAL: normal, _LOGIN: login}
    await _in_turn(exam, f"{row.name}, {row.url}", checks)
