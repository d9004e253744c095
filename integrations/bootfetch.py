"""Getting a kernel or initrd below the boot root, whole and proven, before any machine asks for it.

Foreman's proxy downloads in the background onto the final name and never says how it went. Here a
download happens beside the final name, is compared with its checksum (or with the length that the
source states), and only then takes the name's place. While it runs, and when it fails, loaders
read the old file. One that breaks off is gone on with by the next, where a checksum can prove it.
"""

from __future__ import annotations

import asyncio
import email.utils
import fcntl
import hashlib
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from integrations.bootplaces import boot_path, publish, readable_directory
from integrations.errors import Busy, OutsideError, Refused, Unavailable, Unverified
from integrations.records import BootFile, Outcome

__all__ = ["FetchLimits", "fetch_boot_file", "part_of", "remove_boot_file"]

_LOCK_POLL = 0.05


@dataclass(frozen=True)
class FetchLimits:
    """What a download may take."""

    max_bytes: int = 2 * 1024**3
    attempts: int = 4
    """Tries, each going on where the one before broke off, if the source can do that."""
    pause: float = 1
    """Seconds before the second try; doubled before each further one."""
    deadline: float = 1800
    """Seconds for everything, waiting for another's download of the same file included."""


async def fetch_boot_file(
    client: httpx.AsyncClient, root: Path, file: BootFile, limits: FetchLimits
) -> Outcome:
    """Make a boot file lie there whole: CREATED, or ALREADY if this very file was there.

    Without a checksum (Foreman's API has none) the source's length decides whether a download is
    whole, and its length and time of change whether the file is there already. Any number of
    callers, in this process or another, cause one download.

    Raises:
        Refused: the source says no (404 ...), or the file is longer than allowed.
        Unverified: what came is cut short or has another checksum.
        Unavailable: the source cannot be reached or fails, after all tries, or time is up.
        ValueError: the path does not lie below the root.
        OSError: the disk is full or rights are missing.
    """
    place = boot_path(root, file.path)
    download = _Download(client, place, file, limits)
    asked = time.time_ns()
    try:
        async with asyncio.timeout(limits.deadline), _locked(_beside(place, "lock")) as lock:
            if await asyncio.to_thread(_is_there, place, file, _noted(lock), asked):
                outcome = Outcome.ALREADY
            else:
                outcome = await download.run()
            await asyncio.to_thread(_note, lock, place, file)
            return outcome
    except TimeoutError:
        said = f"not done within {limits.deadline:g} s, {download.got} bytes so far"
        raise Unavailable(**download.blame, said=said) from None


async def remove_boot_file(root: Path, path: str, deadline: float = 5) -> Outcome:
    """Remove a boot file with all that lies beside it: REMOVED or ABSENT.

    Raises:
        Unavailable: it is being fetched at this moment.
        ValueError: the path does not lie below the root.
        OSError: rights are missing.
    """
    place = boot_path(root, path)
    lock = _beside(place, "lock")
    if not place.exists() and not lock.exists():
        return Outcome.ABSENT
    try:
        async with asyncio.timeout(deadline), _locked(lock):
            return await asyncio.to_thread(_remove, place, lock)
    except TimeoutError:
        blame = {"system": "boot file", "address": str(place), "operation": "remove it"}
        raise Unavailable(**blame, said="it is being fetched") from None


def _remove(place: Path, lock: Path) -> Outcome:
    part_of(place).unlink(missing_ok=True)
    outcome = Outcome.REMOVED if place.exists() else Outcome.ABSENT
    place.unlink(missing_ok=True)
    lock.unlink(missing_ok=True)
    return outcome


class _Note(BaseModel):
    """Kept in the lock file: what was proven of the file, so that nobody need read it again."""

    model_config = ConfigDict(frozen=True)

    url: str
    sha256: str
    size: int
    mtime_ns: int
    proven_ns: int
    """When, by the system's clock."""


