"""The Smart Proxy service beside DHCP, DNS and TFTP: a thin HTTP front over `integrations`."""
