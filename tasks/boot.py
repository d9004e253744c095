"""Arrows 9 to 11, 28 and 29: what the boot server holds for a host, read back as the host would."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Address
from typing import Any

from prefect import task

from integrations.bootfiles import host_paths
from integrations.records import BootConfig, BootFile, Loader
from integrations.smart_proxy import SmartProxy
from integrations.tftp import tftp_read
from inventory import builds, effects, guard, hosts
from inventory.context import BuildContext
from inventory.life import Event, HostState
from inventory.models import Proxy, Subnet
from tasks import desired
from tasks.company import Company, Seen, each, require_claim, step
from tasks.means import means
from tasks.places import proxy_place
from tasks.road import ensure, withdraw
from tasks.trees import Trees

__all__ = [
    "BOOT_FILE",
    "BootConfigKeeper",
    "BootFileKeeper",
    "boot_config_keeper",
    "boot_file_lock",
    "boot_place",
    "end_network_installation",
    "fetch_boot_files",
    "write_boot_configs",
]

BOOT_FILE = "boot file"
"""What effects on kernels and initrds are called."""
_MOST_TEXT = 64 * 1024
_TFTP_SECONDS = 5.0
_TOKEN = re.compile(r"(token=)[0-9A-Za-z_-]+")


@dataclass(frozen=True)
class BootConfigKeeper:
    """One subnet's boot configurations: written by the proxy, read over TFTP itself.

    iPXE reads its own over HTTP boot, which serves the same files.
    """

    proxy: SmartProxy
    place: str
    boot_server: IPv4Address
    boot_port: int
    system: str = effects.TFTP
    replaces: bool = True
    sole: bool = False

    @property
    def source(self) -> str:
        """The boot server itself."""
        return f"TFTP server {self.boot_server}"

    def key(self, record: BootConfig) -> str:
        """The file that the loader asks for."""
        return host_paths(record.loader, record.mac)[0]

    def owner(self, there: BootConfig) -> str:
        """Files have no owner: the first line must do."""
        first = there.text.strip().splitlines()[:1]
        return f"a file that Rackrise did not write, beginning {first[0]!r}" if first else "nobody"

    async def read(self, record: BootConfig) -> BootConfig | None:
        """The file as a boot loader gets it."""
        raw = await tftp_read(
            self.boot_server,
            self.boot_port,
            self.key(record),
            deadline=_TFTP_SECONDS,
            max_bytes=_MOST_TEXT,
        )
        if raw is None:
            return None
        return record.model_copy(update={"text": raw.decode(errors="replace")})

    async def write(self, record: BootConfig) -> None:
        """Write the file; the proxy replaces whatever is there."""
        await self.proxy.write_boot_config(record)

    async def remove(self, there: BootConfig) -> None:
        """Remove the file."""
        await self.proxy.remove_boot_config(there.loader, there.mac)

    def at_rest(self, record: BootConfig) -> dict[str, Any]:
        """The text without its token, and the digest of all of it, by which ours is known."""
        digest = hashlib.sha256(record.text.encode()).hexdigest()
        text = _TOKEN.sub(r"\1[token]", record.text)
        return {"loader": record.loader.value, "mac": record.mac, "text": text, "sha256": digest}

    def recall(self, key: str, at_rest: dict[str, Any]) -> BootConfig:
        """As it was kept, without its token."""
        kept = {name: at_rest[name] for name in ("loader", "mac", "text")}
        return BootConfig.model_validate(kept)

    def former(self, at_rest: dict[str, Any]) -> BootConfig | None:
        """As it was; but what starts an installer is armed for its own build only."""
        record = self.recall("", at_rest)
        return record if self.at_rest(record) == at_rest else None


@dataclass
class BootFileKeeper:
    """Kernels and initrds below the boot root; one copy for all hosts of a tree."""

    proxy: SmartProxy
    place: str
    system: str = BOOT_FILE
    replaces: bool = True
    sole: bool = False
    _whole: set[str] = field(default_factory=set)
    """Paths that were seen whole. A path names its content, so that cannot change meanwhile."""
    _busy: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    @property
    def source(self) -> str:
        """Read to its end by the proxy that serves it, or over HTTP boot."""
        return f"HTTP boot of {self.place}"

    def key(self, record: BootFile) -> str:
        """The path, which names the content."""
        return record.path

    def owner(self, there: BootFile) -> str:
        """A path that names the content has no other owner."""
        return there.path

    async def read(self, record: BootFile) -> BootFile | None:
        """The file as the proxy serves it; one with other content counts as not there."""
        async with self._busy[record.path]:
            return record if await self._is_whole(record) else None

    async def write(self, record: BootFile) -> None:
        """Have the proxy fetch it, unless another host's turn has done so."""
        async with self._busy[record.path]:
            if not await self._is_whole(record):
                await self.proxy.fetch_boot_file(record)

    async def _is_whole(self, record: BootFile) -> bool:
        if record.path not in self._whole:
            state = await self.proxy.boot_file_state(record.path)
            if state is not None and state.sha256 == record.sha256:
                self._whole.add(record.path)
        return record.path in self._whole

    async def remove(self, there: BootFile) -> None:
        """Never taken away for one host: others may boot from it."""

    def at_rest(self, record: BootFile) -> dict[str, Any]:
        """All of it: it holds no secret."""
        return record.model_dump(mode="json")

    def recall(self, key: str, at_rest: dict[str, Any]) -> BootFile:
        """As it was kept."""
        return BootFile.model_validate(at_rest)

    def former(self, at_rest: dict[str, Any]) -> BootFile | None:
        """As it was."""
        return self.recall("", at_rest)


