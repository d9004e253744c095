"""A site goes into one file while it runs, and comes back whole, or nothing is touched."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg  # type: ignore[import-untyped]
import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel
from typer.testing import CliRunner

from cli.main import app
from deployments import archive, dumping
from deployments.archive import PREFECT
from deployments.backup import Source, backup, revision_of
from deployments.dumping import BackupError, ask, with_name
from deployments.postgres import PostgresUrls, client_programs, running_postgres
from deployments.restore import restore
from inventory import claims
from inventory.arrows import Phase
from inventory.database import alembic_config, make_engine, make_sessions, migrate
from tests.conftest import data_directory
from tests.inventory.world import discovered, later, make_group

pytestmark = pytest.mark.long

KEY = "k" * 64
TABLES = [table.name for table in SQLModel.metadata.sorted_tables]
ROOT = Path(__file__).parents[2]


@contextmanager
def directory() -> Iterator[Path]:
    with data_directory() as made:
        made.chmod(0o755)
        yield made


@asynccontextmanager
async def database(server: PostgresUrls, *, migrated: bool = True) -> AsyncIterator[str]:
    """A database of its own on the test run's server, and what became of it taken away."""
    name = f"kept_{uuid4().hex[:8]}"
    boss = with_name(server.rackrise, "postgres")
    await ask(boss, f"CREATE DATABASE {name}")
    url = with_name(server.rackrise, name)
    try:
        if migrated:
            await migrate(url)
        yield url
    finally:
        for row in await ask(boss, "SELECT datname FROM pg_database WHERE datname ~ $1", name):
            await ask(boss, f'DROP DATABASE "{row[0]}" WITH (FORCE)')


def listed(place: Path) -> list[Path]:
    return list(place.iterdir())


async def names_like(url: str) -> list[str]:
    """The database itself, and all that was made beside it."""
    name = dumping.named(url)
    query = "SELECT datname FROM pg_database WHERE datname ~ $1 ORDER BY 1"
    return [row[0] for row in await ask(with_name(url, "postgres"), query, f"^{name}")]


async def contents(url: str) -> dict[str, list[str]]:
    found = {}
    for name in TABLES:
        rows = await ask(url, f'SELECT t::text FROM "{name}" t ORDER BY 1')
        found[name] = [row[0] for row in rows]
    return found


async def fill(url: str, hosts: int = 3) -> None:
    engine = make_engine(url)
    sessions = make_sessions(engine)
    async with sessions.begin() as session:
        await make_group(session)
    for number in range(1, hosts + 1):
        await discovered(sessions, number)
    await engine.dispose()


@pytest.fixture
async def there(postgres: PostgresUrls) -> AsyncIterator[str]:
    """An inventory with hosts."""
    async with database(postgres) as url:
        await fill(url)
        yield url


def at(data: Path, url: str | None = None, prefect: str | None = None) -> Source:
    return Source(data, url, prefect, KEY if url else None)


async def test_a_site_is_restored_into_an_empty_directory_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "site.backup"
    with directory() as old, directory() as new:
        (old / "token.key").write_text(KEY)
        with running_postgres(old / "postgres", durable=False) as urls:
            await migrate(urls.rackrise)
            await fill(urls.rackrise)
            await ask(urls.prefect, "CREATE TABLE flow_run (id int)")
            await ask(urls.prefect, "CREATE TABLE block_document AS SELECT 'secret' AS data")
            await ask(urls.prefect, "CREATE TABLE alembic_version AS SELECT $$x$$ AS version_num")
            revision = newest_of_prefect()
            await ask(urls.prefect, f"UPDATE alembic_version SET version_num = '{revision}'")
            before = await contents(urls.rackrise)
            told = await backup(file, at(old))
        assert "holds secrets" in told[-1]
        await restore(file, at(new))
        assert (new / "token.key").read_text() == KEY
        assert stat.S_IMODE((new / "token.key").stat().st_mode) == 0o600
        with running_postgres(new / "postgres", durable=False) as urls:
            assert await contents(urls.rackrise) == before
            assert len(before["host"]) == 3
            assert (await ask(urls.prefect, "SELECT data FROM block_document"))[0][0] == "secret"
            names = await ask(urls.rackrise, "SELECT datname FROM pg_database ORDER BY 1")
        assert [row[0] for row in names] == [
            "postgres",
            "prefect",
            "rackrise",
            "template0",
            "template1",
        ]


