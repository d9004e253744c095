"""DNS records through a Smart Proxy; only the authoritative server knows whether they are there."""

from __future__ import annotations

from urllib.parse import quote

from integrations.errors import Conflict
from integrations.records import DnsRecord
from integrations.smart_proxy.wire import Wire

__all__ = ["DnsCalls"]

_ANY_ABSENCE = r"(?!Requested url was not found)"


class DnsCalls:
    """The ``/dns`` mount.

    An upstream proxy answers 200 while its name server is down and for zones that it does not
    serve. Ask the zone's own name server after each call.
    """

    _wire: Wire

    async def add_dns(self, record: DnsRecord) -> None:
        """Ask for a record; look it up at the authoritative server afterwards.

        Raises:
            Conflict: the name holds other data of that type; it is left alone.
        """
        # Of a PTR the proxy calls the host name "fqdn" and the reverse name "value".
        swapped = record.type == "PTR"
        form = {
            "fqdn": record.value if swapped else record.name,
            "value": record.name if swapped else record.value,
            "type": record.type,
        }
        operation = f"add {record.name} {record.type} {record.value}"
        try:
            await self._wire.ask("POST", "/dns/", operation=operation, form=form)
        except Conflict as conflict:
            conflict.owner = f"the {record.type} record that {record.name} has already"
            raise

    async def remove_dns(self, record: DnsRecord) -> None:
        """Ask for the removal of a record; look it up at the authoritative server afterwards.

        The proxy deletes **every** record of that type at that name: verify first that all of them
        are ours. A record that is gone already is success.
        """
        # The type is upper case by its own type; in lower case the proxy refuses it here.
        await self._wire.find(
            f"/dns/{quote(record.name, safe='')}/{record.type}",
            operation=f"remove {record.name} {record.type} {record.value}",
            missing=_ANY_ABSENCE,
            method="DELETE",
        )
