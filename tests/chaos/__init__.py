"""Faults at every point of every flow, and what must hold after each."""