def newest_of_prefect() -> str:
    import prefect
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    migrations = Path(prefect.__file__).parent / "server" / "database" / "_migrations"
    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", str(migrations / "versions" / "postgresql"))
    head = ScriptDirectory.from_config(config).get_current_head()
    assert head is not None
    return head


async def test_credentials_in_prefect_come_back_with_the_key_that_opens_them(
    there: str, postgres: PostgresUrls, prefect_api: str, tmp_path: Path
) -> None:
    from prefect.blocks.system import Secret

    name = f"kept-{uuid4().hex[:8]}"
    saving = Secret(value="hunter2").save(name)
    assert not isinstance(saving, UUID)
    await saving
    told = await backup(tmp_path / "site.backup", at(tmp_path, there, postgres.prefect))
    assert not any("no credentials" in line for line in told)
    async with (
        database(postgres, migrated=False) as url,
        database(postgres, migrated=False) as other,
    ):
        await restore(tmp_path / "site.backup", at(tmp_path, url, other))
        document = "SELECT data::text FROM block_document WHERE name = $1"
        key = "SELECT value::text FROM configuration WHERE key = 'ENCRYPTION_KEY'"
        kept = await ask(other, document, name)
        assert kept == await ask(postgres.prefect, document, name)
        assert "hunter2" not in kept[0][0]
        assert len(await ask(other, key)) == 1
        assert await ask(other, key) == await ask(postgres.prefect, key)


async def test_a_backup_is_of_one_moment_while_the_inventory_is_written_to(
    there: str, postgres: PostgresUrls, tmp_path: Path
) -> None:
    engine = make_engine(there)
    sessions = make_sessions(engine)
    written = 3
    ends = asyncio.Event()

    async def write() -> None:
        nonlocal written
        while not ends.is_set():
            await discovered(sessions, written + 1)
            written += 1

    writing = asyncio.create_task(write())
    await asyncio.sleep(0.2)
    before = written
    await backup(tmp_path / "site.backup", at(tmp_path, there))
    after = written
    ends.set()
    await writing
    await engine.dispose()
    assert after > before, "nothing was written meanwhile"
    async with database(postgres, migrated=False) as url:
        await restore(tmp_path / "site.backup", at(tmp_path, url))
        found = await contents(url)
    # A host comes with its interface, build and steps, in one transaction.
    hosts = len(found["host"])
    assert before <= hosts <= after
    assert (len(found["interface"]), len(found["build"])) == (hosts, hosts)
    assert len(found["step"]) % hosts == 0


