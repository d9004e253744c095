"""A Smart Proxy that lies as the upstream one was seen to lie, each lie switchable.

For tests of the client: our own service tells the truth, so it cannot show what happens otherwise.
State is plain attributes, so that a test can look at what really happened.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

__all__ = ["Lies", "QuirkySmartProxy", "sample_transport"]

_RANDOM_SEED = 1
_NETWORK = IPv4Network("192.0.2.0/24")


@dataclass
class Lies:
    """What this proxy does wrong; the defaults are what every upstream proxy does."""

    isc: bool = True
    """Records gain ``hardware_type``, so that an identical repeat is a 409."""
    dhcpd_down: bool = False
    """Writes are 400, reads are answered from memory."""
    dhcp_drops: bool = False
    """Writes are 200 and do nothing."""
    stale_reads: int = 0
    """So many reads of reservations after a write still show the state before it."""
    dns_down: bool = False
    """Writes are 200 and do nothing."""
    tftp_drops: bool = False
    """Writes are 200 and do nothing."""
    ssh_fails: bool = False
    """The ssh provider's command fails: reads as "off" with 200."""
    v2: bool = True
    """Version 2 of the feature list exists."""


def _text(status: int, text: str) -> Response:
    """An error: plain text that is labelled JSON."""
    return PlainTextResponse(text, status, media_type="application/json")


def _json(value: object) -> Response:
    return _text(200, json.dumps(value, separators=(",", ":")))


def _empty() -> Response:
    return Response(b"", 200, media_type="text/html;charset=utf-8")


_NOT_SERVED = "Requested url was not found"
_BMC_ACTIONS = ("on", "off", "soft", "cycle", "status")


