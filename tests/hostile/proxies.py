"""A proxy before doubles in memory and a boot root on the disk; it relays to a real gateway."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from fastapi import FastAPI

from integrations.bootfetch import FetchLimits
from integrations.bootfiles import BootRoot
from integrations.records import DhcpSubnet, DnsRecord, Reservation
from proxy.app import create_app
from proxy.settings import DiscoverySettings, FeatureSettings, ProxySettings, TftpSettings
from serving.arrival import Arrival, Kind, Marked
from tests.hostile.making import Break, Draft, Endpoint, Maker, Sender
from tests.hostile.sending import Outcome, Sent, send
from tests.hostile.target import Knowledge, Target, document_of, endpoints_of
from tests.proxy.site import MemoryDhcp, MemoryDns, MemoryPower, streamed

__all__ = ["proxy_target"]

_MAC, _IP, _FQDN = "52:54:00:aa:bb:01", "192.0.2.50", "web01.example.org"
_NETWORK = IPv4Network("192.0.2.0/24")
_FORM = "application/x-www-form-urlencoded"
_TRUSTED = "foreman.example.org"
_LOGIN = "Basic " + base64.b64encode(b"admin:secret").decode()
# The grammar of h11, by which httpx' own transport sends.
_TARGET = re.compile(rb"[\x21-\x7e]+")
_NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"([^\x00\s]([^\x00\r\n\x0b\x0c]*[^\x00\s])?)?")
_IS_MAC = re.compile(r"\s*[0-9a-f]{2}([:-]?[0-9a-f]{2}){5}\s*", re.IGNORECASE)
_IS_IP = re.compile(r"\d{1,3}(\.\d{1,3}){3}")


class _AsOnTheWire(httpx.AsyncBaseTransport):
    """Refuses what httpx' own transport would refuse to send."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        values = [value for _, value in request.headers.raw]
        names = [name for name, _ in request.headers.raw]
        if not (
            _TARGET.fullmatch(request.url.raw_path)
            and all(map(_NAME.fullmatch, names))
            and all(map(_VALUE.fullmatch, values))
        ):
            raise httpx.LocalProtocolError("Illegal request", request=request)
        return await self._inner.handle_async_request(request)


