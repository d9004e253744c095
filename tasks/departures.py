"""Remembers, while a run lasts, which hosts have left it and why: for the table at its end."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["Departure", "note", "watch"]


@dataclass(frozen=True)
class Departure:
    """A host that failed among others and goes on in a run of its own."""

    host: str
    step: str
    error: Exception


_LEFT: ContextVar[list[Departure]] = ContextVar("left")


def watch() -> list[Departure]:
    """Begin to remember; the list grows while the run's tasks work."""
    left: list[Departure] = []
    _LEFT.set(left)
    return left


def note(host: str, step: str, error: Exception) -> None:
    """A host leaves the run; where nobody watches, nobody is told."""
    # Prefect gives a task a copy of the flow's context: the list in it is the same.
    _LEFT.get([]).append(Departure(host, step, error))
