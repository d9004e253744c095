"""Tries each outside system with the calls that provisioning makes, and leaves no trace there."""