@dataclass
class QuirkySmartProxy:
    """An upstream Smart Proxy as an ASGI app (``.app``) with one subnet and one zone."""

    network: IPv4Network = _NETWORK
    zone: str = "example.org"
    lies: Lies = field(default_factory=Lies)
    reservations: list[dict[str, str]] = field(default_factory=list)
    dns: dict[tuple[str, str], str] = field(default_factory=dict)
    boot: dict[str, str] = field(default_factory=dict)
    """Files below the boot root, configurations and boot files."""
    sources: dict[str, str] = field(default_factory=dict)
    """What can be fetched, by URL."""
    power: str = "off"
    overrides: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    """Every request: method and path."""

    def __post_init__(self) -> None:
        self._random = random.Random(_RANDOM_SEED)
        self._burned: set[IPv4Address] = set()
        self._before: list[dict[str, str]] = []
        self._stale = 0
        routes = {
            ("GET", "/features"): self._features,
            ("GET", "/v2/features"): self._features_v2,
            ("GET", "/version"): self._version,
            ("GET", "/dhcp"): self._subnets,
            ("GET", "/dhcp/{net}/unused_ip"): self._unused_ip,
            ("GET", "/dhcp/{net}/mac/{mac}"): self._by_mac,
            ("GET", "/dhcp/{net}/ip/{ip}"): self._by_ip,
            ("POST", "/dhcp/{net}"): self._reserve,
            ("DELETE", "/dhcp/{net}/mac/{mac}"): self._release,
            ("POST", "/dns/"): self._add_dns,
            ("DELETE", "/dns/{name}/{type}"): self._remove_dns,
            ("GET", "/tftp/serverName"): self._server_name,
            ("POST", "/tftp/fetch_boot_file"): self._fetch,
            ("POST", "/tftp/{kind}/create_default"): self._write_default,
            ("POST", "/tftp/{kind}/{mac}"): self._write_boot,
            ("GET", "/tftp/{kind}/{mac}"): self._read_boot,
            ("DELETE", "/tftp/{kind}/{mac}"): self._remove_boot,
            ("GET", "/httpboot/{path:path}"): self._httpboot,
            ("GET", "/bmc/{host}/chassis/power/{action}"): self._bmc,
            ("PUT", "/bmc/{host}/chassis/power/{action}"): self._bmc,
            ("PUT", "/bmc/{host}/chassis/config/bootdevice/{device}"): self._boot_device,
        }
        self.app = Starlette(
            routes=[Route(path, end, methods=[verb]) for (verb, path), end in routes.items()],
            exception_handlers={404: self._not_found, 405: self._not_found},
        )

    def transport(self) -> httpx.ASGITransport:
        """For a client in this process."""
        return httpx.ASGITransport(self._recorded)

    def forget_for_reads(self, reads: int) -> None:
        """Have so many reads show no reservation at all, as a reader does that lags behind."""
        self._before, self._stale = [], reads

    async def _recorded(self, scope: object, receive: object, send: object) -> None:
        assert isinstance(scope, dict)
        self.calls.append(f"{scope['method']} {scope['path']}")
        await self.app(scope, receive, send)  # type: ignore[arg-type]

    async def _not_found(self, _: Request, __: Exception) -> Response:
        return _text(404, _NOT_SERVED)

    async def _features(self, _: Request) -> Response:
        return _json(["bmc", "dhcp", "dns", "httpboot", "tftp"])

    async def _features_v2(self, _: Request) -> Response:
        if not self.lies.v2:
            return _text(404, _NOT_SERVED)
        enabled = {"http_enabled": True, "https_enabled": True, "settings": {}}
        return _json(
            {
                "dhcp": {**enabled, "state": "running", "capabilities": ["dhcp_filename_ipv4"]},
                "dns": {**enabled, "state": "failed", "capabilities": []},
            }
        )

    async def _version(self, _: Request) -> Response:
        return _json({"version": "3.10.0", "modules": {"dhcp": "3.10.0"}})

    # DHCP

    async def _subnets(self, _: Request) -> Response:
        net = self.network
        options = {"routers": [str(net[1])], "range": [str(net[10]), str(net[20])]}
        subnet = {
            "network": str(net.network_address),
            "netmask": str(net.netmask),
            "options": options,
        }
        return _json([subnet])

    def _visible(self) -> list[dict[str, str]]:
        if self._stale:
            self._stale -= 1
            return self._before
        return self.reservations

    def _shown(self, record: Mapping[str, str]) -> dict[str, object]:
        net = self.network
        own = {"subnet": f"{net.network_address}/{net.netmask}", "type": "reservation"}
        gained = {"hardware_type": "ethernet"} if self.lies.isc else {}
        shown = {key: value for key, value in record.items() if key != "network"}
        return {**shown, **own, "deleteable": True, **gained, "mac": record["mac"].lower()}

    async def _unused_ip(self, request: Request) -> Response:
        mac = request.query_params.get("mac", "")
        first, last = (IPv4Address(request.query_params[end]) for end in ("from", "to"))
        for record in self.reservations:
            if record["mac"] == mac:
                return _json({"ip": record["ip"]})
        taken = {IPv4Address(r["ip"]) for r in self.reservations} | self._burned
        free = [IPv4Address(n) for n in range(int(first), int(last) + 1)]
        free = [address for address in free if address not in taken]
        if not free:
            return _json({"ip": None})
        chosen = self._random.choice(free)
        self._burned.add(chosen)
        return _json({"ip": str(chosen)})

    async def _by_mac(self, request: Request) -> Response:
        net, mac = request.path_params["net"], request.path_params["mac"].lower()
        found = [r for r in self._visible() if r["mac"].lower() == mac]
        if not found:
            return _text(404, f"No DHCP record for MAC {net}/{mac} found")
        return _json(self._shown(found[0]))

    async def _by_ip(self, request: Request) -> Response:
        net, ip = request.path_params["net"], request.path_params["ip"]
        found = [r for r in self._visible() if r["ip"] == ip]
        if not found:
            return _text(404, f"No DHCP records for IP {net}/{ip} found")
        return _json([self._shown(record) for record in found])

    async def _reserve(self, request: Request) -> Response:
        form = {key: str(value) for key, value in (await request.form()).items()}
        net, mac, ip = request.path_params["net"], form.get("mac", ""), form.get("ip", "")
        if len(mac) != 17:
            return _text(400, f"Invalid MAC {mac}")
        if net != str(self.network.network_address):
            return _text(400, f"No Subnet detected for: {net}")
        name = form.get("name") or form.get("hostname")
        if not name:
            return _text(400, "Must provide hostname")
        # Compared as sent: an upper-case MAC passes by a lower-case twin.
        clashing = [r for r in self.reservations if r["ip"] == ip or r["mac"] == mac]
        kept = {"hardware_type": "ethernet"} if self.lies.isc else {}
        if clashing and any({**record, **kept} != form for record in clashing):
            return _text(409, f"Record {net}/{ip} already exists")
        if self.lies.dhcpd_down:
            said = f"Failed to add DHCP reservation for {name} ({ip} / {mac}): "
            return _text(400, said + "No response from DHCP server")
        if not self.lies.dhcp_drops and not clashing:
            self._before, self._stale = list(self.reservations), self.lies.stale_reads
            self.reservations.append(form)
        return Response(b"", 200, media_type="application/json")

    async def _release(self, request: Request) -> Response:
        if not self.lies.dhcp_drops:
            mac = request.path_params["mac"]
            self._before, self._stale = list(self.reservations), self.lies.stale_reads
            self.reservations = [r for r in self.reservations if r["mac"].lower() != mac]
        return _empty()

    # DNS

    async def _add_dns(self, request: Request) -> Response:
        form = {key: str(value) for key, value in (await request.form()).items()}
        if not {"fqdn", "value", "type"} <= form.keys():
            return _text(400, "'create' requires fqdn, value, and type parameters")
        name, value = form["fqdn"], form["value"]
        if form["type"] == "PTR":
            name, value = value, name
        if self.lies.dns_down or not name.endswith((self.zone, ".arpa")):
            return _empty()
        if self.dns.setdefault((name, form["type"]), value) != value:
            return _text(409, f"'{name} 'is already in use")
        return _empty()

    async def _remove_dns(self, request: Request) -> Response:
        if not self.lies.dns_down:
            self.dns.pop((request.path_params["name"], request.path_params["type"]), None)
        return _empty()

    # TFTP and HTTP boot

    async def _server_name(self, _: Request) -> Response:
        return PlainTextResponse('{"serverName":"192.0.2.2"}', media_type="text/html;charset=utf-8")

    def _file(self, request: Request) -> str:
        kind, mac = request.path_params["kind"].lower(), request.path_params["mac"]
        dashed = "01-" + mac.replace(":", "-").lower()
        if kind == "pxegrub2":
            return f"grub2/grub.cfg-{dashed}"
        return f"pxelinux.cfg/{dashed}" + (".ipxe" if kind == "ipxe" else "")

    async def _write_boot(self, request: Request) -> Response:
        if not self.lies.tftp_drops:
            self.boot[self._file(request)] = str((await request.form())["pxeconfig"])
        return _empty()

    async def _write_default(self, request: Request) -> Response:
        kind = request.path_params["kind"].lower()
        names = {"pxegrub2": "grub2/grub.cfg", "ipxe": "pxelinux.cfg/default.ipxe"}
        text = str((await request.form())["menu"])
        self.boot[names.get(kind, "pxelinux.cfg/default")] = text
        return _empty()

    async def _read_boot(self, request: Request) -> Response:
        path = self._file(request)
        if path not in self.boot:
            said = f"TFTP: Failed to retrieve pxe config file: File /srv/tftp/{path} not found"
            return _text(404, said)
        return PlainTextResponse(self.boot[path], media_type="text/html;charset=utf-8")

    async def _remove_boot(self, request: Request) -> Response:
        if not self.lies.tftp_drops:
            self.boot.pop(self._file(request), None)
        return _empty()

    async def _fetch(self, request: Request) -> Response:
        """Says 200 at once and leaves an older file where the source has none."""
        form = await request.form()
        prefix, url = str(form["prefix"]), str(form["path"])
        if url in self.sources:
            dash = "" if prefix.endswith("/") else "-"
            self.boot[prefix + dash + url.rsplit("/", 1)[-1]] = self.sources[url]
        return _empty()

    async def _httpboot(self, request: Request) -> Response:
        path = request.path_params["path"]
        if path not in self.boot:
            return _text(404, "Not found")
        return Response(self.boot[path].encode(), media_type="application/octet-stream")

    # BMC

    async def _bmc(self, request: Request) -> Response:
        action = request.path_params["action"]
        if request.query_params.get("bmc_provider") == "ssh":
            if action == "status":
                return _json({"action": action, "result": "off" if self.lies.ssh_fails else "on"})
            return _json({"action": action, "result": None})
        if "authorization" not in request.headers:
            return _text(401, "unauthorized")
        if action == "reset":
            return _text(400, "undefined method `powerreset' for #<Proxy::BMC::Redfish:0x..>")
        if action not in _BMC_ACTIONS:
            return _json({"error": f"The action: {action} is not a valid action"})
        if action == "status":
            return _json({"action": action, "result": self.power})
        self.power = "off" if action in ("off", "soft") else "on"
        return _json({"action": action, "result": f"{request.path_params['host']}: ok\n"})

    async def _boot_device(self, request: Request) -> Response:
        """Any text counts as true, "false" included; the device of disks is not called so."""
        form = await request.form()
        device = request.path_params["device"]
        if device not in ("pxe", "disk", "cdrom", "bios"):
            return _json({"error": f"{device} is not a valid boot device"})
        self.overrides.append("Enabled" if form.get("persistent") else "Once")
        if form.get("reboot"):
            self.overrides.append("ForceRestart")
        return _json({"action": device, "result": {"device": device}})


def sample_transport(sample: Path) -> httpx.MockTransport:
    """Answers every request as one recorded exchange did, byte for byte."""
    recorded = json.loads(sample.read_text())["response"]
    headers = {"Content-Type": recorded["headers"]["Content-Type"]}

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(
            recorded["status"], headers=headers, content=recorded["body"].encode()
        )

    return httpx.MockTransport(answer)
