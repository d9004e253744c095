#!/usr/bin/python3 -S
"""The installer: does with a kickstart what Anaconda does, on one blank disk, as process 1.

It knows nothing of Rackrise: whom to call home, and when, is written in the kickstart's sections.

Honoured: ``inst.ks=`` and ``inst.ks.sendmac``; ``url``, ``repo``, ``network --hostname``,
``bootloader --append``, ``rootpw``, ``autopart`` or ``part /``, ``reboot``/``poweroff``,
``%packages``, ``%pre``, ``%pre-install``, ``%post`` (in the new system or ``--nochroot``),
``%onerror``, ``--erroronfail``, ``--log``. Other commands are parsed and have no effect; what
would silently install something else than was asked for is an error.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# -S saves the guest the second that site.py takes; this is the one thing of it that is needed.
sys.path.append("/usr/lib/python3/dist-packages")

SYSIMAGE = Path("/mnt/sysimage")
LOGS = Path("/tmp")
DISK = "/dev/vda"
MBR = Path("/usr/lib/syslinux/mbr/mbr.bin")
SYSTEMD_BOOT = Path("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")
KEPT_ARGUMENTS = ("console", "mitigations")


class InstallError(Exception):
    """The installation cannot go on; the text is for the console."""


def say(text: str) -> None:
    """Print a line on the console with the seconds since power-on, as the initramfs does."""
    line = f"lab: [{Path('/proc/uptime').read_text().split()[0]}] {text}"
    print(line, flush=True)
    with (LOGS / "anaconda.log").open("a") as log:
        log.write(f"{line}\n")


def show(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> int:
    """Run a program; what it prints goes to a log and then to the console. Gives its status."""
    with log.open("a") as output:
        start = output.tell()
        ended = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment
        ).returncode
    with log.open() as printed:
        printed.seek(start)
        sys.stdout.write(printed.read())
    sys.stdout.flush()
    return ended


def run(*command: str, stdin: str | None = None) -> str:
    """Run a program of the installer itself; what it prints is shown if it fails."""
    done = subprocess.run(
        command, input=stdin, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        raise InstallError(f"{shlex.join(command)} ended with {done.returncode}: {done.stdout}")
    return done.stdout


def arguments(cmdline: str) -> dict[str, str]:
    """The kernel's arguments by name; one without a value has the value ''."""
    return {name: value for name, _, value in (word.partition("=") for word in cmdline.split())}


def mac_headers(interfaces: dict[str, str]) -> list[str]:
    """What ``inst.ks.sendmac`` adds to the request for the kickstart, as curl's arguments."""
    headers = (
        f"X-RHN-Provisioning-MAC-{number}: {name} {mac}"
        for number, (name, mac) in enumerate(sorted(interfaces.items()))
    )
    return [word for header in headers for word in ("-H", header)]


def fetch_kickstart(boot: dict[str, str]) -> str:
    """Get the kickstart, saying who asks."""
    if not boot.get("inst.ks", "").startswith("http"):
        raise InstallError("inst.ks= should be an http address")
    interfaces = {
        path.parent.name: path.read_text().strip()
        for path in Path("/sys/class/net").glob("*/address")
        if path.parent.name != "lo"
    }
    headers = mac_headers(interfaces) if "inst.ks.sendmac" in boot else []
    retries = ("--retry", "5", "--retry-connrefused", "--max-time", "60")
    return run("curl", "-sSfL", *retries, *headers, boot["inst.ks"])


def parse(text: str, *, final: bool) -> Any:
    """Read a kickstart; files that %pre has yet to write may be missing until then."""
    from pykickstart.parser import KickstartParser
    from pykickstart.version import makeVersion

    parser = KickstartParser(makeVersion("RHEL9"), missingIncludeIsFatal=final)
    parser.readKickstartFromString(text)
    return parser.handler


def run_scripts(kickstart: Any, section: str) -> None:
    """Run all sections of one kind in their order.

    Raises:
        InstallError: one failed that was marked --erroronfail.
    """
    from pykickstart import constants

    kind = getattr(constants, f"KS_SCRIPT_{section}")
    for number, script in enumerate(kickstart.scripts):
        if script.type != kind:
            continue
        chroot = script.type == constants.KS_SCRIPT_POST and script.inChroot
        root = SYSIMAGE if chroot else Path("/")
        file = LOGS / f"ks-script-{number}"
        inside = root / file.relative_to("/")
        inside.write_text(script.script)
        inside.chmod(0o700)
        ended = show(
            [*(["chroot", str(root)] if chroot else []), *shlex.split(script.interp), str(file)],
            root / script.logfile.lstrip("/") if script.logfile else LOGS / f"{file.name}.log",
            {**os.environ, "ANA_INSTALL_PATH": str(SYSIMAGE)},
        )
        inside.unlink()
        say(f"section {number}, {section}, ended with {ended}")
        if ended and script.errorOnFail:
            raise InstallError(f"section {number}, {section} --erroronfail, ended with {ended}")


