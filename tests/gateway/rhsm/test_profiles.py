"""What hosts report to have: kept, compared, and what it completes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlmodel import col, select

from inventory import profiles, repositories, steps
from inventory.arrows import Evidence, Phase
from inventory.builds import close_build
from inventory.due import due
from inventory.life import HostState
from inventory.models import BuildOutcome, CallbackKind, Host, Profile, ProfileChange, StepState
from inventory.profiles import ProfileRow
from tests.gateway.conftest import token
from tests.gateway.rhsm.conftest import Fronted, Identity
from tests.inventory.world import later

PACKAGE = {
    "name": "lab-hello",
    "version": "1.2",
    "release": "3",
    "arch": "noarch",
    "epoch": 0,
    "vendor": None,
}
MODULE = {"name": "ruby", "stream": "3.1", "version": "1", "context": "a", "arch": "x86_64"}
REPOSITORY = {"repositoryid": "baseos", "baseurl": ["https://pulp.example.org/baseos/9"]}


def combined(**parts: list[Any]) -> list[dict[str, Any]]:
    """As subscription-manager 1.30 sends it."""
    return [{"content_type": name, "profile": one} for name, one in parts.items()]


WHOLE = combined(rpm=[PACKAGE], enabled_repos=[REPOSITORY], modulemd=[MODULE])


async def put(front: Fronted, identity: Identity, body: Any, path: str = "profiles") -> int:
    answer = await front.ask("PUT", f"/consumers/{identity.uuid}/{path}", identity, json=body)
    if answer.status_code == 200:
        assert answer.json()["uuid"] == identity.uuid
    else:
        assert await front.errors(answer)
    return answer.status_code


async def kept(front: Fronted, host: Host) -> dict[str, list[Any]]:
    async with front.world.database.sessions() as session:
        found = await session.exec(select(Profile).where(Profile.host_id == host.id))
        return {one.content_type: one.items for one in found}


async def changes(front: Fronted, host: Host) -> list[tuple[str, list[Any], list[Any]]]:
    async with front.world.database.sessions() as session:
        found = await session.exec(
            select(ProfileChange)
            .where(ProfileChange.host_id == host.id)
            .order_by(col(ProfileChange.id))
        )
        return [(one.content_type, one.added, one.removed) for one in found]


async def test_a_combined_profile_completes_both_arrows(front: Fronted) -> None:
    identity, host, build = await front.registered(1)
    assert await put(front, identity, WHOLE) == 200
    assert await kept(front, host) == {
        "rpm": [PACKAGE],
        "enabled_repos": [REPOSITORY],
        "modulemd": [MODULE],
    }
    found = await front.world.steps(build)
    for number, seen in ((25, "1 packages"), (26, "1 repositories")):
        assert (found[number].state, found[number].evidence) == (
            StepState.DONE,
            Evidence.OBSERVED,
        )
        assert found[number].seen.startswith(seen)
    # It is no business of Candlepin's, which would answer 501.
    assert not any("profiles" in one.url.path for one in front.asked)


async def test_the_repositories_of_a_report_wait_to_be_compared(front: Fronted) -> None:
    identity, host, _ = await front.registered(1)
    await put(front, identity, WHOLE)
    async with front.world.database.sessions() as session:
        (row,) = await repositories.of_host(session, host.id)
    assert (row.name, row.url) == ("baseos", "https://pulp.example.org/baseos/9")
    assert row.known_as == "not compared yet"


async def test_the_same_again_changes_nothing_and_another_tells_what_did(front: Fronted) -> None:
    identity, host, _ = await front.registered(1)
    for _ in range(3):
        assert await put(front, identity, WHOLE) == 200
    assert await changes(front, host) == []
    newer = {**PACKAGE, "version": "1.3"}
    other = {**PACKAGE, "name": "other"}
    await put(front, identity, combined(rpm=[newer, other]))
    assert await changes(front, host) == [("rpm", [newer, other], [PACKAGE])]
    # Of what a report does not speak, the last word stays.
    assert (await kept(front, host))["modulemd"] == [MODULE]
    await put(front, identity, combined(rpm=[]))
    assert (await kept(front, host))["rpm"] == []
    async with front.world.database.sessions() as session:
        rows = {one.content_type: one for one in await profiles.of_host(session, host.id)}
    row = rows["rpm"]
    assert row == ProfileRow("rpm", 0, row.received_at, row.changed_at, 0, 2)
    assert (rows["modulemd"].count, rows["modulemd"].added) == (1, 0)


async def test_older_clients_tell_the_same_in_parts(front: Fronted) -> None:
    identity, host, build = await front.registered(1)
    assert await put(front, identity, [PACKAGE], "packages") == 200
    found = await front.world.steps(build)
    assert (found[25].state, found[26].state) == (StepState.DONE, StepState.PENDING)
    report = {"enabled_repos": {"repos": [REPOSITORY]}}
    path = f"/systems/{identity.uuid}/enabled_repos"
    answer = await front.ask("PUT", path, identity, json=report)
    assert answer.status_code == 200
    assert await kept(front, host) == {"rpm": [PACKAGE], "enabled_repos": [REPOSITORY]}
    assert (await front.world.steps(build))[26].state is StepState.DONE
    nonsense: Any
    for nonsense in ({}, {"enabled_repos": {}}, {"enabled_repos": 7}, [], "x"):
        answer = await front.ask("PUT", path, identity, json=nonsense)
        assert answer.status_code == 400
        assert await front.errors(answer) == "enabled_repos.repos is missing"


async def test_debian_tells_its_packages_in_a_form_of_its_own(front: Fronted) -> None:
    identity, host, build = await front.registered(1)
    packages = [{"name": "bash", "architecture": "amd64", "version": "5.2.15-2"}]
    body = {"deb_package_profile": {"deb_packages": packages}}
    assert await put(front, identity, body, "packages") == 200
    assert await kept(front, host) == {"deb": packages}
    assert (await front.world.steps(build))[25].state is StepState.DONE
    nonsense: Any
    for nonsense in ({"deb_package_profile": {}}, {"deb_package_profile": 7}, {}):
        assert await put(front, identity, nonsense, "packages") == 400


async def test_what_nobody_knows_is_kept_as_it_comes(front: Fronted) -> None:
    identity, host, build = await front.registered(1)
    strange = [{"deep": {"er": [1, None, True]}}, "text", 7]
    assert await put(front, identity, combined(flatpak=strange, deb=[{"name": "a"}])) == 200
    assert await kept(front, host) == {"flatpak": strange, "deb": [{"name": "a"}]}
    assert (await front.world.steps(build))[25].seen.startswith("1 packages")
    traces = {"traces": {"sshd": {"helper": "systemctl restart sshd", "type": "daemon"}}}
    assert await put(front, identity, traces, "tracer") == 200
    assert (await kept(front, host))["tracer"][0]["application"] == "sshd"
    assert await put(front, identity, {"traces": 7}, "tracer") == 400


async def test_what_a_database_cannot_store_is_stored_all_the_same(front: Fronted) -> None:
    identity, host, _ = await front.registered(1)
    odd = {**PACKAGE, "vendor": "NUL \x00 and half a pair \ud800", "epoch": float("inf")}
    path = f"/consumers/{identity.uuid}/profiles"
    body = b'[{"content_type": "rpm", "profile": [' + _spelt(odd) + b"]}]"
    answer = await front.ask("PUT", path, identity, content=body)
    assert answer.status_code == 200
    assert (await kept(front, host))["rpm"][0]["vendor"] == "NUL \ufffd and half a pair \ufffd"


def _spelt(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "body",
    [
        {},
        7,
        "x",
        [7],
        [{"content_type": "rpm"}],
        [{"content_type": "", "profile": []}],
        [{"content_type": "rpm", "profile": {}}],
        [{"content_type": "enabled_repos", "profile": [{"baseurl": []}]}],
        [{"content_type": "x" * 65, "profile": []}],
        [{"content_type": "rpm\nINFO all is well", "profile": []}],
        [{"content_type": "rpm", "profile": [0] * 100_001}],
        [{"content_type": f"c{number}", "profile": []} for number in range(21)],
    ],
)
async def test_nonsense_is_refused_and_changes_nothing(front: Fronted, body: Any) -> None:
    identity, host, build = await front.registered(1)
    await put(front, identity, WHOLE)
    assert await put(front, identity, body) == 400
    assert (await kept(front, host))["rpm"] == [PACKAGE]
    assert await changes(front, host) == []
    assert (await front.world.steps(build))[25].state is StepState.DONE


async def test_ten_thousand_packages_are_kept(front: Fronted) -> None:
    identity, host, build = await front.registered(1)
    many = [{**PACKAGE, "name": f"package-{number}"} for number in range(10_000)]
    assert await put(front, identity, combined(rpm=many)) == 200
    assert len((await kept(front, host))["rpm"]) == 10_000
    assert (await front.world.steps(build))[25].seen.startswith("10000 packages")
    updated = [{**one, "release": "4"} if n < 500 else one for n, one in enumerate(many)]
    assert await put(front, identity, combined(rpm=updated)) == 200
    ((_, added, removed),) = await changes(front, host)
    assert (len(added), len(removed)) == (500, 500)


async def test_twenty_megabytes_are_refused(front: Fronted) -> None:
    identity, host, _ = await front.registered(1)
    path = f"/consumers/{identity.uuid}/profiles"
    answer = await front.ask("PUT", path, identity, content=b" " * (20 << 20))
    assert answer.status_code == 413
    assert await kept(front, host) == {}


async def test_a_report_after_the_build_is_kept_and_moves_nothing(front: Fronted) -> None:
    identity, host, build = await front.registered(1)
    async with front.world.database.sessions.begin() as session:
        await close_build(session, build, BuildOutcome.IN_OPERATION, later(1))
    assert await put(front, identity, WHOLE) == 200
    assert (await kept(front, host))["rpm"] == [PACKAGE]
    assert (await front.world.steps(build))[25].state is StepState.PENDING


async def test_a_first_boot_waits_for_both_reports(front: Fronted) -> None:
    identity, _, build = await front.registered(1, HostState.FIRST_BOOT)

    async def is_due() -> bool:
        async with front.world.database.sessions.begin() as session:
            found = await due(session, 10)
            return (Phase.FIRST_BOOT, build.id) in [(one.phase, one.build) for one in found]

    async with front.world.database.sessions.begin() as session:
        await steps.finish(
            session, build.id, 27, evidence=Evidence.OBSERVED, seen="built", at=later(1)
        )
    told = await front.world.client().post(
        "/unattended/report", params={"token": token(1)}, json={"hostname": "web1"}
    )
    assert told.status_code == 201
    kinds = [one.kind for one in await front.world.callbacks()]
    assert CallbackKind.REPORT in kinds
    assert not await is_due()
    await put(front, identity, [PACKAGE], "packages")
    assert not await is_due()
    await put(front, identity, combined(enabled_repos=[]))
    assert await is_due()
