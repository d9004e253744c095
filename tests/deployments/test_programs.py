"""What ``rackrise up`` has started it also ends, however impatient somebody is."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from cli.main import app
from deployments.programs import Programs
from lab.process import until

SLOW = """
import signal, sys, time, pathlib
def end(*_):
    time.sleep(0.5)
    with pathlib.Path(sys.argv[1]).open("a") as ended:
        print(sys.argv[2], file=ended)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
pathlib.Path(sys.argv[1] + sys.argv[2]).touch()
while True:
    time.sleep(1)
"""
"""Takes its time to end, and says when it has."""


async def test_whoever_is_cancelled_often_still_ends_all_programs_in_order(tmp_path: Path) -> None:
    programs = Programs(tmp_path, (), {})
    ended, started = tmp_path / "ended", asyncio.Event()

    async def run() -> None:
        try:
            for name in ("first", "second", "third"):
                await programs.start(name, [sys.executable, "-c", SLOW, str(ended), name])
                await programs.ready(name, tmp_path / f"ended{name}", 20)
            started.set()
            await asyncio.Event().wait()
        finally:
            await programs.stop()

    running = asyncio.create_task(run())
    await asyncio.wait_for(started.wait(), 60)
    ids = programs.ids().values()
    for _ in range(4):
        running.cancel()
        await asyncio.sleep(0.1)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.read_text().split() == ["third", "second", "first"]
    assert not [one for one in ids if psutil.pid_exists(one)]


FAMILY = """
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(600)
"""
"""Hears no signal, and has started another program."""


async def test_what_does_not_end_is_killed_with_all_that_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.programs.STOP_SECONDS", 0.2)
    programs, written = Programs(tmp_path, (), {}), tmp_path / "child"
    await programs.start("family", [sys.executable, "-c", FAMILY, str(written)])

    async def has_child() -> bool:
        return written.exists() and bool(written.read_text())

    await until(has_child, what="it has started another", deadline=20, every=0.05)
    child = psutil.Process(int(written.read_text()))
    await programs.stop()

    async def gone() -> bool:
        # Its parent has gone: whoever collects it may take a moment.
        return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE

    await until(gone, what="what it had started is gone", deadline=10, every=0.05)


async def test_a_signal_that_comes_again_does_not_break_off_the_end() -> None:
    code = """
import asyncio
from cli.ending import until_told

async def work():
    try:
        print("works", flush=True)
        await asyncio.Event().wait()
    finally:
        print("ends", flush=True)
        await asyncio.sleep(1)
        print("has ended", flush=True)

asyncio.run(until_told(work()))
"""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=pipe, stderr=pipe, cwd=Path(__file__).parents[2]
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"works\n"
        process.send_signal(signal.SIGINT)
        assert await process.stdout.readline() == b"ends\n"
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        said, complaints = await asyncio.wait_for(process.communicate(), 30)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    assert said == b"has ended\n"
    assert process.returncode == 0
    assert b"It is ending" in complaints
    assert b"Traceback" not in complaints


def test_a_proxy_that_is_to_run_here_and_has_no_settings_is_told_before_anything_starts(
    tmp_path: Path,
) -> None:
    site = Path(__file__).parents[2] / "examples" / "site.toml"
    if 'url = "local:"' not in (text := site.read_text()):
        text = f'{text}\n[[proxy]]\nname = "here"\nurl = "local:"\nhost_url = "http://192.0.2.2:8001"\n'
    copy = tmp_path / "site.toml"
    copy.write_text(text)
    data = tmp_path / "data"
    done = CliRunner().invoke(app, ["up", "--site", str(copy), "--data", str(data)])
    assert done.exit_code == 2, done.output
    assert 'url = "local:", so it runs here' in done.output
    assert "--proxy FILE" in done.output
    assert "Traceback" not in done.output
    assert not data.exists()


def test_a_wrong_site_file_is_told_by_its_line(tmp_path: Path) -> None:
    copy = tmp_path / "site.toml"
    copy.write_text("[[proxy]]\nname = 3\n")
    done = CliRunner().invoke(app, ["up", "--site", str(copy), "--data", str(tmp_path / "data")])
    assert done.exit_code == 2, done.output
    assert f"{os.fspath(copy)}:" in done.output or "site.toml:" in done.output
