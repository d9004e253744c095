"""Discovery images of any number of virtual hosts, as a discovery proxy would show them.

One server, with each host under ``/discovery/<address>``: the simulated site's hosts have no
network stack of their own that could answer at an address.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from integrations.power.discovery import Kexec
from lab.doubles.serve import served

__all__ = ["DiscoveryImages", "VirtualImage", "discovery_images"]


@dataclass
class VirtualImage:
    """The discovery image as it runs on one virtual host.

    Attributes:
        facts: what it tells of the host.
        reboot: awaited once the host has restarted; from then on the image no longer answers.
        kexec: the same for another kernel; None fails, as on a host without kexec.
        keeps_promises: False says yes and stays, as after a download that failed.
    """

    facts: Mapping[str, object]
    reboot: Callable[[], Awaitable[None]]
    kexec: Callable[[Kexec], Awaitable[None]] | None = None
    keeps_promises: bool = True


class DiscoveryImages:
    """All images that run at the moment, by the address of their host.

    Args:
        delay: seconds between promise and deed; the real image takes two.
        spawn: runs the deeds.
    """

    def __init__(self, delay: float, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self._delay = delay
        self._spawn = spawn
        self._images: dict[str, VirtualImage] = {}
        self._base = ""
        host = "/discovery/{address}"
        self.app = Starlette(
            routes=[
                Route(f"{host}/inventory/facter", self._facts, methods=["GET"]),
                Route(f"{host}/power/reboot", self._reboot, methods=["PUT"]),
                Route(f"{host}/bmc/{{_}}/chassis/power/cycle", self._reboot, methods=["PUT"]),
                Route(f"{host}/power/kexec", self._kexec, methods=["PUT"]),
            ]
        )

    def serve_at(self, base: str) -> None:
        """Learn where the app is reached, a URL that ends in a slash."""
        self._base = base

    def url(self, address: str) -> str:
        """What to give ``DiscoverySettings.url`` for the host at an address."""
        return f"{self._base}discovery/{address}"

    def boot(self, address: str, image: VirtualImage) -> None:
        """Let an image answer from now on; one that ran there before is gone."""
        self._images[address] = image

    def stop(self, address: str) -> None:
        """Let an image fall silent, as by a power cut."""
        self._images.pop(address, None)

    async def _facts(self, request: Request) -> Response:
        image = self._images.get(request.path_params["address"])
        return JSONResponse(dict(image.facts)) if image else _no_answer(request)

    async def _reboot(self, request: Request) -> Response:
        image = self._images.get(request.path_params["address"])
        return self._promise(request, image, image.reboot) if image else _no_answer(request)

    async def _kexec(self, request: Request) -> Response:
        image = self._images.get(request.path_params["address"])
        if image is None:
            return _no_answer(request)
        start = image.kexec
        if start is None:
            return PlainTextResponse("kexec is not available", 500)
        try:
            kexec = Kexec.model_validate_json(await request.body())
        except ValidationError as error:
            return PlainTextResponse(f"unexpected body: {error.error_count()} errors", 500)
        return self._promise(request, image, lambda: start(kexec))

    def _promise(
        self, request: Request, image: VirtualImage, deed: Callable[[], Awaitable[None]]
    ) -> Response:
        if image.keeps_promises:
            self._spawn(self._keep(request.path_params["address"], image, deed))
        return JSONResponse({"result": True})

    async def _keep(
        self, address: str, image: VirtualImage, deed: Callable[[], Awaitable[None]]
    ) -> None:
        await asyncio.sleep(self._delay)
        # Asked twice, or switched off in between: only the image that still runs can act.
        if self._images.get(address) is image:
            self.stop(address)
            await deed()


@asynccontextmanager
async def discovery_images(delay: float = 2) -> AsyncIterator[DiscoveryImages]:
    """Serve images while the block lasts; what a deed raises ends the block at once.

    Args:
        delay: seconds between promise and deed; the real image takes two.
    """
    async with asyncio.TaskGroup() as group:
        deeds: set[asyncio.Task[None]] = set()

        def spawn(deed: Coroutine[Any, Any, None]) -> None:
            task = group.create_task(deed)
            deeds.add(task)
            task.add_done_callback(deeds.discard)

        images = DiscoveryImages(delay, spawn)
        async with served(images.app) as base:
            images.serve_at(base)
            yield images
        for deed in deeds:
            deed.cancel()


def _no_answer(request: Request) -> Response:
    # What a proxy says when the image behind it is silent.
    return PlainTextResponse(f"no answer from {request.path_params['address']}", 502)
