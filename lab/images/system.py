"""The operating system that is installed: LabOS, a slim Debian with systemd in RPM packages.

The fewer files, the faster the install: unpacking them is the bulk of it. A part that only some
sites want becomes a package of its own beside ``labos-base``.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from lab.cache import Cache, key
from lab.images import debian, rpms
from lab.images.initramfs import GUEST
from lab.images.kernel import Kernel
from lab.images.rhsm import CLIENT, PARTS, rhsm_library
from lab.images.rpms import Package
from lab.namespace import run

__all__ = [
    "GROUPS",
    "NAME",
    "VERSION",
    "base_package",
    "kernel_package",
    "puppet_package",
    "subscription_package",
]

NAME = "LabOS"
VERSION = "9"

_OVERLAY = GUEST / "labos"
_UDHCPC = GUEST / "common" / "udhcpc.sh"
_PACKAGES = ("systemd", "systemd-sysv", "curl", "iproute2", "busybox-static", "passwd", "rpm")
_BASE = Package(
    "labos-base",
    "Base system of the lab's operating system",
    provides=("/bin/sh", "bash", "coreutils", "curl", "iproute", "passwd", "rpm", "systemd"),
)
_KERNEL = Package(
    "kernel-labos",
    "Kernel and initramfs of the lab's operating system",
    provides=("kernel",),
    requires=("labos-base",),
    compressed=True,
)

_PUPPET = Package(
    "puppet-agent",
    "Puppet's agent with the Ruby that it runs on",
    provides=("puppet",),
    requires=("labos-base",),
)

_SUBSCRIPTION = Package(
    "subscription-manager",
    "Registers at Candlepin by the library rhsm, with the Python that it runs on",
    provides=("python3",),
    requires=("labos-base",),
)

GROUPS = f"""\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE comps PUBLIC "-//Red Hat, Inc.//DTD Comps info//EN" "comps.dtd">
<comps>
  <group>
    <id>core</id>
    <name>Core</name>
    <description>Smallest installation</description>
    <default>true</default>
    <uservisible>false</uservisible>
    <packagelist>
      <packagereq type="mandatory">{_BASE.name}</packagereq>
    </packagelist>
  </group>
  <environment>
    <id>minimal-environment</id>
    <name>Minimal Install</name>
    <description>Basic functionality</description>
    <display_order>1</display_order>
    <grouplist>
      <groupid>core</groupid>
    </grouplist>
    <optionlist/>
  </environment>
