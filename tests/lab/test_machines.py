"""Virtual machines from power-on to the first boot from disk, with the least of a server."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from lab.images import build
from lab.namespace import Namespace, namespace
from lab.process import running
from lab.qemu import Loader, Machine
from lab.servers.dhcp import BootClass, Client, DhcpLab
from lab.servers.http import http_server
from lab.servers.isc import isc
from lab.servers.router import router
from lab.servers.tftpd import tftpd

pytestmark = [pytest.mark.machines, pytest.mark.timeout(1500)]

SITE = "http://192.0.2.1:8080"
TREE = "http://192.0.2.1:8081"
MAC = "52:54:00:12:34:01"
DASHED = MAC.replace(":", "-")
CONSOLE = "console=ttyS0 quiet mitigations=off"

DISCOVERY = ("boot/fdi-image/vmlinuz0", "boot/fdi-image/initrd0.img")
DISCOVERY_ARGUMENTS = (
    f"proxy.url={SITE} proxy.type=proxy BOOTIF=01-{DASHED} fdi.pxfactname1=rack fdi.pxfactvalue1=r7"
)
INSTALL_ARGUMENTS = (
    f"inst.ks={SITE}/ks inst.ks.sendmac inst.stage2={TREE}/ ip=dhcp BOOTIF=01-{DASHED}"
)

KICKSTART = f"""\
text
url --url={TREE}/
lang C.UTF-8
keyboard us
timezone --utc Etc/UTC
rootpw --plaintext a-test-password
network --bootproto=dhcp --device={MAC} --hostname=node1.lab.example
bootloader --location=mbr --append="mitigations=off"
zerombr
clearpart --all --initlabel
autopart --type=plain --nohome
reboot
%packages
@^minimal-environment
%end
%pre
curl -sf --retry 5 -d started {SITE}/progress
%end
%post --nochroot
test -d /mnt/sysimage/etc && curl -sf --retry 5 -d nochroot {SITE}/progress
%end
%post --erroronfail --log=/root/ks-post.log
set -e
cat >/usr/local/sbin/report <<'SCRIPT'
#!/bin/sh
root=$(findmnt -no SOURCE,FSTYPE /)
until curl -sf -d "$(hostname) $root $(rpm -qa | sort | tr '\\n' ' ')" {SITE}/first_boot; do
  sleep 1