async def test_it_is_its_owners_only_and_overwrites_nothing(there: str, tmp_path: Path) -> None:
    file = tmp_path / "site.backup"
    mask = os.umask(0)
    try:
        await backup(file, at(tmp_path, there))
    finally:
        os.umask(mask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first = file.read_bytes()
    inode = file.stat().st_ino
    with pytest.raises(BackupError, match=r"there already; --force"):
        await backup(file, at(tmp_path, there))
    assert file.read_bytes() == first
    await backup(file, at(tmp_path, there), force=True)
    assert file.stat().st_ino != inode
    assert listed(tmp_path) == [file]


async def test_a_full_disk_leaves_the_last_backup(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "site.backup"
    file.write_text("the last one")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BackupError, match="the disk is full"):
        await backup(file, at(tmp_path, there), force=True)
    assert file.read_text() == "the last one"
    assert listed(tmp_path) == [file]


@pytest.mark.parametrize(
    "url",
    ["postgresql://postgres@/none?host=/nonexistent", "postgresql://u:secret@127.0.0.1:1/none"],
)
async def test_a_database_that_is_away_is_told_without_its_password(
    url: str, tmp_path: Path
) -> None:
    with pytest.raises(BackupError, match="does not answer") as told:
        await backup(tmp_path / "site.backup", at(tmp_path, url))
    assert "secret" not in str(told.value)
    assert listed(tmp_path) == []


def test_where_there_is_no_site_the_command_says_what_to_give(tmp_path: Path) -> None:
    told = CliRunner().invoke(
        app,
        ["backup", str(tmp_path / "x"), "--data", str(tmp_path)],
        env={"RACKRISE_DATABASE_URL": None},
    )
    assert told.exit_code == 2
    assert "give --data, or RACKRISE_DATABASE_URL" in told.output


async def test_no_password_is_on_a_command_line(
    there: str, postgres: PostgresUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = tmp_path / "arguments"
    wrapped(monkeypatch, tmp_path, f'echo "$0 $@" >> {noted}; exec "$real" "$@"')
    with_password = there.replace("postgres@", "postgres:hunter2@")
    await backup(tmp_path / "site.backup", at(tmp_path, with_password))
    async with database(postgres, migrated=False) as url:
        target = url.replace("postgres@", "postgres:hunter2@")
        await restore(tmp_path / "site.backup", at(tmp_path, target))
    lines = noted.read_text()
    assert "pg_dump" in lines
    assert "pg_restore" in lines
    assert "hunter2" not in lines


def wrapped(monkeypatch: pytest.MonkeyPatch, place: Path, script: str) -> None:
    """Put a script in the place of PostgreSQL's programs; ``$real`` is the one it stands for."""
    programs = place / "programs"
    programs.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (programs / name).write_text(f"#!/bin/sh\nreal={client_programs() / name}\n{script}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setattr(dumping, "_program", lambda name, server: str(programs / name))


async def test_a_restore_that_is_cut_off_loses_nothing(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "site.backup"
    await backup(file, at(tmp_path, there))
    await ask(there, "DELETE FROM step")
    before = await contents(there)
    killed = '"$real" "$@" <&0 & child=$!; sleep 0.03; kill -9 $child; kill -9 $$'
    wrapped(monkeypatch, tmp_path, killed)
    with pytest.raises(BackupError, match="pg_restore failed"):
        await restore(file, at(tmp_path, there), force=True)
    assert await contents(there) == before
    assert await names_like(there) == [dumping.named(there)]
    assert not (tmp_path / "token.key").exists()


async def test_a_restore_that_cannot_be_migrated_changes_nothing(
    there: str, tmp_path: Path
) -> None:
    await ask(there, "UPDATE alembic_version SET version_num = '0001'")
    await backup(tmp_path / "site.backup", at(tmp_path, there))
    before = await contents(there)
    with pytest.raises(BackupError, match=r"nothing was changed: .*already exists"):
        await restore(tmp_path / "site.backup", at(tmp_path, there), force=True)
    assert await contents(there) == before
    assert await names_like(there) == [dumping.named(there)]


async def test_a_restore_that_is_killed_loses_nothing_and_the_next_one_clears_up(
    there: str, tmp_path: Path
) -> None:
    file = tmp_path / "site.backup"
    await backup(file, at(tmp_path, there))
    await ask(there, "DELETE FROM step")
    before = await contents(there)
    await asyncio.to_thread(restore_and_be_killed, file, tmp_path, there)
    assert await contents(there) == before
    assert len(await names_like(there)) == 2
    await gone(there)
    await restore(file, at(tmp_path, there), force=True)
    names = await names_like(there)
    assert len(names) == 2
    assert "_before_" in names[1]
    assert len((await contents(there))["step"]) > 0
    assert await contents(with_name(there, names[1])) == before


def restore_and_be_killed(file: Path, data: Path, url: str) -> None:
    program = (
        "import asyncio, sys, time\n"
        "from pathlib import Path\n"
        "from deployments import restore\n"
        "from deployments.backup import Source\n"
        "async def wait(_): print('read in', flush=True); time.sleep(60)\n"
        "restore.migrate = wait\n"
        "source = Source(Path(sys.argv[2]), sys.argv[3], None, 'k')\n"
        "asyncio.run(restore.restore(Path(sys.argv[1]), source, force=True))\n"
    )
    command = [sys.executable, "-c", program, str(file), str(data), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"read in\n"
        process.send_signal(signal.SIGKILL)


async def gone(url: str) -> None:
    """Wait until nobody is connected: a killed process' connections end a moment later."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname ~ $1"

    async with asyncio.timeout(10):
        while (await ask(with_name(url, "postgres"), query, dumping.named(url)))[0][0]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_what_is_there_is_kept_and_only_replaced_when_told(
    there: str, postgres: PostgresUrls, tmp_path: Path
) -> None:
    file = tmp_path / "site.backup"
    await backup(file, at(tmp_path, there))
    async with database(postgres) as other:
        await fill(other, 1)
        before = await contents(other)
        with pytest.raises(BackupError, match=r"not empty; --force"):
            await restore(file, at(tmp_path, other))
        assert await contents(other) == before
        (tmp_path / "token.key").write_text("another")
        told = await restore(file, at(tmp_path, other), force=True)
        assert len((await contents(other))["host"]) == 3
        (aside,) = [name for name in await names_like(other) if "_before_" in name]
        assert any(aside in line for line in told)
        assert await contents(with_name(other, aside)) == before
    assert (tmp_path / "token.key").read_text() == KEY
    (key,) = [one for one in listed(tmp_path) if ".before-" in one.name]
    assert key.read_text() == "another"


async def test_an_empty_inventory_needs_no_force(
    there: str, postgres: PostgresUrls, tmp_path: Path
) -> None:
    await backup(tmp_path / "site.backup", at(tmp_path, there))
    async with database(postgres) as other:
        await restore(tmp_path / "site.backup", at(tmp_path, other))
        assert await contents(other) == await contents(there)
        assert await names_like(other) == [dumping.named(other)]


async def test_nothing_is_restored_under_programs_that_run(there: str, tmp_path: Path) -> None:
    file = tmp_path / "site.backup"
    await backup(file, at(tmp_path, there))
    program = await asyncpg.connect(there)
    with pytest.raises(BackupError, match="programs are connected"):
        await restore(file, at(tmp_path, there), force=True)
    await program.close()
    await gone(there)
    await ask(there, "INSERT INTO workerlease VALUES ('w/1', now() + interval '20 seconds')")
    with pytest.raises(BackupError, match=r"these workers live.*w/1"):
        await restore(file, at(tmp_path, there), force=True)
    await ask(there, "UPDATE workerlease SET until = now()")
    await restore(file, at(tmp_path, there), force=True)


async def test_nothing_is_restored_under_a_server_that_runs(there: str, tmp_path: Path) -> None:
    await backup(tmp_path / "site.backup", at(tmp_path, there))
    with (
        directory() as data,
        running_postgres(data / "postgres", durable=False),
        pytest.raises(BackupError, match="another Rackrise uses the database"),
    ):
        await restore(tmp_path / "site.backup", at(data))


async def test_claims_of_the_old_world_are_taken_over_as_after_a_crash(
    there: str, postgres: PostgresUrls, tmp_path: Path
) -> None:
    engine = make_engine(there)
    sessions = make_sessions(engine)
    _, build = await discovered(sessions, 9)
    company, run = uuid4(), uuid4()
    async with sessions.begin() as session:
        await claims.renew(session, "old/1", timedelta(days=10**5))
        await claims.claim(session, Phase.INCEPTION, [build.id], company=company, at=later(1))
        await claims.adopt(session, company, "old/1", run)
    await engine.dispose()
    await backup(tmp_path / "site.backup", at(tmp_path, there))
    async with database(postgres, migrated=False) as url:
        await restore(tmp_path / "site.backup", at(tmp_path, url))
        engine = make_engine(url)
        async with make_sessions(engine).begin() as session:
            (buried,) = await claims.bury(session, later(2))
            taken = await claims.adopt(session, company, "new/1", run)
        await engine.dispose()
    assert (buried.build_id, buried.flow_run_id) == (build.id, run)
    assert [one.worker for one in taken] == ["new/1"]


async def test_an_older_backup_is_brought_forward(postgres: PostgresUrls, tmp_path: Path) -> None:
    def to_0004(connection: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")

    async with database(postgres, migrated=False) as old:
        engine = make_engine(old)
        async with engine.begin() as connection:
            await connection.run_sync(to_0004)
            await connection.execute(
                sa.text("INSERT INTO site (name, gateway_url) VALUES ('old', 'http://192.0.2.1')")
            )
        await engine.dispose()
        await backup(tmp_path / "site.backup", at(tmp_path, old))
    async with database(postgres, migrated=False) as url, database(postgres) as newest:
        await restore(tmp_path / "site.backup", at(tmp_path, url))
        assert await revision_of(url) == await revision_of(newest)
        assert (await ask(url, "SELECT name FROM site"))[0][0] == "old"


async def test_a_newer_backup_is_refused_in_words(
    there: str, postgres: PostgresUrls, tmp_path: Path
) -> None:
    await ask(there, "UPDATE alembic_version SET version_num = '9999'")
    await backup(tmp_path / "site.backup", at(tmp_path, there))
    async with database(postgres, migrated=False) as url:
        with pytest.raises(BackupError, match=r"newer Rackrise .*tables of 9999.* update it"):
            await restore(tmp_path / "site.backup", at(tmp_path, url))
        assert await names_like(url) == [dumping.named(url)]


async def test_a_newer_prefect_is_refused_in_words(
    there: str, postgres: PostgresUrls, tmp_path: Path
) -> None:
    async with database(postgres, migrated=False) as prefect:
        await ask(prefect, "CREATE TABLE flow_run (id int)")
        await ask(prefect, "CREATE TABLE alembic_version AS SELECT 'ffffffffffff' AS version_num")
        await backup(tmp_path / "site.backup", at(tmp_path, there, prefect))
        with archive.opened(tmp_path / "site.backup") as content:
            assert PREFECT in content
        async with database(postgres, migrated=False) as url:
            with pytest.raises(BackupError, match="newer Prefect"):
                await restore(tmp_path / "site.backup", at(tmp_path, url, prefect))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda raw: raw[: len(raw) // 2], "cut off"),
        (lambda raw: b"PK not a zip", "cut off"),
        (lambda raw: raw[:5000] + bytes([raw[5000] ^ 255]) + raw[5001:], "damaged"),
    ],
    ids=["cut", "other", "flipped"],
)
async def test_a_damaged_backup_is_refused(
    there: str, tmp_path: Path, harm: object, words: str
) -> None:
    file = tmp_path / "site.backup"
    await backup(file, at(tmp_path, there))
    assert callable(harm)
    file.write_bytes(harm(file.read_bytes()))
    before = await contents(there)
    with pytest.raises(BackupError, match=words):
        await restore(file, at(tmp_path, there), force=True)
    assert await contents(there) == before


async def test_the_commands_tell_what_they_did(
    there: str, postgres: PostgresUrls, tmp_path: Path
) -> None:
    file = tmp_path / "site.backup"

    async def rackrise(word: str, url: str, *more: str) -> tuple[int, str]:
        words = [word, str(file), "--data", str(tmp_path), *more]
        environment = {"RACKRISE_DATABASE_URL": url, "RACKRISE_TOKEN_KEY": KEY}
        result = await asyncio.to_thread(CliRunner().invoke, app, words, env=environment)
        return result.exit_code, result.output

    code, told = await rackrise("backup", there)
    assert code == 0, told
    assert "it holds secrets" in told
    assert "Prefect's database is not in it" in told
    assert (await rackrise("restore", there))[0] == 2
    async with database(postgres, migrated=False) as url:
        code, told = await rackrise("restore", url)
    assert code == 0, told
    assert "the inventory is as it was at" in told
    assert "credentials must be kept anew" in told
