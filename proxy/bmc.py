"""The ``/bmc`` mount over ``integrations.power`` (contract, section 8); errors are no 200 here."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from pydantic import SecretStr, ValidationError

from integrations.errors import OutsideError
from integrations.power import BootDevice, Power
from integrations.power.factory import power_for
from integrations.power.settings import (
    IpmiSettings,
    PowerSettings,
    RedfishSettings,
    SshSettings,
)
from proxy.answers import ProxyError, as_json, form_of, refuse
from proxy.logs import Log
from proxy.settings import BmcSettings

__all__ = ["PowerFor", "router", "usable_providers"]

PowerFor = Callable[[PowerSettings], Power]

_PROVIDERS = ("freeipmi", "ipmitool", "redfish", "ssh", "shell")
_FALSE = ("", "0", "false")
_DEVICES = ("pxe", "disk", "bios", "cdrom")
_NOT_IMPLEMENTED = "NotImplementedError"


def usable_providers(settings: BmcSettings) -> list[str]:
    """The providers that can work here: none is listed whose tool or key is missing."""
    usable = {
        "ipmitool": shutil.which("ipmitool") is not None,
        "redfish": True,
        "ssh": settings.ssh_key is not None and settings.ssh_key.is_file(),
    }
    return [name for name, works in usable.items() if works]


@dataclass(frozen=True)
class _Asked:
    """What a request says beside its path."""

    fields: dict[str, str]

    def get(self, key: str) -> str | None:
        return self.fields.get(key)

    def is_true(self, key: str) -> bool:
        return self.fields.get(key, "").strip().lower() not in _FALSE


async def _asked(request: Request) -> _Asked:
    """Query, form and JSON alike; here "false" is false, unlike upstream."""
    fields = dict(request.query_params)
    if request.headers.get("content-type", "").startswith("application/json"):
        try:
            body = json.loads(await request.body() or b"{}")
        except (ValueError, RecursionError) as error:
            raise ProxyError(400, "the body is not JSON") from error
        if not isinstance(body, dict):
            raise ProxyError(400, "the JSON body is not an object")
        fields.update({key: str(value) for key, value in body.items() if value is not None})
    else:
        form = await form_of(request)
        fields.update({key: form.get(key) for key in form.data})
    return _Asked(fields)


def _credentials(request: Request) -> tuple[str, str]:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        user = colon = password = ""
    if scheme.lower() != "basic" or not colon or not user:
        raise ProxyError(401, "unauthorized")
    return user, password


def _settings(host: str, provider: str, request: Request, ours: BmcSettings) -> PowerSettings:
    if provider == "ssh":
        if ours.ssh_key is None or not ours.ssh_key.is_file():
            raise ProxyError(400, "ssh is not usable on this proxy: set bmc.ssh_key")
        return SshSettings(
            host=host,
            user=ours.ssh_user,
            private_key=SecretStr(ours.ssh_key.read_text()),
            host_key=ours.ssh_host_keys.get(host),
        )
    if provider not in ("redfish", "ipmitool"):
        raise ProxyError(501, f"this proxy has no BMC provider {provider}")
    user, password = _credentials(request)
    if provider == "ipmitool":
        return IpmiSettings(host=host, user=user, password=SecretStr(password))
    return RedfishSettings(
        url=f"{ours.redfish_scheme}://{host}",
        user=user,
        password=SecretStr(password),
        verify=ours.redfish_verify,
    )


def router(ours: BmcSettings, log: Log, power: PowerFor = power_for) -> APIRouter:
    """Routes of the mount.

    Args:
        ours: how controllers are spoken to.
        log: takes what the answers leave out.
        power: makes the client of a controller.
    """
    routes = APIRouter()

    @asynccontextmanager
    async def machine(host: str, asked: _Asked, request: Request) -> AsyncIterator[Power]:
        provider = asked.get("bmc_provider") or ours.default_provider
        try:
            client = power(_settings(host, provider, request, ours))
        except ValidationError as error:
            # Only which field and why: values may be credentials.
            fault = error.errors(include_input=False)[0]
            raise ProxyError(400, f"{fault['loc'][-1]}: {fault['msg']}") from None
        try:
            yield client
        except OutsideError as error:
            log.error(str(error))
            raise refuse(error) from error
        finally:
            await client.close()

    @routes.get("/bmc")
    async def resources() -> Response:
        return as_json({"available_resources": ["providers", "providers/installed", "host"]})

    @routes.get("/bmc/providers")
    async def providers() -> Response:
        return as_json({"providers": _PROVIDERS})

    @routes.get("/bmc/providers/installed")
    async def installed() -> Response:
        return as_json({"installed_providers": usable_providers(ours)})

    @routes.get("/bmc/{host}")
    async def groups(host: str) -> Response:
        return as_json({"actions": ["chassis", "lan", "test", "fru", "bmc", "sensors"]})

    @routes.get("/bmc/{host}/chassis/power")
    async def power_questions(host: str) -> Response:
        return as_json({"actions": ["on", "off", "status"]})

    @routes.get("/bmc/{host}/chassis/config")
    async def functions(host: str) -> Response:
        return as_json({"functions": ["bootdevices"]})

    @routes.get("/bmc/{host}/chassis/config/bootdevices")
    async def devices(host: str) -> Response:
        return as_json({"devices": _DEVICES})

    @routes.get("/bmc/{host}/test")
    async def test(host: str, request: Request) -> Response:
        async with machine(host, await _asked(request), request) as client:
            await client.state()
        return as_json({"action": "test", "result": True})

    @routes.get("/bmc/{host}/chassis/power/{action}")
    async def question(host: str, action: str, request: Request) -> Response:
        async with machine(host, await _asked(request), request) as client:
            if action not in ("status", "on", "off"):
                raise ProxyError(400, f"The action: {action} is not a valid action")
            state = str(await client.state())
        return as_json(
            {"action": action, "result": state if action == "status" else state == action}
        )

    @routes.put("/bmc/{host}/chassis/power/{action}")
    async def switch(host: str, action: str, request: Request) -> Response:
        async with machine(host, await _asked(request), request) as client:
            match action:
                case "on":
                    await client.on()
                case "off":
                    await client.off()
                case "cycle" | "reset":
                    await client.reboot()
                case "soft":
                    raise ProxyError(501, _NOT_IMPLEMENTED)
                case _:
                    raise ProxyError(400, f"The action: {action} is not a valid action")
        return as_json({"action": action, "result": True})

    @routes.put("/bmc/{host}/chassis/config/bootdevice/{device}")
    async def boot_device(host: str, device: str, request: Request) -> Response:
        asked = await _asked(request)
        async with machine(host, asked, request) as client:
            if device not in _DEVICES:
                raise ProxyError(400, f"{device} is not a valid boot device")
            if device not in tuple(BootDevice) or asked.is_true("persistent"):
                raise ProxyError(501, _NOT_IMPLEMENTED)
            await client.boot_once(BootDevice(device))
            if asked.is_true("reboot"):
                await client.reboot()
        flags = {"reboot": asked.get("reboot"), "persistent": asked.get("persistent")}
        return as_json({"action": device, "result": {"device": device, **flags}})

    @routes.get("/bmc/{host}/{group}/{action}")
    @routes.put("/bmc/{host}/{group}/{action}")
    async def others(host: str, group: str, action: str) -> Response:
        raise ProxyError(501, _NOT_IMPLEMENTED)

    return routes