done
SCRIPT
chmod 700 /usr/local/sbin/report
cat >/etc/systemd/system/report.service <<'UNIT'
[Unit]
Wants=network-online.target
After=network-online.target
[Service]
ExecStart=/usr/local/sbin/report
[Install]
WantedBy=multi-user.target
UNIT
systemctl enable report.service
curl -sf --retry 5 -d "$(rpm -qa | wc -l) packages" {SITE}/built
%end
%onerror
curl -sf --retry 5 -d failed {SITE}/failed
%end
"""


@dataclass
class Site:
    """A namespace with DHCP, a router, an install tree, and a server that takes everything."""

    namespace: Namespace
    root: Path
    events_file: Path
    started: float

    def events(self, method: str, path: str) -> list[dict[str, Any]]:
        lines = self.events_file.read_text().splitlines()
        return [e for e in map(json.loads, lines) if (e["method"], e["path"]) == (method, path)]

    async def event(
        self, method: str, path: str, machine: Machine, *, deadline: float, skip: int = 0
    ) -> dict[str, Any]:
        """Wait for a request; the error says what the machine did last."""
        end = time.monotonic() + deadline
        while len(found := self.events(method, path)) <= skip:
            if time.monotonic() > end or not machine.is_on():
                state = "on" if machine.is_on() else "off"
                pytest.fail(
                    f"no {method} {path} within {deadline:g} s; {machine.name} is {state}, "
                    f"its console ends with:\n{machine.tail(60)}"
                )
            await asyncio.sleep(0.2)
        wall, cost = time.monotonic() - self.started, machine.cpu_seconds() or 0
        print(f"{wall:7.1f} s wall {cost:7.1f} s CPU  {method} {path}: {found[skip]['body'][:99]}")
        return found[skip]

    def boots(self, loader: Loader, what: str) -> None:
        """Decide what the machine boots next: discovery, install or local."""
        kernel, initrd, arguments = {
            "discovery": (*DISCOVERY, f"{CONSOLE} {DISCOVERY_ARGUMENTS}"),
            "install": ("vmlinuz", "initrd.img", f"{CONSOLE} {INSTALL_ARGUMENTS}"),
            "local": ("", "", ""),
        }[what]
        match loader, what:
            case Loader.IPXE, "local":
                name, text = f"{DASHED}.ipxe", "#!ipxe\nexit\n"
            case Loader.IPXE, _:
                name = f"{DASHED}.ipxe"
                text = f"#!ipxe\nkernel {kernel} {arguments}\ninitrd {initrd}\nboot\n"
            case Loader.PXELINUX, "local":
                name, text = f"pxelinux.cfg/01-{DASHED}", "DEFAULT l\nLABEL l\nLOCALBOOT 0\n"
            case Loader.PXELINUX, _:
                name = f"pxelinux.cfg/01-{DASHED}"
                text = f"DEFAULT l\nLABEL l\nKERNEL {kernel}\nINITRD {initrd}\nAPPEND {arguments}\n"
            case _, "local":
                # A GRUB that exits tells the firmware that all is well, which opens its set-up.
                name, entry = "grub2/grub.cfg", "search --set=root --file /EFI/BOOT/BOOTX64.EFI"
                entry += "\nchainloader /EFI/BOOT/BOOTX64.EFI"
                text = f"set timeout=0\nmenuentry l {{\n{entry}\n}}\n"
            case _:
                name = "grub2/grub.cfg"
                entry = f"linux /{kernel} {arguments}\ninitrd /{initrd}"
                text = f"set timeout=0\nmenuentry l {{\n{entry}\n}}\n"
        file = self.root / name
        file.parent.mkdir(exist_ok=True)
        unfinished = file.with_name("unfinished")
        unfinished.write_text(text)
        unfinished.rename(file)


@asynccontextmanager
async def a_site(directory: Path, boot: BootClass) -> AsyncIterator[Site]:
    images = await build()
    root, events = directory / "root", directory / "events.jsonl"
    images.fill_tftp_root(root)
    for image in ("vmlinuz", "initrd.img"):
        shutil.copy(images.tree / "images" / "pxeboot" / image, root)
    own_server = Path(__file__).with_name("small_site.py")
    async with AsyncExitStack() as stack:
        net = await stack.enter_async_context(namespace(f"rr-machines-{os.getpid()}"))
        await net.add_tap("tap1")
        await stack.enter_async_context(router(net, log=directory / "router.log"))
        await stack.enter_async_context(isc(net, directory, DhcpLab(boot=(boot,))))
        await stack.enter_async_context(tftpd(root, directory / "tftpd.log", inside=net))
        tree_log = directory / "tree.log"
        await stack.enter_async_context(http_server(net, images.tree, port=8081, log=tree_log))
        command = (sys.executable, str(own_server), net.address, "8080", str(root), str(events))
        await stack.enter_async_context(
            running(
                "site",
                net.command(*command),
                log=directory / "site.log",
                ready=lambda: asyncio.to_thread(events.exists),
            )
        )
        yield Site(net, root, events, time.monotonic())


@contextmanager
def a_machine(site: Site, directory: Path, loader: Loader) -> Iterator[Machine]:
    made = Machine("node1", MAC, "tap1", site.namespace.name, directory / "vm", loader)
    made.prepare()
    try:
        yield made
    finally:
        made.power_off()


async def ask(site: Site, method: str, url: str) -> tuple[int, str]:
    printed = await site.namespace.run(
        "curl", "-s", "--max-time", "20", "-X", method, "-w", "\n%{http_code}", url
    )
    body, _, code = printed.rpartition("\n")
    return int(code), body


async def discover_and_reboot(site: Site, machine: Machine) -> None:
    """Check what the discovery image tells and obeys; it is rebooting at the end."""
    told = await site.event("POST", "/discovery/create", machine, deadline=180)
    facts = json.loads(told["body"])["facts"]
    assert told["headers"]["Content-Type"] == "application/json"
    assert facts["discovery_bootif"] == facts["macaddress_eth0"] == MAC
    assert facts["ipaddress"] == facts["ipaddress_eth0"] == told["client"]
    assert facts["network_eth0"] == "192.0.2.0"
    assert facts["netmask_eth0"] == "255.255.255.0"
    assert facts["interfaces"] == "eth0,lo"
    assert facts["blockdevices"] == "vda"
    assert facts["blockdevice_vda_size"] == str(2 << 30)
    assert facts["manufacturer"] == "QEMU"
    assert facts["serialnumber"] == "node1"
    assert facts["is_virtual"] is True
    assert facts["processorcount"] == facts["physicalprocessorcount"] == "1"
    assert 400 < float(facts["memorysize_mb"]) < 512
    assert facts["rack"] == "r7"

    power = f"http://{told['client']}:8448"
    status, inventory = await ask(site, "GET", f"{power}/inventory/facter")
    assert (status, json.loads(inventory)) == (200, facts)
    assert (await ask(site, "PUT", f"{power}/power/kexec"))[0] == 501
    assert (await ask(site, "GET", f"{power}/nothing"))[0] == 404

    site.boots(machine.loader, "install")
    assert await ask(site, "PUT", f"{power}/power/reboot") == (200, '{"result":true}')


async def install_and_boot(site: Site, machine: Machine, root: str) -> None:
    """Check what a machine that boots the installer does until its disk has booted."""
    KickstartParser(makeVersion("RHEL9")).readKickstartFromString(KICKSTART)
    asked = await site.event("GET", "/ks", machine, deadline=180)
    assert asked["headers"]["X-RHN-Provisioning-MAC-0"] == f"eth0 {MAC}"
    assert (await site.event("POST", "/progress", machine, deadline=60))["body"] == "started"
    nochroot = await site.event("POST", "/progress", machine, deadline=400, skip=1)
    assert nochroot["body"] == "nochroot"
    built = await site.event("POST", "/built", machine, deadline=60)
    assert built["body"] == "2 packages"
    site.boots(machine.loader, "local")

    booted = await site.event("POST", "/first_boot", machine, deadline=180)
    assert booted["body"].startswith(f"node1.lab.example {root} ext4 kernel-labos-9-1.x86_64")


async def test_a_blank_machine_goes_from_discovery_to_its_own_disk_by_ipxe_and_http(
    tmp_path: Path,
) -> None:
    boot = BootClass(client=Client.IPXE, filename=f"{SITE}/{DASHED}.ipxe")
    async with a_site(tmp_path, boot) as site:
        (site.root / "ks").write_text(KICKSTART)
        with a_machine(site, tmp_path, Loader.IPXE) as machine:
            site.boots(machine.loader, "discovery")
            machine.power_on()
            await discover_and_reboot(site, machine)
            await install_and_boot(site, machine, "/dev/vda1")


async def test_pxelinux_boots_the_discovery_image_and_then_the_disk(tmp_path: Path) -> None:
    boot = BootClass(client=Client.BIOS, filename="pxelinux.0")
    async with a_site(tmp_path, boot) as site:
        with a_machine(site, tmp_path, Loader.PXELINUX) as machine:
            site.boots(machine.loader, "discovery")
            machine.power_on()
            await discover_and_reboot(site, machine)
            site.boots(machine.loader, "local")
            await machine.wait_for_console("Booting from Hard Disk", deadline=120)


async def test_grub_installs_a_machine_with_uefi_and_its_disk_boots(tmp_path: Path) -> None:
    boot = BootClass(client=Client.UEFI, filename="grubnetx64.efi")
    async with a_site(tmp_path, boot) as site:
        (site.root / "ks").write_text(KICKSTART)
        with a_machine(site, tmp_path, Loader.GRUB2_UEFI) as machine:
            site.boots(machine.loader, "install")
            machine.power_on()
            await install_and_boot(site, machine, "/dev/vda2")


async def test_a_failed_section_stops_the_installation_says_so_and_switches_off(
    tmp_path: Path,
) -> None:
    boot = BootClass(client=Client.IPXE, filename=f"{SITE}/{DASHED}.ipxe")
    async with a_site(tmp_path, boot) as site:
        stopped = "%pre --erroronfail\necho no such disk\nexit 3\n%end\n"
        (site.root / "ks").write_text(KICKSTART + stopped)
        with a_machine(site, tmp_path, Loader.IPXE) as machine:
            site.boots(machine.loader, "install")
            machine.power_on()
            assert (await site.event("POST", "/failed", machine, deadline=180))["body"] == "failed"
            await machine.wait_for_power_off(deadline=30)
            assert "no such disk" in machine.console()
            assert "--erroronfail, ended with 3" in machine.console()
            assert not site.events("POST", "/built")
            assert not machine.disk.read_bytes()[:512].strip(b"\0")
