"""The bench, as the tests of the flows have it."""

from tests.flows.bench import bare, bench, no_pauses

__all__ = ["bare", "bench", "no_pauses"]
