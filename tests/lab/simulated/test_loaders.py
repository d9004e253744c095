"""The loaders against what Rackrise really writes for them."""

import pytest

from integrations.bootfiles import default_paths, host_paths
from integrations.records import Loader
from lab.simulated.loaders import BootFailed, LocalBoot, Start, load
from templates.models import BootInput, DiscoveryInput
from templates.render import render_boot_config, render_default, render_local_boot

MAC = "52:54:00:aa:bb:01"
PROXY = "http://127.64.0.1:8000"
FIRST = {
    Loader.PXELINUX: "pxelinux.0",
    Loader.GRUB2: "grub2/grubx64.efi",
    Loader.IPXE: f"{PROXY}/httpboot/pxelinux.cfg/default.ipxe",
}


class Files(dict[str, bytes]):
    """A boot server that holds the default of one loader."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        discovery = DiscoveryInput(kernel="boot/k0", initrd="boot/i0", proxy_url=PROXY)
        if loader is not Loader.IPXE:
            self[FIRST[loader]] = b"first stage"
        for path in default_paths(loader):
            self[path] = render_default(loader, discovery).encode()

    def own(self, text: str) -> None:
        """Give the host a configuration of its own."""
        for path in host_paths(self.loader, MAC):
            self[path] = text.encode()

    async def fetch(self, path: str) -> bytes | None:
        return self.get(path.removeprefix(f"{PROXY}/httpboot/").lstrip("/"))

    async def load(self) -> Start | LocalBoot:
        return await load(self.loader, MAC, FIRST[self.loader], self.fetch)


@pytest.mark.parametrize("loader", Loader)
async def test_a_host_without_a_configuration_boots_the_discovery_image(loader: Loader) -> None:
    order = await Files(loader).load()
    assert isinstance(order, Start)
    assert order.kernel.endswith("boot/k0")
    assert order.initrd.endswith("boot/i0")
    words = order.command_line.split()
    assert f"proxy.url={PROXY}" in words
    assert "BOOTIF=01-52-54-00-aa-bb-01" in words


@pytest.mark.parametrize("loader", Loader)
async def test_a_host_with_a_configuration_boots_what_it_says(loader: Loader) -> None:
    files = Files(loader)
    options = "inst.ks=http://127.64.0.1:8000/unattended/provision?token=a&x=1 inst.ks.sendmac"
    boot = BootInput(mac=MAC, kernel="boot/k1", initrd="boot/i1", proxy_url=PROXY, options=options)
    files.own(render_boot_config(loader, boot))
    order = await files.load()
    assert isinstance(order, Start)
    assert order.kernel.endswith("boot/k1")
    assert order.command_line == options


@pytest.mark.parametrize("loader", Loader)
async def test_an_installed_host_goes_to_its_disk(loader: Loader) -> None:
    files = Files(loader)
    files.own(render_local_boot(loader))
    assert await files.load() == LocalBoot()


@pytest.mark.parametrize("loader", Loader)
async def test_a_missing_first_file_is_told_by_its_name(loader: Loader) -> None:
    files = Files(loader)
    files.clear()
    with pytest.raises(BootFailed, match=r"file not found"):
        await files.load()


@pytest.mark.parametrize("loader", Loader)
async def test_a_configuration_that_boots_nothing_is_told(loader: Loader) -> None:
    files = Files(loader)
    files.own("# nothing\n")
    with pytest.raises(BootFailed, match="a kernel in"):
        await files.load()