</comps>
"""
"""The groups by which a kickstart for Enterprise Linux asks for a small system."""

_OS_RELEASE = f"""\
NAME="{NAME}"
VERSION="{VERSION}"
ID=labos
ID_LIKE="rhel fedora"
VERSION_ID="{VERSION}"
PRETTY_NAME="{NAME} {VERSION}"
"""

_NEVER_OPENED = (
    "usr/share/bash-completion",
    "usr/share/polkit-1",
    "usr/share/initramfs-tools",
    "usr/share/tabset",
    "usr/share/menu",
    "usr/lib/mime",
    "usr/lib/usrmerge",
    "usr/lib/*/gconv",
    "usr/lib/lsb",
    "usr/lib/kernel",
    "usr/lib/udev",
    "usr/lib/init",
    "usr/lib/systemd/catalog",
    "usr/lib/systemd/network",
    "usr/lib/systemd/ntp-units.d",
    "usr/lib/systemd/user",
    "usr/lib/systemd/user-*",
    "usr/lib/systemd/systemd-networkd*",
    "usr/lib/systemd/systemd-cryptsetup",
    "usr/lib/systemd/systemd-veritysetup",
    "usr/lib/systemd/systemd-integritysetup",
    "usr/lib/systemd/systemd-pull",
    "usr/lib/systemd/systemd-import*",
    "usr/lib/systemd/systemd-export",
    "usr/lib/systemd/systemd-logind",
    "usr/lib/systemd/system-generators/*",
    "usr/lib/terminfo/[a-km-uw-z]*",
    "usr/lib/*/libdb-5*",
    "usr/sbin/tc",
    "usr/lib/rpm/*.sh",
    "usr/lib/rpm/*.prov",
    "usr/lib/rpm/*.req",
    "usr/lib/rpm/find*",
    "usr/lib/rpm/check*",
    "usr/lib/rpm/brp*",
    "usr/lib/rpm/fileattrs",
    "usr/lib/rpm/platform/[a-wyz]*",
    # What builds, signs and converts packages, and the libraries that only these need.
    "usr/bin/rpm2*",
    "usr/bin/rpmbuild",
    "usr/bin/rpmsign",
    "usr/bin/rpmspec",
    "usr/bin/debugedit",
    "usr/lib/*/librpmbuild*",
    "usr/lib/*/librpmsign*",
    "usr/lib/*/libarchive*",
    "usr/lib/*/libxml2*",
    "usr/lib/*/libicu*",
    "usr/lib/*/libstdc++*",
    "usr/lib/*/liblua5.3-c++*",
    "usr/lib/*/libdw*",
    "usr/lib/*/libgomp*",
    "usr/lib/*/libmvec*",
    "usr/sbin/arpd",
    "usr/lib/*/rpm-plugins",
    "usr/bin/apt*",
    "etc/cron*",
    "etc/systemd/system/*.wants",
    "var/lib/systemd/*",
    "usr/share/keyrings",
)

_NO_AGENT_OPENS = (
    # What comes with Ruby and is no part of running an agent.
    "usr/lib/ruby/gems/3.1.0",
    "usr/lib/ruby/3.1.0/bundler*",
    "usr/lib/ruby/3.1.0/rdoc*",
    "usr/lib/ruby/3.1.0/irb*",
    "usr/lib/ruby/3.1.0/rinda",
    "usr/lib/ruby/3.1.0/drb*",
    "usr/lib/ruby/3.1.0/csv*",
    "usr/lib/ruby/vendor_ruby/docs",
    "usr/lib/ruby/vendor_ruby/xmlrpc*",
    "usr/lib/*/ruby/3.1.0/nkf.so",
    "usr/lib/*/ruby/3.1.0/enc/trans/[b-k]*",
    "usr/share/rubygems-integration/all/gems/rake-*",
    "usr/share/rubygems-integration/all/gems/net-telnet-*",
    "usr/share/rubygems-integration/all/gems/webrick-*",
    "usr/share/rubygems-integration/all/gems/thor-*",
    "usr/share/rubygems-integration/all/gems/concurrent-ruby-edge-*",
    "usr/share/systemtap",
    "usr/share/puppet/locale",
    # Facts of other systems, and what manages files that no lab manifest names.
    "usr/lib/ruby/vendor_ruby/facter/facts/aix",
    "usr/lib/ruby/vendor_ruby/facter/facts/*bsd",
    "usr/lib/ruby/vendor_ruby/facter/facts/macosx",
    "usr/lib/ruby/vendor_ruby/facter/facts/solaris",
    "usr/lib/ruby/vendor_ruby/facter/facts/windows",
    "usr/share/augeas",
    # Puppet believes its own CA only.
    "usr/share/ca-certificates",
    "etc/ssl/certs/*",
    "usr/bin/openssl",
    "usr/bin/c_rehash",
)

_NO_CLIENT_IMPORTS = (
    "usr/lib/python3*/idlelib",
    "usr/lib/python3*/lib2to3",
    "usr/lib/python3*/ensurepip",
    "usr/lib/python3*/pydoc_data",
    "usr/lib/python3*/tkinter",
    "usr/lib/python3*/turtledemo",
    "usr/lib/python3*/unittest",
    "usr/lib/python3*/test",
    "usr/lib/python3*/asyncio",
    "usr/lib/python3*/multiprocessing",
    "usr/lib/python3*/sqlite3",
    "usr/lib/python3*/curses",
    "usr/lib/python3*/xmlrpc",
    "usr/lib/python3*/wsgiref",
    "usr/lib/python3*/dbm",
    "usr/lib/python3*/lib-dynload/_codecs_*",
    "usr/lib/python3*/lib-dynload/_decimal*",
    "usr/lib/python3*/lib-dynload/_curses*",
    "usr/lib/python3*/lib-dynload/_asyncio*",
    "usr/lib/*/libsqlite3*",
    "usr/lib/valgrind",
    "usr/share/python3",
    "usr/share/applications",
    "usr/share/pixmaps",
    "usr/share/mime",
    # It believes the front's CA only.
    "usr/share/ca-certificates",
    "etc/ssl/certs/*",
    "usr/bin/openssl",
    "usr/bin/c_rehash",
)

_MASKED = (
    "getty@.service",
    "getty-static.service",
    "serial-getty@.service",
    "systemd-logind.service",
    "systemd-pstore.service",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
    "modprobe@.service",
    "kmod-static-nodes.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-kernel-config.mount",
    "sys-fs-fuse-connections.mount",
    "proc-sys-fs-binfmt_misc.automount",
)


async def base_package(cache: Cache) -> Path:
    """The directory with the RPM of everything but the kernel."""

    async def build(made: Path) -> None:
        tree = made / "tree"
        await asyncio.to_thread(shutil.copytree, unpacked / "tree", tree, symlinks=True)
        await asyncio.to_thread(_make_labos, tree)
        await rpms.build_package(_BASE, tree, made)
        await asyncio.to_thread(shutil.rmtree, tree)

    debian_key = key(Path(debian.__file__), *_PACKAGES)
    unpacked = await _base_tree(cache)
    own = [path for path in sorted(_OVERLAY.rglob("*")) if path.is_file()]
    made_from = key(debian_key, Path(__file__), Path(rpms.__file__), _UDHCPC, *own)
    return await cache.product("labos-base", made_from, build)


async def _base_tree(cache: Cache) -> Path:
    """The directory with Debian's files of the base system, below ``tree``."""

    async def build(made: Path) -> None:
        await debian.unpack_tree(made / "tree", _PACKAGES)
        await asyncio.to_thread(debian.slim, made / "tree")

    return await cache.product("base-tree", key(Path(debian.__file__), *_PACKAGES), build)


