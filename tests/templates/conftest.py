"""Scripts of the kickstart as a machine runs them, and a gateway that may misbehave."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest


@dataclass
class Gateway:
    url: str = ""
    answers: list[int] = field(default_factory=list)
    """Status codes, the last one for ever."""
    heard: list[tuple[str, str]] = field(default_factory=list)

    def bodies(self, what: str) -> list[str]:
        return [body for path, body in self.heard if path == f"/unattended/{what}?token=tok-EN_1"]


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    told = Gateway()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(404)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            told.heard.append((self.path, body))
            self.answer(told.answers.pop(0) if len(told.answers) > 1 else told.answers[0])

        def answer(self, status: int) -> None:
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the test's output to itself."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    told.url = f"http://127.0.0.1:{server.server_port}"
    yield told
    server.shutdown()
    server.server_close()


@dataclass
class Machine:
    """Runs scripts with a ``sleep`` that writes its argument down instead of waiting."""

    place: Path

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        tools = self.place / "bin"
        tools.mkdir(exist_ok=True)
        (tools / "sleep").write_text(f'#!/bin/sh\necho "$1" >>{self.place}/pauses\n')
        (tools / "rpm").write_text("#!/bin/sh\nprintf 'one\\ntwo\\n'\n")
        for tool in tools.iterdir():
            tool.chmod(0o755)
        return subprocess.run(
            ["dash", "-c", script],
            env={"PATH": f"{tools}:/usr/bin:/bin:/usr/sbin:/sbin"},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def pauses(self) -> list[int]:
        return [int(line) for line in (self.place / "pauses").read_text().split()]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)
