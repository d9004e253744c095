"""How deep the JSON of others is nested: the depth is theirs to choose, and recursion is ours."""

from __future__ import annotations

__all__ = ["deeper_than"]


def deeper_than(value: object, levels: int) -> bool:
    """Whether objects and lists lie in each other on more levels than these."""
    # By level and not by recursion, which is what this is to protect.
    present = [value]
    for _ in range(levels + 1):
        containers = [one for one in present if isinstance(one, dict | list)]
        if not containers:
            return False
        present = [
            inner
            for one in containers
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return True
