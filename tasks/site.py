"""What a site needs before its first host: the boot servers' defaults, written and verified."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from sqlmodel import col, select

from integrations.bootfiles import default_paths
from integrations.errors import Unverified
from integrations.records import Loader
from integrations.tftp import tftp_read
from inventory.database import Sessions
from inventory.models import Proxy, Subnet
from tasks.means import Proxies
from templates.models import DiscoveryInput
from templates.render import render_default

__all__ = ["DISCOVERY_INITRD", "DISCOVERY_KERNEL", "write_defaults"]

DISCOVERY_KERNEL = "boot/fdi-image/vmlinuz0"
DISCOVERY_INITRD = "boot/fdi-image/initrd0.img"
"""Where the discovery image lies below the boot root, as foreman-discovery-image is unpacked."""

_MOST = 64 * 1024
_SECONDS = 5.0


async def write_defaults(sessions: Sessions, proxies: Proxies) -> list[str]:
    """Write what machines without a configuration of their own boot, for every loader.

    Returns:
        What was done, a sentence for each boot server and loader.

    Raises:
        OutsideError: a proxy refuses it, or the boot server serves something else afterwards.
    """
    async with sessions() as session:
        rows = await session.exec(
            select(Subnet, Proxy)
            .join(Proxy, col(Proxy.id) == col(Subnet.tftp_proxy_id))
            .order_by(Subnet.name)
        )
        served = rows.all()
    done: list[str] = []
    seen: set[str] = set()
    for subnet, proxy in served:
        if proxy.url in seen:
            continue
        seen.add(proxy.url)
        done += [await _write(subnet, proxy, proxies, loader) for loader in Loader]
    return done


async def _write(subnet: Subnet, proxy: Proxy, proxies: Proxies, loader: Loader) -> str:
    text = render_default(
        loader,
        DiscoveryInput(
            kernel=DISCOVERY_KERNEL,
            initrd=DISCOVERY_INITRD,
            proxy_url=proxy.host_url.rstrip("/"),
            options=subnet.discovery_options,
        ),
    )
    client = proxies.of(proxy)
    paths = default_paths(loader)
    server = subnet.boot_server
    if await _served(server, subnet.boot_port, paths) == [text] * len(paths):
        return f"{proxy.name}: default for {loader} is in place"
    await client.write_default(loader, text)
    if await _served(server, subnet.boot_port, paths) != [text] * len(paths):
        raise Unverified(
            system="TFTP",
            address=f"{server}:{subnet.boot_port}",
            operation=f"serve the default configuration for {loader}",
            said=f"the proxy {proxy.name} wrote it, but {', '.join(paths)} reads otherwise",
        )
    return f"{proxy.name}: default for {loader} written and read back over TFTP"


async def _served(server: str, port: int, paths: Sequence[str]) -> list[str | None]:
    found = [
        await tftp_read(ip_address(server), port, path, deadline=_SECONDS, max_bytes=_MOST)
        for path in paths
    ]
    return [None if raw is None else raw.decode(errors="replace") for raw in found]
