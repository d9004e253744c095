"""A virtual site: real servers and PXE-booting machines, and a simulated one for fleets."""
