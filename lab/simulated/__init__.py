"""A site of coroutines: any number of hosts and their servers on the loopback, without root."""

from lab.simulated.host import Fault, Pace, VirtualHost
from lab.simulated.site import SimulatedSite, simulated_site

__all__ = ["Fault", "Pace", "SimulatedSite", "VirtualHost", "simulated_site"]
