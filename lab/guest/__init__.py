"""What runs inside the machines: initramfs scripts, the installer, the installed system's files."""
