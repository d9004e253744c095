"""Examines boot servers: what the proxy writes must be what the TFTP server gives out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address

import httpx
from prefect import task
from sqlmodel import col, select

from integrations.errors import Refused
from integrations.records import BootConfig, Loader
from integrations.tftp import tftp_read
from inventory import effects
from inventory.models import HostGroup, Proxy, Subnet
from tasks.boot import boot_config_keeper
from tasks.doctor.checked import Checked
from tasks.doctor.examination import LOOK_SECONDS, PROBE_SECONDS, Examination
from tasks.doctor.probing import Mark, mark_of, prove
from tasks.doctor.proxies import feature_check, feature_runs, without_feature
from tasks.doctor.served import require_served
from tasks.means import means
from tasks.places import proxy_place
from tasks.site import DISCOVERY_INITRD, DISCOVERY_KERNEL

__all__ = ["examine_tftp"]

_FEATURE = "tftp"
_NEXT = "the proxy tells its boot server"
_WRITE = "a boot configuration for {0} can be written, read over TFTP and removed"
_LOADER = "the loader {0} is there"
_IMAGE = "the discovery image's {0} is there"
_MARKER = "# A probe of `rackrise doctor`; it may be removed."
_MOST = 64 * 1024 * 1024


@task(name="Examine boot servers", persist_result=False)
async def examine_tftp() -> list[Checked]:
    """Write, read over TFTP and remove a probe for each loader in use; see what hosts load."""
    async with means().sessions() as session:
        rows = await session.exec(
            select(Subnet, Proxy).join(Proxy, col(Proxy.id) == col(Subnet.tftp_proxy_id))
        )
        found, mark = list(rows), await mark_of(session)
        used = list(await session.exec(select(HostGroup.subnet_id, HostGroup.loader).distinct()))
    exam = Examination("TFTP")
    proxies = {proxy.id: proxy for _, proxy in found}
    await exam.all(
        _proxy(
            exam,
            proxy,
            [
                _Subnet(exam, proxy, one, mark, _loaders(one, used))
                for one, its in found
                if its.id == proxy.id
            ],
        )
        for proxy in proxies.values()
    )
    return exam.found


def _loaders(subnet: Subnet, used: Sequence[tuple[int, str]]) -> list[Loader]:
    mine = {Loader(loader) for subnet_id, loader in used if subnet_id == subnet.id}
    return sorted(mine or {Loader(one) for one in subnet.filenames} or {Loader.PXELINUX})


async def _proxy(exam: Examination, proxy: Proxy, subnets: Sequence[_Subnet]) -> None:
    place = proxy_place(proxy)
    well = await exam.look(place, feature_check(_FEATURE), lambda: feature_runs(proxy, _FEATURE))
    parts = [one.examine(writes=well) for one in subnets]
    if well:
        parts.append(_proxy_itself(exam, proxy, subnets))
    else:
        for check in (_NEXT, _IMAGE.format("kernel"), _IMAGE.format("initrd")):
            exam.not_tried(place, check, without_feature(proxy, _FEATURE))
    await exam.all(parts)


async def _proxy_itself(exam: Examination, proxy: Proxy, subnets: Sequence[_Subnet]) -> None:
    place = proxy_place(proxy)
    await exam.look(place, _NEXT, lambda: _next_server(proxy, subnets))
    for what, path in (("kernel", DISCOVERY_KERNEL), ("initrd", DISCOVERY_INITRD)):
        await exam.look(
            place, _IMAGE.format(what), partial(_image, proxy, path), seconds=PROBE_SECONDS
        )


async def _next_server(proxy: Proxy, subnets: Sequence[_Subnet]) -> str:
    name = await means().proxies.of(proxy).tftp_server_name()
    ours = ", ".join(sorted({one.subnet.boot_server for one in subnets}))
    said = f"it tells {name!r}" if name else "it tells none of its own"
    return f"{said}; hosts are sent to {ours}, as the site file says"


async def _image(proxy: Proxy, path: str) -> str:
    state = await means().proxies.of(proxy).boot_file_state(path)
    if state is None:
        raise Refused(
            system="TFTP",
            address=proxy_place(proxy),
            operation=f"give {path}",
            said="the file is not there",
        )
    return f"{path}, {state.size} bytes, SHA-256 {state.sha256[:12]}…"


@dataclass
class _Subnet:
    exam: Examination
    proxy: Proxy
    subnet: Subnet
    mark: Mark
    loaders: Sequence[Loader]

    @property
    def place(self) -> str:
        return f"{proxy_place(self.proxy)}, {self.subnet.boot_server}:{self.subnet.boot_port}"

    async def examine(self, *, writes: bool) -> None:
        parts = [self._probed(one) for one in self.loaders] if writes else []
        for loader in () if writes else self.loaders:
            why = without_feature(self.proxy, _FEATURE)
            self.exam.not_tried(self.place, _WRITE.format(loader), why)
        await self.exam.all([*parts, *(self._loader(one) for one in self._filenames())])

    def _filenames(self) -> list[str]:
        named = {self.subnet.filenames.get(one, "") for one in self.loaders}
        return sorted(one for one in named if one)

    async def _probed(self, loader: Loader) -> None:
        keeper = boot_config_keeper(self.proxy, self.subnet)
        mac = self.mark.mac(f"TFTP {self.subnet.network} {loader}")
        text = f"{_MARKER}\n# {self.mark.label} {self.subnet.name}\n"
        probe = BootConfig(loader=loader, mac=mac, text=text)
        await self.exam.look(
            self.place,
            _WRITE.format(loader),
            lambda: prove(keeper, probe, lambda there: there.text.startswith(_MARKER)),
            seconds=PROBE_SECONDS,
            gate=(effects.TFTP, keeper.place),
        )

    async def _loader(self, filename: str) -> None:
        await self.exam.look(self.place, _LOADER.format(filename), lambda: self._given(filename))

    async def _given(self, filename: str) -> str:
        if "://" in filename:
            async with httpx.AsyncClient(timeout=LOOK_SECONDS, trust_env=False) as http:
                return await require_served(http, filename, "TFTP")
        content = await tftp_read(
            IPv4Address(self.subnet.boot_server),
            self.subnet.boot_port,
            filename,
            deadline=LOOK_SECONDS - 1,
            max_bytes=_MOST,
        )
        if content is None:
            raise Refused(
                system="TFTP",
                address=f"{self.subnet.boot_server}:{self.subnet.boot_port}",
                operation=f"give {filename}",
                said="the file is not there",
            )
        return f"{filename}, {len(content)} bytes over TFTP"