def check(kickstart: Any) -> None:
    """Refuse, before anything is written, what this installer would do differently."""
    if not kickstart.url.url:
        raise InstallError("no install tree: url --url= is missing")
    mounts = {part.mountpoint for part in kickstart.partition.partitions}
    if not (kickstart.autopart.autopart or "/" in mounts):
        raise InstallError("no place for the root: neither autopart nor part / is given")
    if strange := mounts - {"/", "/boot/efi"}:
        raise InstallError(f"this installer makes a root and an ESP, and no {sorted(strange)}")
    if any(network.bootProto not in ("", "dhcp") for network in kickstart.network.network):
        raise InstallError("this installer configures the network with --bootproto=dhcp only")


def prepare_disk(*, efi: bool) -> str:
    """Partition, format and mount the disk.

    Returns:
        The root's device. With ``efi`` the first partition is the ESP.
    """
    table = (
        "label: gpt\nsize=96MiB,type=uefi\ntype=linux\n"
        if efi
        else "label: dos\ntype=83,bootable\n"
    )
    run("sfdisk", "-q", DISK, stdin=table)
    root = f"{DISK}2" if efi else f"{DISK}1"
    if efi:
        run("mkfs.fat", "-F", "32", f"{DISK}1")
    # extlinux 6 cannot read the two features; the rest would be zeroed later for nothing.
    run(
        "mkfs.ext4", "-q", "-F", "-O", "^64bit,^metadata_csum",
        "-E", "lazy_itable_init=1,lazy_journal_init=1", root,
    )  # fmt: skip
    SYSIMAGE.mkdir(parents=True, exist_ok=True)
    run("mount", "-o", "noatime", root, str(SYSIMAGE))
    return root


def repositories(kickstart: Any) -> str:
    """The repositories that the kickstart names, as a dnf configuration."""
    named = [("anaconda", kickstart.url.url)]
    named += [(repo.name, repo.baseurl) for repo in kickstart.repo.repoList if repo.baseurl]
    sections = (f"[{name}]\nname={name}\nbaseurl={url}\ngpgcheck=0\n" for name, url in named)
    return "\n".join(sections)


def wanted_packages(packages: Any) -> list[str]:
    """What to ask dnf for: like Anaconda, the group core and a kernel come unasked."""
    environment = [f"@{packages.environment}"] if packages.environment else []
    groups = [f"@{group.name}" for group in packages.groupList]
    core = [] if packages.nocore else ["@core"]
    return list(dict.fromkeys([*environment, *core, *groups, *packages.packageList, "kernel"]))


def install_packages(kickstart: Any) -> None:
    """Install %packages from the tree with dnf."""
    reposdir = Path("/tmp/repos")
    reposdir.mkdir()
    (reposdir / "kickstart.repo").write_text(repositories(kickstart))
    # Debian's rpm would put the database elsewhere. The packages come with digests of their own
    # in the repository's metadata, so a second look at each payload only costs time.
    Path("/root/.rpmmacros").write_text("%_dbpath /var/lib/rpm\n%_pkgverify_level none\n")
    packages = kickstart.packages
    options = {
        "reposdir": str(reposdir),
        # On the disk: in memory the downloaded packages would leave no room for the rest.
        "cachedir": str(SYSIMAGE / "var/cache/installer"),
        "module_platform_id": "platform:el9",
        "install_weak_deps": "0" if packages.excludeWeakdeps else "1",
        "strict": "0" if packages.handleMissing else "1",
        "keepcache": "0",
    }
    settings = [f"--setopt={name}={value}" for name, value in options.items()]
    excluded = [f"--exclude={name}" for name in packages.excludedList]
    wanted = wanted_packages(packages)
    say(f"installing {' '.join(wanted)}")
    ended = show(
        ["dnf", "-y", "--noplugins", f"--installroot={SYSIMAGE}", "--releasever=9",
         *settings, *excluded, "install", *wanted],
        LOGS / "packaging.log",
    )  # fmt: skip
    if ended:
        raise InstallError(f"dnf ended with {ended}")


