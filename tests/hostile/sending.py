"""Sends a request to an application as uvicorn would, and notes all that it does.

Not through httpx, which mends or refuses much of what is hostile: the scope is made as
``uvicorn.protocols.http.h11_impl`` makes it, so what arrives is what arrives in production. What
h11 itself turns away (NUL and line ends in headers, blanks in a target) never comes that far, and
is tried over a real socket in ``test_wire.py``.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

__all__ = ["Outcome", "Sent", "current", "listening", "send"]

_PEER = ("192.0.2.77", 4711)
_SECONDS = 30


@dataclass(frozen=True)
class Sent:
    """One request, as bytes."""

    method: str
    target: bytes
    """Path and query, as they stand in the request line."""
    headers: Sequence[tuple[bytes, bytes]] = ()
    parts: Sequence[bytes] = ()
    cut: bool = False
    """The client goes away before the body is complete."""

    def __str__(self) -> str:
        headers = ", ".join(f"{name!r}: {value[:60]!r}" for name, value in self.headers)
        body = b"".join(self.parts)
        cut = " then gone" if self.cut else ""
        return f"{self.method} {self.target[:300]!r} [{headers[:400]}] {body[:200]!r}{cut}"


@dataclass
class Outcome:
    """What became of it."""

    status: int | None = None
    """None: nothing was answered, to a client that had gone."""
    body: bytearray = field(default_factory=bytearray)
    tracebacks: list[str] = field(default_factory=list)
    """Out of the application, in its log, or in its answer."""
    written: list[str] = field(default_factory=list)
    """Statements that changed rows and were committed."""
    pending: list[str] = field(default_factory=list)


current: ContextVar[Outcome | None] = ContextVar("current", default=None)
"""The request that is being answered."""


class _Tracebacks(logging.Handler):
    """Notes what is logged with a traceback."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.stray: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # Formatted as a real handler would: a log line that cannot be is a fault as well.
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            shown = "".join(traceback.format_exception(record.exc_info[1]))
            outcome = current.get()
            (self.stray if outcome is None else outcome.tracebacks).append(f"{text}\n{shown}")


@contextmanager
def listening() -> Iterator[list[str]]:
    """Watch all logs while the block lasts; gives tracebacks that belong to no request."""
    root = logging.getLogger()
    before, handler = root.level, _Tracebacks()
    kept, root.handlers = root.handlers, [handler]
    root.setLevel(logging.INFO)
    try:
        yield handler.stray
    finally:
        root.handlers = kept
        root.setLevel(before)


async def send(app: ASGIApp, sent: Sent) -> Outcome:
    """What an application does with a request."""
    outcome = Outcome()
    raw, _, query = sent.target.partition(b"?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("192.0.2.1", 8000),
        "client": _PEER,
        "scheme": "http",
        "method": sent.method,
        "root_path": "",
        "path": unquote(raw.decode("ascii")),
        "raw_path": raw,
        "query_string": query,
        "headers": [(name.lower(), value) for name, value in sent.headers],
        "state": {},
    }
    parts = iter(sent.parts)
    over = False

    async def receive() -> Message:
        nonlocal over
        part = next(parts, None)
        if part is not None:
            return {"type": "http.request", "body": part, "more_body": True}
        if sent.cut or over:
            return {"type": "http.disconnect"}
        over = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            outcome.status = message["status"]
            _require_sendable(message["headers"])
        elif message["type"] == "http.response.body":
            outcome.body += message.get("body", b"")

    mark = current.set(outcome)
    try:
        async with asyncio.timeout(_SECONDS):
            await app(scope, receive, answer)
    except Exception:
        outcome.tracebacks.append(traceback.format_exc())
    finally:
        current.reset(mark)
    if outcome.status is None and not sent.cut:
        outcome.tracebacks.append("nothing was answered")
    if b"Traceback (most recent call last)" in outcome.body:
        outcome.tracebacks.append(bytes(outcome.body[:2000]).decode(errors="replace"))
    return outcome


def _require_sendable(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """As h11 does, which would break the connection: headers never end a line."""
    for name, value in headers:
        if {0, 10, 13} & {*name, *value}:
            raise ValueError(f"the answer's header {name!r} ends a line: {value[:100]!r}")
