"""Build products outside git, named by the hash of what made them, so that nothing is built twice.

Several processes may ask for the same product at once: one builds, the others wait for it and find
it finished. A product is a directory that appears whole or not at all. Nothing here is precious:
delete the directory whenever you like.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Cache", "Made", "default_directory", "key"]

_SETTING = "RACKRISE_LAB_CACHE"
_UNFINISHED = ".unfinished"
_STALE_AFTER = 7 * 24 * 3600.0


def default_directory() -> Path:
    """Where products are kept: ``RACKRISE_LAB_CACHE``, else ``.cache/lab`` in the clone."""
    named = os.environ.get(_SETTING)
    return Path(named) if named else Path(__file__).resolve().parent.parent / ".cache" / "lab"


def key(*parts: str | bytes | Path) -> str:
    """Hash what makes a product: texts as they are, files by their content.

    Each part is hashed by itself first, so that moving text from one part to the next gives
    another key.
    """
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            content = part.read_bytes()
        else:
            content = part.encode() if isinstance(part, str) else part
        total.update(hashlib.sha256(content).digest())
    return total.hexdigest()[:16]


@dataclass(frozen=True)
class Made:
    """What became of one request: the product, and whether it had to be built.

    Args:
        name: what it is.
        path: the directory that holds it.
        seconds: how long it took, waiting for another builder included.
        reused: it was there already.
    """

    name: str
    path: Path
    seconds: float
    reused: bool


@dataclass
class Cache:
    """A directory of products; ``made`` lists what was asked of it, in order of completion."""

    directory: Path = field(default_factory=default_directory)
    made: list[Made] = field(default_factory=list)

    async def product(
        self,
        name: str,
        made_from: str,
        build: Callable[[Path], Awaitable[None]],
        *,
        deadline: float = 1200,
    ) -> Path:
        """Give the directory of a product, building it first if it is not there.

        Args:
            name: what it is; part of the directory's name.
            made_from: from ``key``; another key is another product.
            build: fills the empty directory that it is given.
            deadline: seconds that another builder of the same product may take.

        Raises:
            TimeoutError: another process builds the same product and does not finish.
        """
        started = time.monotonic()
        path = self.directory / name / made_from
        path.parent.mkdir(parents=True, exist_ok=True)
        async with _only_one(path.with_name("lock"), deadline):
            reused = path.is_dir()
            if not reused:
                await asyncio.to_thread(_forget, path.parent)
                unfinished = path.with_suffix(_UNFINISHED)
                unfinished.mkdir()
                await build(unfinished)
                unfinished.rename(path)
            os.utime(path)
        self.made.append(Made(name, path, time.monotonic() - started, reused))
        return path


def _forget(products: Path) -> None:
    """Remove what a builder left that was killed, and what nobody has asked for in a week.

    Called by the one builder that there is, so that nothing unfinished can be in use.
    """
    for old in products.iterdir():
        stale = time.time() - old.stat().st_mtime > _STALE_AFTER
        if old.is_dir() and (stale or old.suffix == _UNFINISHED):
            shutil.rmtree(old)


@asynccontextmanager
async def _only_one(lock: Path, deadline: float) -> AsyncIterator[None]:
    with lock.open("w") as held:
        try:
            async with asyncio.timeout(deadline):
                while True:
                    try:
                        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except BlockingIOError:
                        await asyncio.sleep(0.1)
        except TimeoutError:
            raise TimeoutError(
                f"another process builds under {lock} and did not finish within {deadline:g} s"
            ) from None
        yield
