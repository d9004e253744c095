"""The bench for every test of a flow."""

from tests.flows.bench import bare, bench, no_pauses

__all__ = ["bare", "bench", "no_pauses"]
