"""How to speak to each outside system: typed clients that know neither Prefect nor our tables."""
