from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import psutil
import pytest

from deployments import postgres
from deployments.postgres import PostgresError, embedded_postgres, running_postgres
from inventory.database import plain_url
from tests.conftest import data_directory

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


@pytest.fixture
def state() -> Iterator[Path]:
    """A directory that everybody may enter, as the system's state directory is."""
    with data_directory() as directory:
        directory.chmod(0o755)
        yield directory


async def ask(url: str, query: str) -> object:
    connection = await asyncpg.connect(plain_url(url))
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_both_databases_answer_and_what_is_written_survives_a_restart(state: Path) -> None:
    async with embedded_postgres(state / "db") as urls:
        assert await ask(urls.rackrise, "SHOW fsync") == "on"
        assert await ask(urls.rackrise, "SHOW max_connections") == "200"
        assert await ask(urls.rackrise, "SHOW listen_addresses") == ""
        await ask(urls.rackrise, "CREATE TABLE kept AS SELECT 42 AS answer")
        assert await ask(urls.prefect, "SELECT similarity('rack', 'rack')") == 1.0
    async with embedded_postgres(state / "db", durable=False) as urls:
        assert await ask(urls.rackrise, "SHOW fsync") == "off"
        assert await ask(urls.rackrise, "SELECT answer FROM kept") == 42
    assert not (urls.socket_directory / "postmaster.pid").exists()


async def test_a_server_that_was_killed_is_started_again_with_all_that_it_had(state: Path) -> None:
    async with embedded_postgres(state / "db") as urls:
        await ask(urls.rackrise, "CREATE TABLE kept AS SELECT 42 AS answer")
        pid_file = urls.socket_directory / "postmaster.pid"
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
        answer: object = None
        async with asyncio.timeout(30):
            while answer is None:
                try:
                    answer = await ask(urls.rackrise, "SELECT answer FROM kept")
                except (OSError, asyncpg.PostgresError):
                    await asyncio.sleep(0.1)
    assert answer == 42
    assert not pid_file.exists()


async def test_a_server_that_was_killed_at_the_end_is_no_fault(state: Path) -> None:
    async with embedded_postgres(state / "db") as urls:
        pid = int((urls.socket_directory / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
    assert "postgres" not in names_below(state)


def names_below(directory: Path) -> set[str]:
    """Programs that run there."""
    found = set()
    for one in psutil.process_iter(["name", "cwd"]):
        if Path(one.info["cwd"] or "/").is_relative_to(directory):
            found.add(one.info["name"])
    return found


def modes(*starts: Path) -> dict[Path, int]:
    directories = {part for start in starts for part in (start, *start.parents)}
    return {part: stat.S_IMODE(part.stat().st_mode) for part in directories}


def test_no_permission_changes_above_the_data_or_the_programs(state: Path) -> None:
    programs = Path(sys.prefix, "lib")
    state.chmod(0o711)
    before = modes(state, programs, Path.home(), ROOT)
    with running_postgres(state / "db", durable=False):
        assert modes(state, programs, Path.home(), ROOT) == before
        assert stat.S_IMODE((state / "db").stat().st_mode) == 0o700
    assert modes(state, programs, Path.home(), ROOT) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")
def test_programs_that_its_user_cannot_reach_are_copied_beside_the_data(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_open_to_all", lambda place: place.name != "bin")
    with running_postgres(state / "db", durable=False):
        pid = int((state / "db" / "data" / "postmaster.pid").read_text().split()[0])
        running = Path(f"/proc/{pid}/exe").resolve()
        assert running.is_relative_to(state / "db" / "programs")
        assert Path(f"/proc/{pid}").stat().st_uid != 0


def test_a_second_start_on_the_same_data_is_refused(state: Path) -> None:
    with (
        running_postgres(state / "db", durable=False),
        pytest.raises(PostgresError, match="another Rackrise uses the database"),
        running_postgres(state / "db", durable=False),
    ):
        pass


def start_and_kill(data: Path) -> None:
    program = (
        "import sys, time, pathlib, deployments.postgres as p\n"
        "with p.running_postgres(pathlib.Path(sys.argv[1])):\n"
        "    print('up', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(data)], stdout=subprocess.PIPE, cwd=ROOT
    ) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"up\n"
        starter.kill()


async def test_a_server_whose_starter_was_killed_is_taken_over(state: Path) -> None:
    start_and_kill(state / "db")
    assert (state / "db" / "data" / "postmaster.pid").exists()
    async with embedded_postgres(state / "db", durable=False) as urls:
        assert await ask(urls.rackrise, "SHOW fsync") == "off"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")
def test_data_where_its_user_cannot_reach_it_is_refused_and_not_opened(state: Path) -> None:
    state.chmod(0o700)
    with (
        pytest.raises(PostgresError, match="cannot reach"),
        running_postgres(state / "db", durable=False),
    ):
        pass
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_a_path_too_long_for_a_socket_is_named(state: Path) -> None:
    deep = state / ("x" * 100)
    with (
        pytest.raises(PostgresError, match="too long for a unix socket"),
        running_postgres(deep, durable=False),
    ):
        pass


def test_a_server_that_does_not_start_shows_its_log(state: Path) -> None:
    with running_postgres(state / "db", durable=False):
        pass
    (state / "db" / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with (
        pytest.raises(PostgresError, match="no_such_setting"),
        running_postgres(state / "db", durable=False),
    ):
        pass
