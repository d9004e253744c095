"""Stand-ins for outside systems: same protocols, no root, with faults that can be switched on."""
