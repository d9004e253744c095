"""The bench for tests of tasks."""

from tests.flows.bench import bench, no_pauses

__all__ = ["bench", "no_pauses"]
