from integrations.records import Loader
from templates.models import BootInput, DiscoveryInput, InstallerOptions, KickstartInput
from templates.render import installer_options

__all__ = ["PUPPET", "RHSM", "Loader", "boot", "discovery", "kickstart"]

OPTIONS = installer_options(
    InstallerOptions(
        mac="52:54:00:AA:BB:01",
        kickstart_url="http://192.0.2.1:8000/unattended/provision?token=abc&static=1",
        stage2_url="http://192.0.2.1:8080/tree",
        kernel_options="console=ttyS0",
    )
)
boot = BootInput(
    mac="52:54:00:AA:BB:01",
    kernel="boot/labos-vmlinuz",
    initrd="boot/labos-initrd.img",
    proxy_url="http://192.0.2.1:8000",
    options=OPTIONS,
)
discovery = DiscoveryInput(
    kernel="boot/fdi-image/vmlinuz0",
    initrd="boot/fdi-image/initrd0.img",
    proxy_url="http://192.0.2.1:8000",
    options="console=ttyS0",
)


PUPPET = {
    "server": "puppet.example.org",
    "certname": "web01.example.org",
    "environment": "production",
    "token": "cafe0123",
}


PEM = "-----BEGIN CERTIFICATE-----\nTUlJQg==\n-----END CERTIFICATE-----\n"
RHSM = {
    "hostname": "rackrise.example.org",
    "port": 8444,
    "ca": PEM,
    "content_url": "https://pulp.example.org/pulp/content",
    "owner": "ACME",
    "keys": "web,cafe0123",
}


def kickstart(**changes: object) -> KickstartInput:
    values: dict[str, object] = {
        "fqdn": "web01.example.org",
        "mac": "52:54:00:aa:bb:01",
        "gateway_url": "http://192.0.2.1:8000",
        "token": "tok-EN_1",
        "tree_url": "http://192.0.2.1:8080/tree/",
        "root_password_hash": "$6$salt$hash./1",
        "packages": ("@core", "kernel-labos", "-plymouth"),
        "kernel_options": "console=ttyS0 net.ifnames=0",
    }
    return KickstartInput.model_validate(values | changes)
