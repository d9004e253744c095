"""One retriable Prefect task for each interaction, one module for each outside system."""
