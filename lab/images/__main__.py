"""``python -m lab.images``: build everything that the lab's machines boot and install."""

from __future__ import annotations

import asyncio
import time

from lab.cache import Cache
from lab.images import build


def main() -> None:
    """Build, and say what was done and how long it took."""
    cache = Cache()
    started = time.monotonic()
    images = asyncio.run(build(cache))
    for made in cache.made:
        print(f"{made.name:20} {'reused' if made.reused else f'{made.seconds:6.1f} s'}")
    print(f"install tree: {images.tree}")
    print(f"all in {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main()