def boot_place(proxy: Proxy) -> str:
    """Where the effects of a proxy's boot files and configurations are."""
    return proxy_place(proxy)


def boot_file_lock(place: str, path: str) -> str:
    """The name under which ``inventory.guard`` locks a boot file."""
    return f"boot file {path} at {place}"


def boot_config_keeper(proxy: Proxy, subnet: Subnet) -> BootConfigKeeper:
    """The keeper of a subnet's boot configurations."""
    return BootConfigKeeper(
        means().proxies.of(proxy),
        boot_place(proxy),
        IPv4Address(subnet.boot_server),
        subnet.boot_port,
    )


@task(**step("Write the boot configuration", 9, 10))
async def write_boot_configs(company: Company) -> Company:
    """Issue the build's token and write the configuration that starts the installer with it."""
    trees = Trees()
    return await each(company, (9, 10), lambda context: _write(context, trees))


async def _write(context: BuildContext, trees: Trees) -> Seen:
    m = means()
    files = await trees.of(context)
    token = desired.build_token(m.token_key, context.build.id)
    async with m.sessions.begin() as session:
        await require_claim(session, context.build.id)
        await builds.keep_token(session, context.build, token)
    config = desired.boot_config(context, files, token)
    keeper = boot_config_keeper(context.tftp_proxy, context.subnet)
    return Seen(await ensure(context.build.id, keeper, config))


@task(**step("Fetch kernel and initrd", 11))
async def fetch_boot_files(company: Company) -> Company:
    """Have the boot server hold kernel and initrd, whole, before any host may ask for them."""
    trees, stores = Trees(), _Stores()
    return await each(company, (11,), lambda context: _fetch(context, trees, stores))


class _Stores:
    """One keeper for each proxy, so that a company reads and fetches each file once."""

    def __init__(self) -> None:
        self._keepers: dict[str, BootFileKeeper] = {}

    def of(self, context: BuildContext) -> BootFileKeeper:
        """The keeper of the host's boot server."""
        proxy = context.tftp_proxy
        return self._keepers.setdefault(
            proxy.name, BootFileKeeper(means().proxies.of(proxy), boot_place(proxy))
        )


async def _fetch(context: BuildContext, trees: Trees, stores: _Stores) -> Seen:
    files = await trees.of(context)
    keeper = stores.of(context)
    both = (files.kernel, files.initrd)
    await _rely_on(context, keeper, both)
    for file in both:
        await ensure(context.build.id, keeper, file)
    return Seen(
        f"{files.kernel.path} (SHA-256 {files.kernel.sha256[:12]}…) and {files.initrd.path} "
        f"(SHA-256 {files.initrd.sha256[:12]}…), read back from {keeper.source}"
    )


async def _rely_on(
    context: BuildContext, keeper: BootFileKeeper, files: tuple[BootFile, ...]
) -> None:
    """Write down that the build needs files, before it looks for them: then nobody removes them."""
    m = means()
    async with m.sessions.begin() as session:
        await require_claim(session, context.build.id)
        for file in files:
            key = keeper.key(file)
            await guard.rely_on(session, boot_file_lock(keeper.place, key))
            await effects.intend(
                session,
                context.build.id,
                keeper.system,
                keeper.place,
                key,
                before=None,
                after=keeper.at_rest(file),
                at=m.clock(),
            )


@task(**step("End network installation", 28, 29))
async def end_network_installation(company: Company) -> Company:
    """Send the host to its own disk, or leave it to the default, as its group wants."""
    going = await each(company, (28, 29), _end)
    # Apart from the steps: where these are done already, the host would stay where it is for ever.
    return await each(going, (), _await_first_boot)


async def _end(context: BuildContext) -> Seen:
    keeper = boot_config_keeper(context.tftp_proxy, context.subnet)
    local = desired.local_boot(context)
    if local is not None:
        words = await ensure(context.build.id, keeper, local)
        return Seen(f"local boot, {words}")
    loader = Loader(context.group.loader)
    empty = BootConfig(loader=loader, mac=context.interface.mac, text="")
    return Seen(await withdraw(context.build.id, keeper, empty))


async def _await_first_boot(context: BuildContext) -> Seen:
    m = means()
    async with m.sessions.begin() as session:
        host = await hosts.lock_host(session, context.build.host_id)
        await require_claim(session, context.build.id)
        if host.state is HostState.INSTALLED:
            await hosts.move(session, host, Event.NETBOOT_ENDED, m.clock())
            build = await builds.lock_build(session, context.build.id)
            build.deadline = m.clock() + timedelta(minutes=context.group.first_boot_minutes)
    return Seen("its first boot is waited for")
