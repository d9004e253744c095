"""A Kea that needs neither root nor a network: its control agent's protocol, kept in memory.

For fleets of simulated hosts, and to show what the real one cannot be made to do: it may load the
``host_cmds`` hook, and it may lie. Its refusals and their consequences are those of Kea 2.2.
"""

from __future__ import annotations

import asyncio
import base64
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from copy import deepcopy
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, summarize_address_range
from time import time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from integrations.records import normal_mac
from lab.doubles.serve import served

__all__ = ["Fault", "KeaDouble"]

Json = dict[str, Any]

_SUBNET_ID = 1


class Fault(StrEnum):
    """What the double does wrong while it is set."""

    NONE = "none"
    OFFLINE = "offline"
    """The agent answers, the server behind it does not."""
    SILENT = "silent"
    """No answer ever comes."""
    REJECTS = "rejects"
    """Every change is an error; a refused ``config-set`` leaves no DHCP socket, as in the real."""
    LIES = "lies"
    """Every change is a success and does nothing."""


def _macs(config: Json) -> set[str]:
    return {str(one.get("hw-address")) for one in config["subnet4"][0]["reservations"]}


class _No(Exception):
    def __init__(self, text: str, result: int = 1) -> None:
        self.answer: Json = {"result": result, "text": text}
        super().__init__(text)