async def puppet_package(cache: Cache) -> Path:
    """The directory with the RPM of Puppet's agent: what it needs beyond the base system."""

    async def build(made: Path) -> None:
        tree = made / "tree"
        await debian.unpack_tree(tree, (*_PACKAGES, "puppet-agent"))
        await asyncio.to_thread(debian.slim, tree, (*_NEVER_OPENED, *_NO_AGENT_OPENS))
        await asyncio.to_thread(_subtract, tree, base / "tree")
        # Its settings are written by whoever installs it, and by nobody else.
        await asyncio.to_thread(shutil.rmtree, tree / "etc/puppet", ignore_errors=True)
        await rpms.build_package(_PUPPET, tree, made)
        await asyncio.to_thread(shutil.rmtree, tree)

    base = await _base_tree(cache)
    made_from = key(Path(__file__), Path(debian.__file__), Path(rpms.__file__), *_PACKAGES)
    return await cache.product("puppet-agent", made_from, build)


async def subscription_package(cache: Cache) -> Path:
    """The directory with the RPM of a client for Candlepin: what the base system has not."""

    async def build(made: Path) -> None:
        tree = made / "tree"
        await debian.unpack_tree(tree, (*_PACKAGES, "python3"))
        await asyncio.to_thread(debian.slim, tree, (*_NEVER_OPENED, *_NO_CLIENT_IMPORTS))
        await asyncio.to_thread(_subtract, tree, base / "tree")
        modules = tree / "usr/lib/python3/dist-packages"
        await asyncio.to_thread(_add_client, tree, modules, library.site)
        # Compiled here: the guest's processor is emulated.
        await run(
            *("/usr/bin/python3", "-m", "compileall", "-q", "--invalidation-mode"),
            *("unchecked-hash", "-s", str(tree), "-p", "/", str(tree / "usr/lib")),
        )
        await rpms.build_package(_SUBSCRIPTION, tree, made)
        await asyncio.to_thread(shutil.rmtree, tree)

    library, base = await rhsm_library(cache), await _base_tree(cache)
    made_from = key(
        Path(__file__), Path(debian.__file__), Path(rpms.__file__), CLIENT, str(library.site)
    )
    return await cache.product("subscription-manager", made_from, build)


def _add_client(tree: Path, modules: Path, site: Path) -> None:
    for name in PARTS:
        shutil.copytree(site / name, modules / name)
    programs = tree / "usr/bin"
    programs.mkdir(parents=True, exist_ok=True)
    shutil.copy(CLIENT, programs / "subscription-manager")
    (programs / "rhsm-package-profile-uploader").symlink_to("subscription-manager")


async def kernel_package(cache: Cache, kernel: Kernel, initrd: Path) -> Path:
    """The directory with the RPM of the kernel and the initramfs that mounts the disk."""

    async def build(made: Path) -> None:
        boot = made / "tree" / "boot"
        boot.mkdir(parents=True)
        shutil.copy(kernel.vmlinuz, boot / "vmlinuz")
        shutil.copy(initrd, boot / "initrd.gz")
        await rpms.build_package(_KERNEL, made / "tree", made)
        await asyncio.to_thread(shutil.rmtree, made / "tree")

    made_from = key(Path(__file__), Path(rpms.__file__), kernel.vmlinuz, initrd)
    return await cache.product("kernel-labos", made_from, build)


def _subtract(tree: Path, other: Path) -> None:
    """Take away what another tree has too; its own directories stay, also where they are empty."""
    for path in sorted(tree.rglob("*"), reverse=True):
        there = other / path.relative_to(tree)
        if path.is_dir() and not path.is_symlink():
            if there.is_dir() and not any(path.iterdir()):
                path.rmdir()
        elif there.is_symlink() or there.exists():
            path.unlink()


def _make_labos(tree: Path) -> None:
    """Turn Debian's tree into LabOS: its name, its network, and no service that waits for udev."""
    debian.slim(tree, _NEVER_OPENED)
    shutil.copytree(_OVERLAY, tree, dirs_exist_ok=True)
    shutil.copy(_UDHCPC, tree / "etc" / "udhcpc.sh")
    (tree / "etc" / "udhcpc.sh").chmod(0o755)
    for os_release in ("etc/os-release", "usr/lib/os-release"):
        (tree / os_release).unlink(missing_ok=True)
    (tree / "usr/lib/os-release").write_text(_OS_RELEASE)
    (tree / "etc/os-release").symlink_to("../usr/lib/os-release")
    # Debian's rpm would look for its database elsewhere.
    (tree / "etc/rpm").mkdir(exist_ok=True)
    (tree / "etc/rpm/macros").write_text("%_dbpath /var/lib/rpm\n")
    # Empty: the first boot makes one, and is no "first boot" that asks questions.
    (tree / "etc/machine-id").write_text("")
    units = tree / "etc/systemd/system"
    for unit in _MASKED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    for target in ("multi-user.target", "network-online.target"):
        wants = units / f"{target}.wants"
        wants.mkdir()
        (wants / "lab-net.service").symlink_to("../lab-net.service")
    (units / "default.target").unlink(missing_ok=True)
    (units / "default.target").symlink_to("/usr/lib/systemd/system/multi-user.target")
