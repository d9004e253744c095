"""What we know: hosts, builds, callbacks, steps, effects, and the life of a host.

The inventory is the record of truth; the workflow engine is not. It imports no other room.
"""