class KeaDouble:
    """One subnet of a simulated Kea; what it knows is in plain attributes for tests to look at.

    Args:
        network: its only subnet.
        range_from: first address of its pool.
        range_to: last address of its pool.
        host_cmds: whether ``reservation-add`` and its like exist; Debian's Kea has none of them.
        delay: least and greatest seconds of an answer.
        seed: of the delays.
        user: for basic authentication; empty for none.
        password: likewise.
        lease_seconds: how long a lease lasts.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        network: IPv4Network = IPv4Network("192.0.2.0/24"),  # noqa: B008 - immutable
        range_from: IPv4Address = IPv4Address("192.0.2.100"),  # noqa: B008 - immutable
        range_to: IPv4Address = IPv4Address("192.0.2.199"),  # noqa: B008 - immutable
        *,
        host_cmds: bool = False,
        delay: tuple[float, float] = (0, 0),
        seed: int = 1,
        user: str = "",
        password: str = "",
        lease_seconds: int = 600,
        now: Callable[[], float] = time,
    ) -> None:
        self.network = network
        self.fault = Fault.NONE
        self.deaf = False
        """No DHCP sockets: the consequence of a refused ``config-set``."""
        self.commands: Counter[str] = Counter()
        """How often each command came."""
        self.changes: list[tuple[str, str]] = []
        """What its log says of reservations: ``added`` or ``removed``, and whose."""
        self.leases: dict[IPv4Address, Json] = {}
        self.config: Json = {
            "next-server": str(network[1]),
            "option-data": [
                {"name": "routers", "data": str(network[1]), "csv-format": True},
                {"name": "domain-name-servers", "data": str(network[1]), "csv-format": True},
            ],
            "subnet4": [
                {
                    "id": _SUBNET_ID,
                    "subnet": str(network),
                    "pools": [{"pool": f"{range_from}-{range_to}"}],
                    "reservations": [],
                }
            ],
        }
        self.written: Json = deepcopy(self.config)
        """What a restart would come back with."""
        self._range = (range_from, range_to)
        self._delay = delay
        self._random = random.Random(seed)
        self._now = now
        self._lease_seconds = lease_seconds
        self._login = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self._handlers: dict[str, Callable[[Json], Json]] = {
            "list-commands": lambda _: {"arguments": sorted(self._handlers)},
            "config-get": self._config_get,
            "config-test": self._config_test,
            "config-set": self._config_set,
            "config-write": self._config_write,
            "status-get": self._status_get,
            "lease4-get-all": self._lease4_get_all,
        }
        if host_cmds:
            self._handlers |= {
                "reservation-add": self._reservation_add,
                "reservation-del": self._reservation_del,
                "reservation-get": self._reservation_get,
                "reservation-get-all": self._reservation_get_all,
            }
        self._hash = host_cmds  # both belong to newer versions
        self.app = Starlette(routes=[Route("/", self._post, methods=["POST"])])

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Listen on the loopback while the block lasts; yields the agent's URL."""
        async with served(self.app) as url:
            yield url

    @property
    def reservations(self) -> list[Json]:
        """The subnet's reservations, in Kea's words."""
        found: list[Json] = self.config["subnet4"][0]["reservations"]
        return found

    def boot(self, mac: str) -> IPv4Address:
        """Give a simulated host its address: the reserved one, else one of the pool.

        Raises:
            TimeoutError: nobody answers, as a host would see it.
        """
        mac = normal_mac(mac)
        if self.deaf or self.fault in (Fault.OFFLINE, Fault.SILENT):
            raise TimeoutError(f"no DHCP offer for {mac}")
        ip = self._address(mac)
        for old in [known for known, lease in self.leases.items() if lease["hw-address"] == mac]:
            del self.leases[old]
        self.leases[ip] = {
            "ip-address": str(ip),
            "hw-address": mac,
            "subnet-id": _SUBNET_ID,
            "cltt": int(self._now()),
            "valid-lft": self._lease_seconds,
            "hostname": "",
            "state": 0,
        }
        return ip

    def _address(self, mac: str) -> IPv4Address:
        for item in self.reservations:
            if item.get("hw-address", "").lower() == mac and item.get("ip-address"):
                return IPv4Address(item["ip-address"])
        for ip, lease in self.leases.items():
            if lease["hw-address"] == mac and self._in_pool(ip):
                return ip
        reserved = {item.get("ip-address") for item in self.reservations}
        for block in summarize_address_range(*self._range):
            for ip in block:
                if ip not in self.leases and str(ip) not in reserved:
                    return ip
        raise TimeoutError(f"no DHCP offer for {mac}: every address of the pool is taken")

    def _in_pool(self, ip: IPv4Address) -> bool:
        return self._range[0] <= ip <= self._range[1]

    async def _post(self, request: Request) -> Response:
        if self._login and not secrets.compare_digest(
            request.headers.get("authorization", ""), f"Basic {self._login}"
        ):
            return JSONResponse([{"result": 401, "text": "Unauthorized"}], 401)
        if self.fault is Fault.SILENT:
            await asyncio.Event().wait()
        await asyncio.sleep(self._random.uniform(*self._delay))
        message = await request.json()
        return JSONResponse([self._answer(message["command"], message.get("arguments") or {})])

    def _answer(self, command: str, arguments: Json) -> Json:
        self.commands[command] += 1
        if self.fault is Fault.OFFLINE:
            return {
                "result": 1,
                "text": "unable to forward command to the dhcp4 service: Connection refused."
                " The server is likely to be offline",
            }
        if command not in self._handlers:
            return {"result": 2, "text": f"'{command}' command not supported."}
        changes = command in ("config-set", "reservation-add", "reservation-del")
        if changes and self.fault is Fault.LIES:
            return {"result": 0, "text": "Configuration successful."}
        if changes and self.fault is Fault.REJECTS:
            self.deaf = command == "config-set"
            return {"result": 1, "text": "rejected, as the test wished"}
        try:
            return {"result": 0, **self._handlers[command](arguments)}
        except _No as no:
            return no.answer

    def _config_get(self, _: Json) -> Json:
        beside = {"hash": f"{hash(str(self.config)):x}"} if self._hash else {}
        return {"arguments": {"Dhcp4": deepcopy(self.config), **beside}}

    def _config_test(self, arguments: Json) -> Json:
        if set(arguments) != {"Dhcp4"}:
            raise _No(f"unsupported parameter among {sorted(arguments)}")
        known: list[Json] = []
        for item in arguments["Dhcp4"]["subnet4"][0]["reservations"]:
            self._require_free(item, known)
            known.append(item)
        return {"text": "Configuration seems sane."}

    def _config_set(self, arguments: Json) -> Json:
        try:
            self._config_test(arguments)
        except _No:
            self.deaf = True
            raise
        self.deaf = False
        before = _macs(self.config)
        self.config = deepcopy(arguments["Dhcp4"])
        after = _macs(self.config)
        self.changes += [("added", mac) for mac in sorted(after - before)]
        self.changes += [("removed", mac) for mac in sorted(before - after)]
        return {"text": "Configuration successful."}

    def _config_write(self, _: Json) -> Json:
        self.written = deepcopy(self.config)
        return {"text": "Configuration written.", "arguments": {"size": len(str(self.config))}}

    def _status_get(self, _: Json) -> Json:
        # As the real one: it says so even when it has none.
        return {"arguments": {"sockets": {"status": "ready"}}}

    def _lease4_get_all(self, _: Json) -> Json:
        if not self.leases:
            raise _No("0 IPv4 lease(s) found.", 3)
        return {"arguments": {"leases": list(self.leases.values())}}

    def _require_free(self, item: Json, known: list[Json]) -> None:
        ip, mac = item.get("ip-address"), item.get("hw-address")
        if ip and IPv4Address(ip) not in self.network:
            said = f"specified reservation '{ip}' is not within the IPv4 subnet '{self.network}'"
            raise _No(said)
        if item.get("next-server") == "255.255.255.255":
            raise _No("invalid next server address '255.255.255.255'")
        failed = f"failed to add new host using the HW address '{mac}' to the IPv4 subnet id '1'"
        for other in known:
            if ip and other.get("ip-address") == ip:
                raise _No(f"{failed} for the address {ip}: There's already a reservation for it")
            if mac and other.get("hw-address", "").lower() == mac.lower():
                raise _No(f"{failed} as this host has already been added")

    def _reservation_add(self, arguments: Json) -> Json:
        item = dict(arguments["reservation"])
        self._require_subnet(item.pop("subnet-id"))
        self._require_free(item, self.reservations)
        self.reservations.append(item)
        return {"text": "Host added."}

    def _reservation_del(self, arguments: Json) -> Json:
        self.reservations.remove(self._find(arguments))
        return {"text": "Host deleted."}

    def _reservation_get(self, arguments: Json) -> Json:
        return {"text": "Host found.", "arguments": dict(self._find(arguments))}

    def _reservation_get_all(self, arguments: Json) -> Json:
        self._require_subnet(arguments["subnet-id"])
        if not self.reservations:
            raise _No("0 IPv4 host(s) found.", 3)
        return {"arguments": {"hosts": deepcopy(self.reservations)}}

    def _find(self, arguments: Json) -> Json:
        self._require_subnet(arguments["subnet-id"])
        for item in self.reservations:
            by_address = "ip-address" in arguments
            key = "ip-address" if by_address else arguments["identifier-type"]
            value = arguments["ip-address" if by_address else "identifier"]
            if item.get(key, "").lower() == value.lower():
                return item
        raise _No("Host not found.", 3)

    def _require_subnet(self, number: int) -> None:
        if number != _SUBNET_ID:
            raise _No(f"Invalid subnet-id {number}")