@dataclass
class _Site:
    app: FastAPI
    root: Path
    dhcp: MemoryDhcp
    dns: MemoryDns
    power: MemoryPower
    ordered: list[str] = field(default_factory=list)
    """What machines in discovery were told to do."""

    def fill(self) -> None:
        """As it is before anybody comes."""
        self.dhcp.kept[:] = [
            Reservation(mac=_MAC, ip=IPv4Address(_IP), name=_FQDN, network=_NETWORK)
        ]
        self.dns.kept[:] = [DnsRecord(name=_FQDN, type="A", value=_IP)]
        self.power.told.clear()
        self.power.asked.clear()
        self.ordered.clear()
        for file in sorted(self.root.rglob("*"), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()
        for name in ("boot/kernel", "pxelinux.cfg/default", "pxelinux.cfg/01-52-54-00-aa-bb-01"):
            (self.root / name).parent.mkdir(exist_ok=True)
            (self.root / name).write_text(name)

    def digest(self) -> dict[str, str]:
        outside = [one for one in self.root.parent.iterdir() if one != self.root]
        return {
            "DHCP": repr(self.dhcp.kept),
            "DNS": repr(self.dns.kept),
            "power": repr(self.power.told),
            "orders": repr(self.ordered),
            "boot files": repr(
                sorted(
                    (str(one), one.read_bytes() if one.is_file() else None)
                    for one in self.root.rglob("*")
                )
            ),
            "beside the boot root": repr(outside),
        }


@dataclass
class _Proxy(Target):
    strict: _Site
    loose: _Site
    openapi: dict[str, Any]
    endpoints: Sequence[Endpoint]
    name: str = "proxy"
    # What each has done is seen by looking before and after.
    at_once: int = 1
    values: Mapping[str, Sequence[str]] = field(default_factory=lambda: _VALUES)
    # What this API does not do is 501, in upstream's vocabulary (contract, section 2.4).
    by_contract: frozenset[int] = frozenset({501})

    def knowledge(self, endpoint: Endpoint) -> Knowledge:
        key = f"{endpoint.method} {endpoint.path}"
        return _KNOWN.get(key) or _KNOWN.get(endpoint.path, Knowledge())

    def _site(self, sender: Sender) -> _Site:
        return self.loose if sender is Sender.ADMITTED else self.strict

    async def digest(self, sender: Sender) -> dict[str, str]:
        return self._site(sender).digest()

    async def renew(self) -> None:
        self.loose.fill()

    def credentials(self, endpoint: Endpoint, sender: Sender, draft: Draft, maker: Maker) -> None:
        if endpoint.path.startswith("/bmc") and maker.random.random() < 0.7:
            draft.headers.append(("authorization", _LOGIN))

    async def send(self, sender: Sender, sent: Sent, maker: Maker) -> Outcome:
        arrivals: Sequence[Arrival] = (Arrival(Kind.HTTPS, _TRUSTED, b""), Arrival(Kind.IN_PROCESS))
        if sender is Sender.STRANGER:
            names = (None, "x", "", "\0", "\ud800", _TRUSTED + ".evil.example", "ö" * 99)
            arrivals = (Arrival(Kind.HTTP), *(Arrival(Kind.HTTPS, name, b"") for name in names))
        site = self._site(sender)
        before = None if sender is Sender.STRANGER else site.digest()
        outcome = await send(Marked(site.app, maker.random.choice(arrivals)), sent)
        if before is not None:
            after = site.digest()
            outcome.written += [name for name in before if before[name] != after[name]]
        return outcome


def _no_mac(text: str) -> bool:
    return not _IS_MAC.fullmatch(text)


def _no_ip(text: str) -> bool:
    return not _IS_IP.fullmatch(text)


def _path(name: str, wrong: Any = lambda _: True, *valid: str) -> Break:
    def apply(draft: Draft, maker: Maker) -> None:
        draft.params[name] = maker.text(lambda text: wrong(text) and text.lower() not in valid)

    return apply


def _form(name: str, wrong: Any = None) -> Break:
    """A form with one field that is wrong, or not there."""

    def apply(draft: Draft, maker: Maker) -> None:
        draft.form = dict(draft.form or {})
        draft.kind = _FORM
        if wrong is None or maker.random.random() < 0.2:
            draft.form.pop(name, None)
            draft.form[maker.text(lambda text: name not in text)] = maker.text()
        else:
            draft.form[name] = maker.text(wrong)

    return apply


def _no_form(draft: Draft, maker: Maker) -> None:
    """A body that is no form of what is asked for, whatever it calls itself."""
    names = [name.encode() for name in draft.form or {}]
    draft.form = None
    draft.kind = maker.random.choice(
        ("application/json", "text/plain", "multipart/form-data", "multipart/form-data; boundary=q")
    )
    while True:
        draft.body = maker.garbage()
        if not any(name in draft.body for name in names):
            return


def _cut(draft: Draft, maker: Maker) -> None:
    draft.cut = True


def _large(draft: Draft, maker: Maker) -> None:
    """More than is taken; seldom, because it is slow, and else something shorter."""
    draft.form, draft.kind = None, _FORM
    many = 17_000_000 if maker.random.random() < 0.01 else 300_000
    draft.body = b"\xff" * many


def _no_facts(draft: Draft, maker: Maker) -> None:
    draft.kind = maker.random.choice(("application/json", "text/plain", "", None))
    while True:
        draft.body = maker.garbage()
        if b"discovery_bootif" not in draft.body or b"null" in draft.body:
            return


def _no_url(text: str) -> bool:
    return not text.startswith("http")


def _no_record_name(text: str) -> bool:
    return not re.fullmatch(r"[a-z0-9.-]+", text.lower())


_RESERVATION = {"mac": "52:54:00:aa:bb:02", "ip": "192.0.2.60", "name": "web02.example.org"}
_RECORD = {"fqdn": "web02.example.org", "value": "192.0.2.60", "type": "A"}
_FETCH = {"prefix": "boot/x", "path": "http://192.0.2.1/kernel"}
_CONFIG = {"pxeconfig": "DEFAULT linux\n"}
_DNS = Knowledge(
    form=_RECORD,
    breaks=[
        _form("fqdn", _no_record_name),
        _form("value", _no_ip),
        _form("type", lambda text: text.upper() not in ("A", "AAAA", "PTR")),
        _no_form,
        _large,
        _cut,
    ],
)
_WRITE_TFTP = [_path("mac", _no_mac), _form("pxeconfig"), _no_form, _large, _cut]
_KINDS = ("syslinux", "pxelinux", "pxegrub", "pxegrub2", "ipxe", "zerotouch", "poap")
_FACTS = Knowledge(breaks=[_no_facts, _cut], anonymous=[_no_facts, _cut])
_ORDER = Knowledge(breaks=[_path("ip", _no_ip)])
_KNOWN: dict[str, Knowledge] = {
    "GET /dhcp/{net}/unused_ip": Knowledge(
        query={"mac": [_MAC], "from": ["192.0.2.10"], "to": ["192.0.2.20"]}
    ),
    "DELETE /dhcp/{net}/unused_ip": Knowledge(query={"mac": [_MAC]}),
    "POST /dhcp/{net}": Knowledge(
        form=_RESERVATION,
        breaks=[
            *(_form("mac", _no_mac), _form("ip", _no_ip), _path("net", _no_ip)),
            *(_form("name"), _no_form, _large, _cut),
        ],
    ),
    "DELETE /dhcp/{net}/mac/{mac}": Knowledge(breaks=[_path("mac", _no_mac)]),
    "DELETE /dhcp/{net}/ip/{ip}": Knowledge(breaks=[_path("ip", _no_ip)]),
    "/dns": _DNS,
    "/dns/": _DNS,
    "/dns/{name}": Knowledge(breaks=[_path("name", _no_record_name)]),
    "/dns/{name}/{given_kind}": Knowledge(
        breaks=[
            _path("name", _no_record_name),
            _path("given_kind", lambda _: True, "a", "aaaa", "ptr"),
        ]
    ),
    "/tftp/fetch_boot_file": Knowledge(
        form=_FETCH, breaks=[_form("prefix"), _form("path", _no_url), _no_form, _large, _cut]
    ),
    "/tftp/boot_file/{path}": Knowledge(breaks=[_path("path", lambda _: True, "boot/kernel")]),
    "/tftp/create_default": Knowledge(
        form={"menu": "DEFAULT menu\n"}, breaks=[_form("menu"), _no_form, _large, _cut]
    ),
    "/tftp/{kind}/create_default": Knowledge(
        form={"menu": "DEFAULT menu\n"},
        breaks=[_path("kind", lambda _: True, *_KINDS), _form("menu"), _no_form, _large, _cut],
    ),
    "POST /tftp/{mac}": Knowledge(form=_CONFIG, breaks=_WRITE_TFTP),
    "POST /tftp/{kind}/{mac}": Knowledge(
        form=_CONFIG, breaks=[*_WRITE_TFTP, _path("kind", lambda _: True, *_KINDS)]
    ),
    "DELETE /tftp/{mac}": Knowledge(breaks=[_path("mac", _no_mac)]),
    "DELETE /tftp/{kind}/{mac}": Knowledge(
        breaks=[_path("mac", _no_mac), _path("kind", lambda _: True, *_KINDS)]
    ),
    "PUT /bmc/{host}/chassis/power/{action}": Knowledge(
        bodies=[("application/json", b'{"bmc_provider": "redfish"}')],
        breaks=[_path("action", lambda _: True, "on", "off", "cycle", "reset")],
    ),
    "PUT /bmc/{host}/chassis/config/bootdevice/{device}": Knowledge(
        bodies=[("application/json", b'{"reboot": true}')],
        breaks=[_path("device", lambda _: True, "pxe", "disk", "bios", "cdrom")],
    ),
    "/discovery/create": _FACTS,
    "PUT /discovery/{ip}/power/reboot": _ORDER,
    "PUT /discovery/{ip}/power/kexec": _ORDER,
    "PUT /discovery/{ip}/reboot": _ORDER,
    "POST /unattended/{path}": Knowledge(
        bodies=[("application/json", b'{"stage": "packages installed"}'), ("text/plain", b"log")]
    ),
    "GET /logs": Knowledge(query={"from_timestamp": ["0"]}),
}
_VALUES: dict[str, Sequence[str]] = {
    "net": ["192.0.2.0"],
    "mac": [_MAC],
    "ip": [_IP],
    "name": [_FQDN],
    "given_kind": ["A", "AAAA", "PTR", "CNAME"],
    "kind": list(_KINDS),
    "host": ["192.0.2.9"],
    "action": ["status", "on", "off", "cycle", "soft"],
    "device": ["pxe", "disk", "cdrom"],
    "group": ["lan", "fru"],
    "path": ["boot/kernel", "pxelinux.cfg", "provision", "built", "progress", "report", "iPXE"],
}


@asynccontextmanager
async def proxy_target(gateway: FastAPI) -> AsyncIterator[Target]:
    """A proxy that relays to this gateway.

    Args:
        gateway: its state is watched by who made it.
    """
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        inner = httpx.ASGITransport(gateway, raise_app_exceptions=False, client=("192.0.2.9", 1))
        async with httpx.AsyncClient(transport=_AsOnTheWire(inner)) as http:
            strict, loose = _made(Path(one), http), _made(Path(other), http)
            document = document_of(strict.app)
            yield _Proxy(strict, loose, document, endpoints_of(document, "proxy"))


def _made(directory: Path, gateway: httpx.AsyncClient) -> _Site:
    root = directory / "root"
    root.mkdir()
    subnet = DhcpSubnet(
        network=_NETWORK,
        range_from=IPv4Address("192.0.2.10"),
        range_to=IPv4Address("192.0.2.250"),
    )
    ordered: list[str] = []

    def node(request: httpx.Request) -> httpx.Response:
        if request.method != "GET":
            ordered.append(f"{request.method} {request.url}")
        return httpx.Response(200, json={"result": True})

    def source(_: httpx.Request) -> httpx.Response:
        return streamed(b"kernel")

    def client(handle: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=_AsOnTheWire(httpx.MockTransport(handle)))

    async def name_of(_: str) -> str | None:
        return "stranger.example.org"

    settings = ProxySettings(
        foreman_url="http://gateway.example.org:8080",
        template_url="http://proxy.test:8000",
        trusted_hosts=(_TRUSTED,),
        tftp=TftpSettings(root=root, server_name="192.0.2.2"),
        features=FeatureSettings(
            bmc="true", dhcp="true", dns="true", logs="true", tftp="true", discovery="true"
        ),
        discovery=DiscoverySettings(networks=(_NETWORK,)),
    )
    dhcp, power = MemoryDhcp([subnet]), MemoryPower()
    dns = MemoryDns(("example.org", "in-addr.arpa"))
    app = create_app(
        settings,
        dhcp_server=dhcp,
        dns_server=dns,
        boot=BootRoot(root, client(source), FetchLimits(attempts=1, pause=0, deadline=10)),
        http=gateway,
        nodes=client(node),
        power=power,
        name_of=name_of,
    )
    site = _Site(app, root, dhcp, dns, power, ordered)
    site.fill()
    return site
