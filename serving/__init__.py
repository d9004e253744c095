"""Listeners that tell an application by whom each connection was made: shared by all that serve."""
