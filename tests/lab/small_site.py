"""The least of a provisioning server, for trying the machines without Rackrise.

Run inside the lab's namespace: serves a directory, takes every POST with 201, and writes one JSON
line per request, so that a test can look at what the guests really sent.
"""

from __future__ import annotations

import json
import sys
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(SimpleHTTPRequestHandler):
    """Files for GET, 201 for POST, an event for both."""

    events: Path
    root: str

    def __init__(self, *args: object) -> None:
        super().__init__(*args, directory=self.root)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self._note("")
        super().do_GET()

    def do_POST(self) -> None:
        self._note(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        self.send_response(201)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: object) -> None:
        """Write nothing beside the events."""

    def _note(self, body: str) -> None:
        event = {
            "time": time.monotonic(),
            "method": self.command,
            "path": self.path,
            "client": self.client_address[0],
            "headers": dict(self.headers.items()),
            "body": body,
        }
        with self.events.open("a") as events:
            events.write(json.dumps(event) + "\n")


def main(address: str, port: str, root: str, events: str) -> None:
    """Serve until killed; the file of events is there once requests are taken."""
    Handler.root, Handler.events = root, Path(events)
    with ThreadingHTTPServer((address, int(port)), Handler) as server:
        Handler.events.touch()
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
