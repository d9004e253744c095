"""Malformed and hostile requests at every endpoint: ``python -m tests.hostile`` counts the harm."""
