"""Puts a hostile request together: who sends it, and which of its parts are not right.

Each endpoint is met by three kinds of senders:

- a *stranger* has no valid token, certificate or trusted name; all else may be valid. Nothing may
  change, whatever is sent.
- an *insider* has valid credentials and sends something malformed for sure. Nothing may change.
- somebody *admitted* sends whatever, with valid credentials where there are any. It may be valid by
  chance, so only what is refused must change nothing. He has a site of his own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from urllib.parse import quote_from_bytes, urlencode

from tests.hostile.garbage import HEADERS, QUERIES, TYPES, Pools
from tests.hostile.sending import Sent

__all__ = ["Break", "Draft", "Endpoint", "Maker", "Sender"]

_NEVER_ROUTED = ("PATCH", "OPTIONS", "TRACE", "PROPFIND", "FOO", "get", "X" * 100)
_UNSENDABLE = re.compile(rb"[\x00\n\r\x0b\x0c]")
_MOST_HEADERS = 60_000
"""Bytes; h11 turns more away."""


class Sender(Enum):
    """Who sends."""

    STRANGER = "stranger"
    INSIDER = "insider"
    ADMITTED = "admitted"


@dataclass(frozen=True)
class Endpoint:
    """A method and a path of an application."""

    app: str
    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.app} {self.method} {self.path}"


@dataclass
class Draft:
    """A request whose parts can still be changed."""

    params: dict[str, str]
    query: list[tuple[str, str]] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)
    kind: str | None = None
    body: bytes = b""
    form: dict[str, str] | None = None
    """Instead of the body."""
    cut: bool = False
    method: str | None = None


Break = Callable[[Draft, "Maker"], None]
"""Makes a draft malformed for sure."""


@dataclass
class Maker:
    """Makes requests from pools.

    Args:
        random: decides everything.
        pools: what garbage there is.
        values: valid ones of path parameters, by name.
    """

    random: Random
    pools: Pools
    values: Mapping[str, Sequence[str]]

    def text(self, wrong: Callable[[str], bool] = lambda _: True) -> str:
        """Any text that is wrong."""
        while True:
            found = self.random.choice(self.pools.texts)
            if wrong(found):
                return found

    def garbage(self) -> bytes:
        """Any body."""
        kind = self.random.choice(
            (self.pools.documents, self.pools.documents, self.pools.forms, self.pools.blobs)
        )
        return self.random.choice(kind)

    def mangled(self, body: bytes) -> bytes:
        """A valid body with something done to it."""
        at = self.random.randrange(len(body) + 1)
        match self.random.randrange(5):
            case 0:
                return body[:at]
            case 1:
                return body[:at] + self.random.randbytes(3) + body[at:]
            case 2:
                return body[:at] + b"\0" + body[at + 1 :]
            case 3:
                return self._replaced(body)
            case _:
                return body + body

    def _replaced(self, body: bytes) -> bytes:
        """JSON with one of its values replaced."""
        try:
            told = json.loads(body)
        except ValueError:
            return body[::-1]
        place, key = told, None
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = self.random.choice(keys)
            inner = place[key]
            if not isinstance(inner, dict | list) or not inner or self.random.random() < 0.3:
                place[key] = self.random.choice(
                    (None, -1, 10**30, 1e999, "\0", "\ud800", [[]], {}, "x" * 5000, self.text())
                )
                break
            place = inner
        return json.dumps(told).encode()

    def finished(self, endpoint: Endpoint, draft: Draft, *, noisy: bool) -> Sent:
        """The request as bytes, with noise beside what it says."""
        if noisy:
            self._noise(draft)
        path = endpoint.path
        for name, value in draft.params.items():
            path = path.replace(f"{{{name}}}", self._encoded(value))
        query = urlencode(
            [(_bytes(name), _bytes(value)) for name, value in draft.query],
        ).encode()
        if noisy and self.random.random() < 0.3:
            query = b"&".join(one for one in (query, self.random.choice(self.pools.queries)) if one)
        body = draft.body
        if draft.form is not None:
            pairs = [(_bytes(name), _bytes(value)) for name, value in draft.form.items()]
            body = urlencode(pairs).encode()
        headers = self._headers(draft)
        return Sent(
            method=draft.method or endpoint.method,
            target=path.encode() + (b"?" + query if query else b""),
            headers=headers,
            parts=self._parts(body),
            cut=draft.cut,
        )

    def _noise(self, draft: Draft) -> None:
        for _ in range(self.random.choice((0, 0, 1, 3))):
            draft.headers.append((self.random.choice(HEADERS), self.text()))
        for _ in range(self.random.choice((0, 0, 1, 2))):
            draft.query.append((self.random.choice((*QUERIES, self.text())), self.text()))
        if draft.kind is None or self.random.random() < 0.2:
            draft.kind = self.random.choice(TYPES)

    def _encoded(self, value: str) -> str:
        raw = _bytes(value)
        match self.random.randrange(3):
            case 0:
                return quote_from_bytes(raw, safe="")
            case 1:
                return quote_from_bytes(raw, safe="/:.,;=&@!$'()*+~")
            case _:
                # As a careless client would: what may stand in a request line stays as it is.
                return "".join(
                    chr(one) if 0x21 <= one < 0x7F and one not in b"?#" else f"%{one:02x}"
                    for one in raw
                )

    def _headers(self, draft: Draft) -> list[tuple[bytes, bytes]]:
        pairs = [*draft.headers, *([("content-type", draft.kind)] if draft.kind else [])]
        found: list[tuple[bytes, bytes]] = []
        size = 0
        for name, value in pairs:
            # A line's end in a header is another header by the time that it arrives.
            lines = value.replace("\r", "\n").split("\n")
            sent = _sendable(lines[0])
            size += len(name) + len(sent)
            if size < _MOST_HEADERS:
                found.append((name.encode(), sent))
            for line in lines[1:]:
                other, colon, rest = line.partition(":")
                if colon and other.isascii() and other.isidentifier():
                    found.append((other.encode(), _sendable(rest)))
        return found

    def _parts(self, body: bytes) -> list[bytes]:
        if not body:
            return []
        if len(body) > 1 and self.random.random() < 0.3:
            at = self.random.randrange(1, len(body))
            return [body[:at], b"", body[at:]]
        return [body]

    def wrong_method(self, draft: Draft) -> None:
        """A method that no path knows."""
        draft.method = self.random.choice(_NEVER_ROUTED)


def _sendable(value: str) -> bytes:
    """As much of a header's value as h11 lets through."""
    return _UNSENDABLE.sub(b"", _bytes(value)).strip()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
