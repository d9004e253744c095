"""Downloads below the boot root against an HTTP source that breaks off, lies and goes away."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from integrations.bootfetch import FetchLimits
from integrations.bootfiles import BootRoot
from integrations.errors import Busy, OutsideError, Refused, Unavailable, Unverified
from integrations.records import BootFile, Outcome

CONTENT = random.Random(1).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CHANGED = "Wed, 21 Oct 2015 07:28:00 GMT"
PATH = "boot/labos-1-vmlinuz"
PART = "boot/.labos-1-vmlinuz.part"


@dataclass
class Source:
    """An HTTP server of one file; every request is kept."""

    port: int = 0
    content: bytes = CONTENT
    status: str = "200 OK"
    tag: str = '"one"'
    changed: str = CHANGED
    breaks: list[int] = field(default_factory=list)
    """Bytes after which the next answers hang up."""
    next_version: bytes = b""
    """What the file becomes after the first answer."""
    ranges: bool = True
    states_length: bool = True
    requests: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/vmlinuz"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
        asked = {key.lower(): value for key, value in (line.split(": ", 1) for line in lines)}
        self.requests.append(asked)
        start, status = 0, self.status
        if "range" in asked and int(asked["range"][6:-1]) >= len(self.content):
            status = "416 Range Not Satisfiable"
        elif self.ranges and "range" in asked and asked.get("if-range", self.tag) == self.tag:
            start = int(asked["range"].removeprefix("bytes=").removesuffix("-"))
            status = "206 Partial Content"
        body = self.content[start:] if status.startswith("2") else b""
        head = [f"HTTP/1.1 {status}", "Connection: close"]
        head += [f"ETag: {self.tag}"] if self.tag else []
        head += [f"Last-Modified: {self.changed}"] if self.changed else []
        head += [f"Content-Length: {len(body)}"] if self.states_length else []
        if start:
            whole = len(self.content)
            head.append(f"Content-Range: bytes {start}-{whole - 1}/{whole}")
        writer.write("\r\n".join(head).encode() + b"\r\n\r\n")
        writer.write(body[: self.breaks.pop(0)] if self.breaks else body)
        if self.next_version:
            self.content, self.tag, self.next_version = self.next_version, '"two"', b""
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(source: Source) -> AsyncIterator[Source]:
    server = await asyncio.start_server(source.serve, "127.0.0.1", source.port)
    source.port = server.sockets[0].getsockname()[1]
    async with server:
        yield source


@pytest.fixture
async def source() -> AsyncIterator[Source]:
    async with listening(Source()) as server:
        yield server


@pytest.fixture
async def boot(tmp_path: Path) -> AsyncIterator[BootRoot]:
    async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
        limits = FetchLimits(max_bytes=10**6, attempts=3, pause=0, deadline=10)
        yield BootRoot(tmp_path, client, limits)


def wanted(source: Source, sha256: str = SHA256, size: int | None = None) -> BootFile:
    return BootFile(path=PATH, url=source.url, sha256=sha256, size=size)


def visible(root: Path) -> list[str]:
    """Names below the root that a loader could ask for, and left-overs of downloads."""
    files = (path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock")
    return [str(path.relative_to(root)) for path in files]


def everything(root: Path) -> list[Path]:
    """Files below the root, lock files as well."""
    return [one for one in root.rglob("*") if one.is_file()]


@pytest.mark.parametrize("sha256", [SHA256, SHA256.upper(), ""])
async def test_a_file_is_fetched_whole_and_readable_for_everybody(
    source: Source, boot: BootRoot, tmp_path: Path, sha256: str
) -> None:
    assert await boot.fetch(wanted(source, sha256)) == Outcome.CREATED
    assert (tmp_path / PATH).read_bytes() == CONTENT
    assert (tmp_path / PATH).stat().st_mode & 0o777 == 0o644
    assert visible(tmp_path) == [PATH]


async def test_a_file_that_is_there_is_not_fetched_again(
    source: Source, boot: BootRoot, tmp_path: Path
) -> None:
    await boot.fetch(wanted(source))
    assert await boot.fetch(wanted(source)) == Outcome.ALREADY
    assert len(source.requests) == 1


async def test_a_file_that_was_put_there_by_hand_counts_if_its_checksum_is_right(
    source: Source, boot: BootRoot, tmp_path: Path
) -> None:
    (tmp_path / "boot").mkdir()
    (tmp_path / PATH).write_bytes(CONTENT)
    assert await boot.fetch(wanted(source)) == Outcome.ALREADY
    assert source.requests == []
    (tmp_path / PATH).write_bytes(b"older")
    assert await boot.fetch(wanted(source)) == Outcome.CREATED
    assert (tmp_path / PATH).read_bytes() == CONTENT


async def test_without_a_checksum_length_and_time_of_change_decide(
    source: Source, boot: BootRoot, tmp_path: Path
) -> None:
    file = wanted(source, sha256="")
    await boot.fetch(file)
    assert await boot.fetch(file) == Outcome.ALREADY
    source.content, source.changed = CONTENT[::-1], "Thu, 22 Oct 2015 07:28:00 GMT"
    assert await boot.fetch(file) == Outcome.CREATED
    assert (tmp_path / PATH).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("sha256", [SHA256, ""])
async def test_fifty_callers_cause_one_download(
    source: Source, boot: BootRoot, sha256: str
) -> None:
    outcomes = await asyncio.gather(*(boot.fetch(wanted(source, sha256)) for _ in range(50)))
    assert sorted(outcomes) == [Outcome.ALREADY] * 49 + [Outcome.CREATED]
    assert len(source.requests) == 1


async def test_a_download_that_breaks_off_goes_on_where_it_was(
    source: Source, boot: BootRoot, tmp_path: Path
) -> None:
    source.breaks = [100_000, 50_000]
    assert await boot.fetch(wanted(source)) == Outcome.CREATED
    assert (tmp_path / PATH).read_bytes() == CONTENT
    assert [asked.get("range") for asked in source.requests] == [
        None,
        "bytes=100000-",
        "bytes=150000-",
    ]


async def test_a_source_that_cannot_go_on_is_read_from_the_start(
    source: Source, boot: BootRoot, tmp_path: Path
) -> None:
    source.breaks, source.ranges = [100_000], False
    assert await boot.fetch(wanted(source, sha256="")) == Outcome.CREATED
    assert (tmp_path / PATH).read_bytes() == CONTENT


async def test_a_file_that_changes_meanwhile_is_not_stitched_together(
    source: Source, boot: BootRoot, tmp_path: Path
) -> None:
    source.breaks, source.next_version = [100_000], CONTENT[::-1]
    await boot.fetch(wanted(source, sha256=""))
    assert source.requests[1]["range"] == "bytes=100000-"
    assert (tmp_path / PATH).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("sha256", [SHA256, ""])
async def test_a_truncated_file_is_unverified_and_never_takes_the_name(
    source: Source, boot: BootRoot, tmp_path: Path, sha256: str
) -> None:
    source.breaks = [100_000] * 3
    source.ranges = False
    with pytest.raises(Unverified, match="cut short after 100000 bytes"):
        await boot.fetch(wanted(source, sha256))
    assert visible(tmp_path) == ([PART] if sha256 else [])


async def test_a_later_call_goes_on_where_an_earlier_one_gave_up(
    source: Source, boot: BootRoot, tmp_path: Path
) -> None:
    source.breaks = [100_000, 0, 0]
    with pytest.raises(Unverified, match="cut short"):
        await boot.fetch(wanted(source))
    source.requests.clear()
    assert await boot.fetch(wanted(source)) == Outcome.CREATED
    assert [asked.get("range") for asked in source.requests] == ["bytes=100000-"]
    assert (tmp_path / PATH).read_bytes() == CONTENT
    assert visible(tmp_path) == [PATH]


async def test_more_than_there_is_was_left_and_is_thrown_away(
    source: Source, boot: BootRoot, tmp_path: Path
) -> None:
    (tmp_path / "boot").mkdir()
    (tmp_path / PART).write_bytes(CONTENT + b"more")
    assert await boot.fetch(wanted(source)) == Outcome.CREATED
    assert (tmp_path / PATH).read_bytes() == CONTENT
    assert [asked.get("range") for asked in source.requests] == ["bytes=300004-", None]


async def test_what_was_left_of_something_else_is_found_out_and_fetched_anew(
    source: Source, boot: BootRoot, tmp_path: Path
) -> None:
    (tmp_path / "boot").mkdir()
    (tmp_path / PART).write_bytes(b"of another file" * 1000)
    with pytest.raises(Unverified, match=SHA256):
        await boot.fetch(wanted(source))
    assert visible(tmp_path) == []
    assert await boot.fetch(wanted(source)) == Outcome.CREATED
    assert (tmp_path / PATH).read_bytes() == CONTENT


async def test_a_download_that_was_whole_before_its_process_ended_needs_no_source(
    source: Source, boot: BootRoot, tmp_path: Path
) -> None:
    (tmp_path / "boot").mkdir()
    (tmp_path / PART).write_bytes(CONTENT)
    assert await boot.fetch(wanted(source)) == Outcome.CREATED
    assert source.requests == []
    assert visible(tmp_path) == [PATH]


async def test_a_file_that_is_forgotten_leaves_nothing_of_a_broken_download(
    source: Source, boot: BootRoot, tmp_path: Path
) -> None:
    source.breaks = [100_000, 0, 0]
    with pytest.raises(Unverified):
        await boot.fetch(wanted(source))
    assert await boot.forget(PATH) == Outcome.ABSENT
    assert visible(tmp_path) == []


async def test_a_wrong_checksum_is_unverified_and_the_old_file_stays(
    source: Source, boot: BootRoot, tmp_path: Path
) -> None:
    (tmp_path / "boot").mkdir()
    (tmp_path / PATH).write_bytes(b"old")
    with pytest.raises(Unverified, match=SHA256):
        await boot.fetch(wanted(source, sha256="0" * 64))
    assert (tmp_path / PATH).read_bytes() == b"old"
    assert visible(tmp_path) == [PATH]


async def test_a_wrong_size_is_unverified(source: Source, boot: BootRoot) -> None:
    with pytest.raises(Unverified, match="has 300000 bytes, not 5"):
        await boot.fetch(wanted(source, size=5))


@pytest.mark.parametrize(
    ("status", "kind", "tries"),
    [
        ("404 Not Found", Refused, 1),
        ("403 Forbidden", Refused, 1),
        ("503 Service Unavailable", Busy, 3),
        ("500 Internal Server Error", Unavailable, 3),
    ],
)
async def test_each_answer_has_its_branch(
    source: Source,
    boot: BootRoot,
    tmp_path: Path,
    status: str,
    kind: type[OutsideError],
    tries: int,
) -> None:
    source.status = status
    with pytest.raises(OutsideError) as caught:
        await boot.fetch(wanted(source))
    assert type(caught.value) is kind
    assert status in caught.value.said
    assert len(source.requests) == tries
    assert visible(tmp_path) == []


async def test_a_source_that_is_down_is_unavailable(boot: BootRoot) -> None:
    async with listening(Source()) as gone:
        pass
    with pytest.raises(Unavailable, match="ConnectError"):
        await boot.fetch(wanted(gone))


async def test_a_file_that_is_too_long_is_refused(source: Source, boot: BootRoot) -> None:
    source.content = bytes(10**6 + 1)
    with pytest.raises(Refused, match="longer than 1000000 bytes"):
        await boot.fetch(wanted(source))


async def test_what_nothing_can_prove_whole_is_refused(source: Source, boot: BootRoot) -> None:
    source.states_length = False
    with pytest.raises(Refused, match="nothing proves"):
        await boot.fetch(wanted(source, sha256=""))
    assert await boot.fetch(wanted(source)) == Outcome.CREATED


@pytest.mark.parametrize(
    "path",
    ["../x", "boot/../../x", "/etc/x", "", "boot/", ".lock", "a\0b", "outside/x", "boot/.x.part"],
)
async def test_a_path_outside_of_the_root_is_refused(
    source: Source, boot: BootRoot, tmp_path: Path, path: str
) -> None:
    (tmp_path / "outside").symlink_to("/")
    with pytest.raises(Refused, match="boot root"):
        await boot.fetch(BootFile(path=path, url=source.url, sha256=SHA256))
    assert source.requests == []


@pytest.mark.parametrize("url", ["nfs://x/vmlinuz", "file:///etc/passwd", "nonsense"])
async def test_a_source_that_is_no_http_url_is_refused(boot: BootRoot, url: str) -> None:
    with pytest.raises(Refused):
        await boot.fetch(BootFile(path=PATH, url=url, sha256=SHA256))


async def test_removal_leaves_nothing_and_meets_downloads_without_harm(
    source: Source, boot: BootRoot, tmp_path: Path
) -> None:
    await boot.fetch(wanted(source))
    assert await boot.forget(PATH) is Outcome.REMOVED
    assert everything(tmp_path) == []
    assert await boot.forget(PATH) is Outcome.ABSENT
    for _ in range(20):
        fetched, _, again = await asyncio.gather(
            boot.fetch(wanted(source)), boot.forget(PATH), boot.fetch(wanted(source))
        )
        assert Outcome.CREATED in (fetched, again)
        await boot.fetch(wanted(source))
        assert (tmp_path / PATH).read_bytes() == CONTENT
        await boot.forget(PATH)
    assert everything(tmp_path) == []
