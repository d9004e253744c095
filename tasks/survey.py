"""What should be outside for a host, and what is there: the eyes of both plan and drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from integrations.errors import OutsideError
from integrations.records import BootConfig, DnsRecord, Loader, Reservation
from inventory import certificates, consumers
from inventory.context import BuildContext
from tasks import desired
from tasks.boot import boot_config_keeper
from tasks.candlepin import consumer_keeper, registered_consumer
from tasks.certificates import Certificate, CertificateKeeper
from tasks.company import Problem
from tasks.dhcp import reservation_keeper
from tasks.dns import dns_keeper
from tasks.means import means
from tasks.road import Keeper, is_ours

__all__ = [
    "Finding",
    "Judgement",
    "Wanted",
    "in_operation",
    "look_at",
    "names_and_address",
    "told",
    "worst_first",
]


class Judgement(StrEnum):
    """How what is there compares with what should be."""

    RIGHT = "right"
    MISSING = "missing"
    CHANGED = "changed"
    """There is something else that we wrote at some time."""
    FOREIGN = "foreign"
    """There is something that we never wrote."""
    LEAKED = "leaked"
    """Ours, of a build that is gone."""
    UNREADABLE = "not readable"


class Finding(BaseModel):
    """What was found of one record."""

    model_config = ConfigDict(frozen=True)

    host: str
    system: str
    place: str
    key: str
    judgement: Judgement
    words: str
    """What is there, whose it is, or why it cannot be read."""


@dataclass(frozen=True)
class Wanted:
    """One record of a host, with the keeper that reads it."""

    keeper: Keeper[Any]
    record: Any
    """As it should be; where nothing should be it only names the key."""
    there: bool = True
    """Whether it should be there at all."""
    exact: bool = True
    """Whether what is there must equal it, or only be there."""


def names_and_address(context: BuildContext) -> list[Wanted]:
    """Reservation and DNS records; none for a host that has no address yet."""
    if context.interface.ip is None:
        return []
    dns = dns_keeper(context.dns_proxy, context.domain)
    return [
        Wanted(reservation_keeper(context), desired.reservation(context)),
        *(Wanted(dns, one) for one in desired.dns_records(context)),
    ]


async def in_operation(context: BuildContext) -> list[Wanted]:
    """All that there should be of a host in operation.

    Raises:
        Problem: credentials of its Puppet or Candlepin are missing.
    """
    wanted = names_and_address(context)
    boot = boot_config_keeper(context.tftp_proxy, context.subnet)
    local = desired.local_boot(context)
    loader, mac = Loader(context.group.loader), context.interface.mac
    nothing = BootConfig(loader=loader, mac=mac, text="")
    wanted.append(Wanted(boot, local or nothing, there=local is not None))
    if context.puppet is not None:
        ca = await means().puppets.of(context.puppet)
        keeper = CertificateKeeper(ca, certificates.place(context.puppet))
        wanted.append(Wanted(keeper, Certificate(name=context.host.name), exact=False))
    if context.candlepin is not None:
        async with means().sessions() as session:
            known = await consumers.of_host(session, context.host.id)
        if known is not None:
            record = registered_consumer(known, context.host.name)
            consumer = await consumer_keeper(context.candlepin)
            wanted.append(Wanted(consumer, record, exact=False))
    return wanted


async def look_at(host: str, wanted: Wanted) -> Finding:
    """Read one record from the system that owns it, and say how it compares; nothing is changed."""
    keeper, record = wanted.keeper, wanted.record

    def found(judgement: Judgement, words: str) -> Finding:
        return Finding(
            host=host,
            system=keeper.system,
            place=keeper.place,
            key=keeper.key(record),
            judgement=judgement,
            words=words,
        )

    m = means()
    try:
        async with m.admission.gate(keeper.system, keeper.place):
            there = await keeper.read(record)
    except (OutsideError, Problem) as error:
        return found(Judgement.UNREADABLE, str(error))
    if there is None:
        if wanted.there:
            return found(Judgement.MISSING, "nothing is there")
        return found(Judgement.RIGHT, "nothing is there, as it should be")
    if wanted.there and (there == record or not wanted.exact):
        return found(Judgement.RIGHT, f"read from {keeper.source}")
    ours = await is_ours(m, keeper, there)
    judgement = Judgement.CHANGED if ours else Judgement.FOREIGN
    return found(judgement, f"there is {told(keeper, there)}")


def told(keeper: Keeper[Any], there: Any) -> str:
    """A record in words."""
    match there:
        case Reservation() | DnsRecord():
            return keeper.owner(there)
        case BootConfig():
            lines = there.text.strip().splitlines()
            return f"a file of {len(lines)} lines, beginning {(lines or [''])[0]!r}"
    return keeper.owner(there)


def worst_first(found: Sequence[Finding]) -> list[Finding]:
    """What a person wants to see first; what is right, last."""
    order = list(Judgement)
    return sorted(found, key=lambda one: (-order.index(one.judgement), one.host, one.system))
