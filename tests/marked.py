"""Finds whatever a test has started, however it was started: a mark in its environment says so."""

from __future__ import annotations

import psutil

__all__ = ["MARK", "marked"]

MARK = "RACKRISE_TEST_MARK"
"""The variable; its value is the test's own."""


def marked(mark: str) -> list[str]:
    """The command lines of what runs with a mark; not of the process that has set it for others."""
    found = []
    for one in psutil.process_iter():
        try:
            if one.environ().get(MARK) == mark:
                found.append(" ".join(one.cmdline()))
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found