def _noted(lock: BinaryIO) -> _Note | None:
    try:
        return _Note.model_validate_json(lock.read())
    except ValidationError:
        return None  # the first time it is empty; at worst a file is read once more


def _note(lock: BinaryIO, place: Path, file: BootFile) -> None:
    state = place.stat()
    note = _Note(
        url=file.url,
        sha256=file.sha256.lower(),
        size=state.st_size,
        mtime_ns=state.st_mtime_ns,
        proven_ns=time.time_ns(),
    )
    lock.seek(0)
    lock.truncate()
    lock.write(note.model_dump_json().encode())


def _is_there(place: Path, file: BootFile, note: _Note | None, asked: int) -> bool:
    """Whether the file that is there needs no question to the source."""
    if not place.is_file():
        return False
    state = place.stat()
    if note and (note.size, note.mtime_ns) != (state.st_size, state.st_mtime_ns):
        note = None
    if not file.sha256:
        # Fetched for somebody else while we waited for the lock: it cannot be fresher.
        return note is not None and note.url == file.url and note.proven_ns > asked
    if note and note.sha256:
        return note.sha256 == file.sha256.lower()
    with place.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == file.sha256.lower()


class _Download:
    """One file on its way, over as many tries as it takes."""

    def __init__(
        self, client: httpx.AsyncClient, place: Path, file: BootFile, limits: FetchLimits
    ) -> None:
        self._client = client
        self._place = place
        self._file = file
        self._limits = limits
        self._digest = hashlib.sha256()
        self._version = ""
        self._changed: float | None = None
        self.got = 0
        self.blame = {
            "system": "boot file source",
            "address": file.url,
            "operation": f"give {file.path}",
        }

    async def run(self) -> Outcome:
        """Download, compare, and only then take the name's place."""
        part = part_of(self._place)
        # What an earlier call left off is worth something only if its end can be proven.
        with part.open("a+b" if self._file.sha256 else "w+b") as out:
            broke_off = False
            try:
                await asyncio.to_thread(self._read_again, out)
                if not self._is_whole():
                    broke_off = True
                    if await self._whole(out) is Outcome.ALREADY:
                        return Outcome.ALREADY
                    broke_off = False
                if self._file.sha256 and not self._is_whole():
                    found = self._digest.hexdigest()
                    said = f"{self.got} bytes with SHA-256 {found}, not {self._file.sha256}"
                    raise Unverified(**self.blame, said=said)
                await asyncio.to_thread(publish, out, self._place, self._changed)
            finally:
                # Gone already when it has taken its place.
                if not (broke_off and self._file.sha256 and self.got):
                    part.unlink(missing_ok=True)
        return Outcome.CREATED

    def _read_again(self, out: BinaryIO) -> None:
        """Go on after what an earlier call, perhaps of a process that was killed, has fetched."""
        out.seek(0)
        while chunk := out.read(1 << 20):
            self._digest.update(chunk)
            self.got += len(chunk)

    def _is_whole(self) -> bool:
        return self._digest.hexdigest() == self._file.sha256.lower()

    async def _whole(self, out: BinaryIO) -> Outcome:
        pause = self._limits.pause
        for left in reversed(range(self._limits.attempts)):
            try:
                return await self._attempt(out)
            except OutsideError as error:
                if not left or not error.retriable:
                    raise
            await asyncio.sleep(pause)
            pause *= 2
        raise ValueError("a download needs at least one attempt")

    async def _attempt(self, out: BinaryIO) -> Outcome:
        # The bytes as they lie there: a .gz file must not be unpacked on the way.
        headers = {"Accept-Encoding": "identity"}
        if self.got and (self._version or self._file.sha256):
            headers["Range"] = f"bytes={self.got}-"
            if self._version:
                headers["If-Range"] = self._version
        try:
            async with self._client.stream(
                "GET", self._file.url, headers=headers, follow_redirects=True
            ) as response:
                self._check_status(response, out)
                total = self._start(response, out)
                if self._same_as_there(total):
                    return Outcome.ALREADY
                async for chunk in response.aiter_raw():
                    self.got += len(chunk)
                    self._check_limit(self.got)
                    await asyncio.to_thread(self._keep, out, chunk)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
            raise Refused(**self.blame, said=str(error)) from error
        except httpx.RemoteProtocolError as error:
            said = f"cut short after {self.got} bytes: {error}"
            raise Unverified(**self.blame, said=said) from error
        except httpx.HTTPError as error:
            said = f"{error or 'no answer in time'} ({type(error).__name__})"
            raise Unavailable(**self.blame, said=said) from error
        if total is not None and self.got != total:
            raise Unverified(**self.blame, said=f"{self.got} bytes came, not {total}")
        return Outcome.CREATED

    def _check_status(self, response: httpx.Response, out: BinaryIO) -> None:
        status = response.status_code
        if status in (200, 206):
            return
        if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            said = f"it has less than the {self.got} bytes that an earlier try has fetched"
            self._begin_anew(out)
            raise Unverified(**self.blame, said=said)
        said = f"HTTP {status} {response.reason_phrase}"
        if status in (408, 429, 503):
            raise Busy(**self.blame, said=said)
        if status >= 500:
            raise Unavailable(**self.blame, said=said)
        raise Refused(**self.blame, said=said)

    def _start(self, response: httpx.Response, out: BinaryIO) -> int | None:
        """Go on where the last try broke off, or begin anew; the length of the whole, if stated."""
        length = response.headers.get("Content-Length", "")
        goes_on = response.headers.get("Content-Range", "").startswith(f"bytes {self.got}-")
        if response.status_code != 206 or not goes_on:
            self._begin_anew(out)
        tag = response.headers.get("ETag", "")
        changed = response.headers.get("Last-Modified", "")
        self._version = changed if tag.startswith("W/") else tag or changed
        self._changed = _seconds(changed)
        total = self.got + int(length) if length.isdigit() else self._file.size
        if total is None and not self._file.sha256:
            said = "it states no length, and no checksum is known: nothing proves a download whole"
            raise Refused(**self.blame, said=said)
        if self._file.size is not None and total != self._file.size:
            raise Unverified(**self.blame, said=f"has {total} bytes, not {self._file.size}")
        self._check_limit(total or 0)
        return total

    def _begin_anew(self, out: BinaryIO) -> None:
        self.got = 0
        self._digest = hashlib.sha256()
        out.seek(0)
        out.truncate()

    def _same_as_there(self, total: int | None) -> bool:
        if self._file.sha256 or self._changed is None or not self._place.is_file():
            return False
        state = self._place.stat()
        return (state.st_size, int(state.st_mtime)) == (total, int(self._changed))

    def _check_limit(self, size: int) -> None:
        if size > self._limits.max_bytes:
            said = f"the file is longer than {self._limits.max_bytes} bytes"
            raise Refused(**self.blame, said=said)

    def _keep(self, out: BinaryIO, chunk: bytes) -> None:
        out.write(chunk)
        self._digest.update(chunk)


def _seconds(date: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None  # a source need not say when its file was changed


def part_of(place: Path) -> Path:
    """Where a download lies while it is under way, or broken off."""
    return _beside(place, "part")


def _beside(place: Path, suffix: str) -> Path:
    return place.with_name(f".{place.name}.{suffix}")


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[BinaryIO]:
    """Hold a lock that also other processes honour; polled, so that waiting costs no thread."""
    while True:
        with _opened(path) as lock:
            await _flocked(lock)
            if not _is(path, lock):
                # It was deleted with its boot file meanwhile: nobody else would see this lock.
                continue
            lock.seek(0)
            yield lock
            return


async def _flocked(lock: BinaryIO) -> None:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            # Uneven, or all who wait would come back, and fail, at the same instants.
            await asyncio.sleep(random.uniform(0, 2 * _LOCK_POLL))


def _is(path: Path, lock: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _opened(path: Path) -> BinaryIO:
    readable_directory(path.parent)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
