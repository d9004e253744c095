"""The installer: its initramfs and its program, which must run without the rest of the lab."""