def configure(kickstart: Any) -> None:
    """Write what belongs to this machine and not to a package; then the new system can run."""
    for source in ("proc", "sys", "dev"):
        run("mount", "--bind", f"/{source}", str(SYSIMAGE / source))
    run("mount", "-t", "tmpfs", "tmpfs", str(SYSIMAGE / "run"))
    etc = SYSIMAGE / "etc"
    (etc / "resolv.conf").unlink(missing_ok=True)
    (etc / "resolv.conf").write_text(Path("/etc/resolv.conf").read_text())
    names = [network.hostname for network in kickstart.network.network if network.hostname]
    (etc / "hostname").write_text(f"{names[-1] if names else 'localhost'}\n")
    root = kickstart.rootpw
    if root.password and not root.lock:
        run("chroot", str(SYSIMAGE), "chpasswd", *(["-e"] if root.isCrypted else []),
            stdin=f"root:{root.password}\n")  # fmt: skip


def install_bootloader(kickstart: Any, boot: dict[str, str], root: str, *, efi: bool) -> None:
    """Make the disk bootable, and the new system's kernel know its root."""
    kept = [f"{name}={boot[name]}" for name in KEPT_ARGUMENTS if name in boot]
    append = " ".join([f"root={root}", "quiet", *kept, kickstart.bootloader.appendLine or ""])
    (SYSIMAGE / "etc/fstab").write_text(f"{root} / ext4 defaults,noatime 0 1\n")
    if efi:
        entry = f"title LabOS\nlinux /vmlinuz\ninitrd /initrd.gz\noptions {append}\n"
        Path("/tmp/labos.conf").write_text(entry)
        esp = f"{DISK}1"
        run("mmd", "-i", esp, "::EFI", "::EFI/BOOT", "::loader", "::loader/entries")
        run("mcopy", "-i", esp, str(SYSTEMD_BOOT), "::EFI/BOOT/BOOTX64.EFI")
        run("mcopy", "-i", esp, "/tmp/labos.conf", "::loader/entries/labos.conf")
        for file in ("vmlinuz", "initrd.gz"):
            run("mcopy", "-i", esp, str(SYSIMAGE / "boot" / file), f"::{file}")
        return
    extlinux = SYSIMAGE / "boot/extlinux"
    extlinux.mkdir(parents=True)
    (extlinux / "extlinux.conf").write_text(
        "DEFAULT labos\nLABEL labos\n"
        f"KERNEL /boot/vmlinuz\nINITRD /boot/initrd.gz\nAPPEND {append}\n"
    )
    run("extlinux", "--install", str(extlinux))
    with Path(DISK).open("r+b") as disk:
        disk.write(MBR.read_bytes()[:440])


def finish() -> None:
    """Leave nothing in memory that belongs on the disk."""
    used = run("df", "-m", str(SYSIMAGE)).splitlines()[-1].split()[2]
    packages = run("rpm", "--root", str(SYSIMAGE), "-qa").split()
    say(f"installed {' '.join(packages)}; {used} MB used")
    for path in ("run", "dev", "sys", "proc", ""):
        run("umount", str(SYSIMAGE / path))
    os.sync()


def install(boot: dict[str, str]) -> bool:
    """From the kickstart to the finished disk.

    Returns:
        Whether to reboot; otherwise the machine is switched off.

    Raises:
        InstallError: it cannot go on; %onerror has run.
    """
    text = fetch_kickstart(boot)
    say("kickstart fetched")
    kickstart = parse(text, final=False)
    say("kickstart parsed")
    try:
        run_scripts(kickstart, "PRE")
        if "%include" in text:
            kickstart = parse(text, final=True)
        check(kickstart)
        efi = Path("/sys/firmware/efi").exists()
        root = prepare_disk(efi=efi)
        say("disk ready")
        run_scripts(kickstart, "PREINSTALL")
        install_packages(kickstart)
        say("packages installed")
        configure(kickstart)
        install_bootloader(kickstart, boot, root, efi=efi)
        say("boot loader installed")
        run_scripts(kickstart, "POST")
        finish()
    except Exception as error:
        say(f"FAILED: {error}")
        run_scripts(kickstart, "ONERROR")
        raise
    from pykickstart.constants import KS_REBOOT

    return bool(kickstart.reboot.action == KS_REBOOT)


def main() -> None:
    """Install, then leave the machine in the state that the kickstart or the failure asks for."""
    os.environ.update(
        PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        HOME="/root",
        LANG="C.UTF-8",
        # Where the ESP begins on the disk is none of mtools' business.
        MTOOLS_SKIP_CHECK="1",
    )
    say("installer started")
    action = "poweroff"
    try:
        if install(arguments(Path("/proc/cmdline").read_text())):
            action = "reboot"
        say(f"done: {action}")
    except Exception as error:
        say(f"INSTALLATION FAILED: {error}")
    finally:
        os.execv("/bin/busybox", ["busybox", action, "-f"])


if __name__ == "__main__":
    main()
