"""The ``/dhcp`` mount over a ``DhcpServer`` (contract, section 3)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import IPv4Address

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from integrations.dhcp import DhcpServer
from integrations.errors import Conflict, OutsideError
from integrations.records import DhcpSubnet, Lease, Reservation
from proxy.addresses import FreeAddresses
from proxy.answers import (
    NOT_FOUND,
    Form,
    ProxyError,
    address,
    as_json,
    done,
    done_json,
    form_of,
    mac_address,
    refuse,
)
from proxy.logs import Log

__all__ = ["router"]


def router(dhcp: DhcpServer, free: FreeAddresses, log: Log) -> APIRouter:
    """Routes of the mount.

    Args:
        dhcp: the server beside us.
        free: finds addresses that nobody has.
        log: takes what the answers leave out.
    """
    routes = APIRouter()

    async def known(net: str) -> DhcpSubnet | None:
        wanted = address(net)
        served = await dhcp.subnets()
        return next((one for one in served if one.network.network_address == wanted), None)

    async def subnet_of(net: str) -> DhcpSubnet:
        subnet = await known(net)
        if subnet is None:
            raise ProxyError(404, f"Subnet {net} could not found")
        return subnet

    @routes.get("/dhcp")
    async def subnets() -> Response:
        return as_json([_subnet_json(subnet) for subnet in await dhcp.subnets()])

    @routes.get("/dhcp/{net}")
    async def network(net: str) -> Response:
        subnet = await subnet_of(net)
        reservations = await dhcp.reservations(subnet.network)
        leases = await dhcp.leases(subnet.network)
        return as_json(
            {
                "reservations": [_reservation_json(one) for one in reservations],
                "leases": [_lease_json(lease, subnet) for lease in leases],
            }
        )

    @routes.get("/dhcp/{net}/unused_ip")
    async def unused_ip(net: str, request: Request) -> Response:
        given = request.query_params
        mac = mac_address(given["mac"]) if given.get("mac") else None
        subnet = await subnet_of(net)
        first, last = _range(subnet, given.get("from", ""), given.get("to", ""))
        ip = await free.find(subnet, mac, first, last)
        return as_json({"ip": None if ip is None else str(ip)})

    @routes.delete("/dhcp/{net}/unused_ip")
    async def give_back(net: str, request: Request) -> Response:
        # Ours: upstream holds what it was asked for until its time is up.
        await free.give_back(await subnet_of(net), mac_address(request.query_params.get("mac", "")))
        return done()

    @routes.get("/dhcp/{net}/mac/{mac}")
    async def by_mac(net: str, mac: str) -> Response:
        subnet = await subnet_of(net)
        found = await dhcp.by_mac(subnet.network, mac_address(mac))
        if found is None:
            raise ProxyError(404, f"No DHCP record for MAC {net}/{mac_address(mac)} found")
        return as_json(_reservation_json(found))

    @routes.get("/dhcp/{net}/ip/{ip}")
    async def by_ip(net: str, ip: str) -> Response:
        subnet = await subnet_of(net)
        found = await dhcp.by_ip(subnet.network, address(ip))
        if not found:
            raise ProxyError(404, f"No DHCP records for IP {net}/{ip} found")
        return as_json([_reservation_json(one) for one in found])

    @routes.post("/dhcp/{net}")
    async def reserve(net: str, request: Request) -> Response:
        form = await form_of(request)
        if form.get("_method").upper() not in ("", "POST"):
            # Upstream takes it for another method, and there is no other one here.
            raise ProxyError(404, NOT_FOUND)
        mac = mac_address(form.get("mac"))
        name = form.get("name") or form.get("hostname")
        if not name:
            raise ProxyError(400, "Must provide hostname")
        ip = address(form.get("ip"))
        try:
            subnet = await known(net)
            if subnet is None:
                raise ProxyError(400, f"No Subnet detected for: {net}")
            await dhcp.reserve(_wanted(form, mac, ip, subnet))
        except Conflict as error:
            log.error(str(error))
            raise ProxyError(409, f"Record {net}/{ip} already exists") from error
        except OutsideError as error:
            log.error(str(error))
            before = f"Failed to add DHCP reservation for {name} ({ip} / {mac}): "
            raise refuse(error, before) from error
        return done_json()

    async def release(found: Iterable[Reservation]) -> Response:
        for reservation in found:
            try:
                await dhcp.release(reservation)
            except OutsideError as error:
                log.error(str(error))
                raise refuse(
                    error,
                    f"Failed to delete DHCP reservation for {reservation.name} "
                    f"({reservation.ip} / {reservation.mac}): ",
                ) from error
        return done()

    @routes.delete("/dhcp/{net}/mac/{mac}")
    async def release_mac(net: str, mac: str) -> Response:
        wanted, subnet = mac_address(mac), await known(net)
        found = await dhcp.by_mac(subnet.network, wanted) if subnet else None
        return await release([found] if found else [])

    @routes.delete("/dhcp/{net}/ip/{ip}")
    async def release_ip(net: str, ip: str) -> Response:
        wanted, subnet = address(ip), await known(net)
        return await release(await dhcp.by_ip(subnet.network, wanted) if subnet else [])

    return routes


def _wanted(form: Form, mac: str, ip: IPv4Address, subnet: DhcpSubnet) -> Reservation:
    if ip not in subnet.network:
        raise ProxyError(400, f"IP Address {ip} does not belong to subnet {subnet.network}")
    try:
        return Reservation(
            mac=mac,
            ip=ip,
            name=form.get("name") or form.get("hostname"),
            hostname=form.get("hostname"),
            next_server=form.get("nextServer"),
            filename=form.get("filename"),
            network=subnet.network,
        )
    except ValidationError as error:
        raise ProxyError(400, f"Invalid reservation: {error.errors()[0]['msg']}") from error


def _range(subnet: DhcpSubnet, given_from: str, given_to: str) -> tuple[IPv4Address, IPv4Address]:
    net = subnet.network
    first = address(given_from) if given_from else subnet.range_from or net.network_address
    last = address(given_to) if given_to else subnet.range_to or net.broadcast_address
    if first > last:
        said = f"{first} can't be lower IP address than {last} - change the order?"
        raise ProxyError(400, said)
    if first not in net or last not in net:
        raise ProxyError(400, "Range does not belong to provided subnet")
    return first, last


def _subnet_json(subnet: DhcpSubnet) -> dict[str, object]:
    options: dict[str, list[str]] = {}
    if subnet.routers:
        options["routers"] = [str(one) for one in subnet.routers]
    if subnet.name_servers:
        options["domain_name_servers"] = [str(one) for one in subnet.name_servers]
    if subnet.range_from and subnet.range_to:
        options["range"] = [str(subnet.range_from), str(subnet.range_to)]
    net = subnet.network
    return {
        "network": str(net.network_address),
        "netmask": str(net.netmask),
        "options": options,
    }


def _reservation_json(one: Reservation) -> dict[str, object]:
    options = {
        "hostname": one.hostname,
        "filename": one.filename,
        "nextServer": one.next_server,
    }
    return {
        "name": one.name,
        "ip": str(one.ip),
        "mac": one.mac,
        "subnet": f"{one.network.network_address}/{one.network.netmask}",
        "type": "reservation",
        "deleteable": True,
        **{key: value for key, value in options.items() if value},
    }


def _lease_json(lease: Lease, subnet: DhcpSubnet) -> dict[str, object]:
    moments = {"starts": lease.starts, "ends": lease.ends}
    return {
        "name": f"lease-{lease.mac.replace(':', '')}",
        "ip": str(lease.ip),
        "mac": lease.mac,
        "subnet": f"{subnet.network.network_address}/{subnet.network.netmask}",
        "type": "lease",
        **({"hostname": lease.hostname} if lease.hostname else {}),
        **{key: _ruby_time(moment) for key, moment in moments.items() if moment},
        "state": "active" if lease.active else "free",
    }


def _ruby_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
