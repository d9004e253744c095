import pytest
from pydantic import ValidationError

from integrations.records import Loader
from templates.models import BootInput, DiscoveryInput
from templates.render import render_boot_config, render_default, render_local_boot
from tests.templates.values import boot, discovery


def test_the_installer_is_told_its_interface_kickstart_and_image() -> None:
    assert boot.options == (
        "BOOTIF=01-52-54-00-aa-bb-01 "
        "inst.ks=http://192.0.2.1:8000/unattended/provision?token=abc&static=1 inst.ks.sendmac "
        "ip=dhcp inst.stage2=http://192.0.2.1:8080/tree console=ttyS0"
    )


def test_pxelinux_installs_by_paths_below_the_boot_root() -> None:
    assert render_boot_config(Loader.PXELINUX, boot) == (
        "DEFAULT install\nLABEL install\n  KERNEL boot/labos-vmlinuz\n"
        f"  INITRD boot/labos-initrd.img\n  APPEND {boot.options}\n"
    )


def test_grub_installs_with_its_own_metacharacters_escaped() -> None:
    text = render_boot_config(Loader.GRUB2, boot)
    assert "  linux /boot/labos-vmlinuz BOOTIF=01-52-54-00-aa-bb-01 " in text
    assert r"token=abc\&static=1 " in text
    assert "  initrd /boot/labos-initrd.img\n" in text


def test_ipxe_installs_over_http_boot() -> None:
    lines = render_boot_config(Loader.IPXE, boot).splitlines()
    assert lines[0] == "#!ipxe"
    assert lines[1] == (
        "kernel http://192.0.2.1:8000/httpboot/boot/labos-vmlinuz initrd=initrd.img " + boot.options
    )
    assert lines[2].endswith(" http://192.0.2.1:8000/httpboot/boot/labos-initrd.img")
    assert lines[3] == "boot"


def test_an_installed_host_is_sent_to_its_disk() -> None:
    assert "LOCALBOOT 0" in render_local_boot(Loader.PXELINUX)
    assert "chainloader $loader" in render_local_boot(Loader.GRUB2)
    assert render_local_boot(Loader.IPXE) == "#!ipxe\nexit\n"


def test_every_default_starts_discovery_with_the_boot_interface() -> None:
    pxelinux = render_default(Loader.PXELINUX, discovery)
    assert "  IPAPPEND 2\n" in pxelinux
    assert " BOOTIF=01-$m\n" in render_default(Loader.GRUB2, discovery)
    assert " BOOTIF=01-${netX/mac:hexhyp}\n" in render_default(Loader.IPXE, discovery)
    for loader in Loader:
        text = render_default(loader, discovery)
        assert "proxy.url=http://192.0.2.1:8000 proxy.type=proxy console=ttyS0" in text
        assert "boot/fdi-image/vmlinuz0" in text
        assert "boot/fdi-image/initrd0.img" in text


def test_grub_and_ipxe_try_the_machines_own_file_before_discovery() -> None:
    grub = render_default(Loader.GRUB2, discovery)
    assert "[ -f" not in grub.replace("[ -f FILE ]", "")
    assert grub.index("configfile /grub2/grub.cfg-01-$m") < grub.index("menuentry")
    ipxe = render_default(Loader.IPXE, discovery)
    fetch = ipxe.index("/httpboot/pxelinux.cfg/01-${netX/mac:hexhyp}.ipxe || goto discovery")
    assert fetch < ipxe.index("\nexit\n") < ipxe.index(":discovery\n")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("options", "quiet\nDEFAULT other"),
        ("options", 'quiet "x"'),
        ("options", "x" * 2000),
        ("kernel", "/etc/passwd"),
        ("kernel", "boot/a b"),
        ("proxy_url", "http://192.0.2.1/ x"),
        ("proxy_url", "ftp://192.0.2.1"),
        ("mac", "nonsense"),
    ],
)
def test_a_value_that_would_change_the_configuration_is_refused(field: str, value: str) -> None:
    with pytest.raises(ValidationError, match=field):
        BootInput.model_validate(boot.model_dump() | {field: value})


@pytest.mark.parametrize("path", ["../etc/shadow", "boot/../../etc/shadow", "/vmlinuz", ""])
def test_a_discovery_path_may_not_leave_the_boot_root(path: str) -> None:
    with pytest.raises(ValidationError, match="kernel"):
        DiscoveryInput.model_validate(discovery.model_dump() | {"kernel": path})
