"""The real servers of the lab, each started by one function from Debian's package."""
