"""The site file: a whole site in one TOML file, checked before anything is changed.

    [site]
    name = "lab"
    gateway_url = "http://192.0.2.1:8000"

    [[proxy]]
    name = "lab-proxy"
    url = "local:"
    host_url = "http://192.0.2.1:8001"

Tables refer to each other by name. All that is wrong is told at once, each with its line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from inventory.errors import BadCondition, InventoryError
from inventory.inheritance import inherited
from inventory.rules import check
from inventory.site_apply import Change, ChangeKind, apply_site
from inventory.site_tables import SiteFile, SubnetTable
from inventory.toml_lines import Place, Problem, lines_of

__all__ = [
    "Change",
    "ChangeKind",
    "SiteFile",
    "SiteFileError",
    "apply_site",
    "read_site_file",
]


class SiteFileError(InventoryError):
    """A site file is wrong; nothing of it was applied.

    Args:
        problems: each as ``site.toml:LINE: reason``, in the order of the lines.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


_REFERENCES = {
    "domain": {"proxy": "proxy"},
    "subnet": {"dhcp_proxy": "proxy", "tftp_proxy": "proxy", "domain": "domain"},
    "install_tree": {"operating_system": "operating_system", "pulp": "pulp"},
    "host_group": {
        "operating_system": "operating_system",
        "install_tree": "install_tree",
        "subnet": "subnet",
        "domain": "domain",
        "puppet": "puppet",
        "candlepin": "candlepin",
    },
    "discovery_rule": {"host_group": "host_group"},
}
"""Which key of which table names an element of which other table."""


def read_site_file(path: Path) -> SiteFile:
    """Read and check a site file.

    Raises:
        SiteFileError: all that is wrong with it, each with its line.
        OSError: it cannot be read.
    """
    text = _text(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"at line (\d+)", str(error))
        line = int(at[1]) if at else text.count("\n") + 1
        raise SiteFileError([f"{path.name}:{line}: {error}"]) from error
    data, problems = inherited(data)
    problems += [*_wrong_shapes(data), *_wrong_names(data), *_wrong_rules(data)]
    problems += _wrong_subnets(data)
    if problems:
        raise SiteFileError(_told(path.name, text, problems))
    return SiteFile.model_validate(data)


def _text(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SiteFileError([f"{path.name}:{line}: not UTF-8, as TOML is: {error}"]) from error


def _told(file: str, text: str, problems: Sequence[Problem]) -> list[str]:
    lines = lines_of(text)

    def line(place: Place) -> int:
        # The nearest thing that has a line: a missing key is told at its table.
        return next((lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines), 1)

    numbered = sorted({(line(place), what) for place, what in problems})
    return [f"{file}:{number}: {what}" for number, what in numbered]


def _wrong_shapes(data: dict[str, Any]) -> list[Problem]:
    try:
        SiteFile.model_validate(data)
    except ValidationError as error:
        return [
            (one["loc"], f"{_title(one['loc'])}: {_sentence(one['msg'], one['type'])}")
            # Without the input: it may be a secret that stands at the wrong key.
            for one in error.errors(include_input=False, include_url=False)
        ]
    return []


def _title(place: Place) -> str:
    return ".".join(str(part) for part in place if isinstance(part, str))


def _sentence(message: str, kind: str) -> str:
    known = {"missing": "is missing", "extra_forbidden": "is not known here"}
    return known.get(kind, message.removeprefix("Value error, "))


def _elements(data: dict[str, Any], table: str) -> list[tuple[Place, dict[str, Any]]]:
    found = data.get(table, [])
    if not isinstance(found, list):
        return []
    return [((table, n), one) for n, one in enumerate(found) if isinstance(one, dict)]


def _wrong_names(data: dict[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    names: dict[str, list[str]] = {}
    for table in SiteFile.model_fields:
        for place, one in _elements(data, table):
            if "name" not in one:
                continue  # told by _wrong_shapes
            name = str(one["name"])
            if name in names.setdefault(table, []):
                problems.append(((*place, "name"), f"there is already a {table} {name!r}"))
            names[table].append(name)
    for table, keys in _REFERENCES.items():
        for place, one in _elements(data, table):
            for key, target in keys.items():
                known = names.get(target, [])
                if key in one and one[key] not in known:
                    there = ", ".join(known) or "none"
                    what = f"there is no {target} {one[key]!r}; there are: {there}"
                    problems.append(((*place, key), what))
    trees = {str(one.get("name")): one for _, one in _elements(data, "install_tree")}
    for place, group in _elements(data, "host_group"):
        system = trees.get(str(group.get("install_tree")), {}).get("operating_system")
        if system is not None and system != group.get("operating_system"):
            what = f"install_tree {group['install_tree']!r} is of the operating system {system!r}"
            problems.append(((*place, "install_tree"), what))
    return problems


def _wrong_rules(data: dict[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    for place, one in _elements(data, "discovery_rule"):
        for what in ("condition", "host_name"):
            rule = {"condition": "true", "host_name": "a", what: str(one.get(what, "true"))}
            try:
                check(name=str(one.get("name")), **rule)
            except BadCondition as error:
                problems.append(((*place, what), str(error)))
    return problems


def _wrong_subnets(data: dict[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    checked: list[tuple[Place, SubnetTable]] = []
    for place, one in _elements(data, "subnet"):
        try:
            checked.append((place, SubnetTable.model_validate(one)))
        except ValidationError:
            continue  # told by _wrong_shapes
    for place, subnet in checked:
        problems += [((*place, key), what) for key, what in _wrong_addresses(subnet)]
    for (_, first), (place, second) in combinations(checked, 2):
        if first.network.overlaps(second.network):
            what = f"{second.network} overlaps {first.network} of the subnet {first.name!r}"
            problems.append(((*place, "network"), what))
    return problems


def _wrong_addresses(subnet: SubnetTable) -> list[tuple[str, str]]:
    problems: list[tuple[str, str]] = []
    ends = (subnet.network.network_address, subnet.network.broadcast_address)
    for key in ("range_from", "range_to", "dynamic_from", "dynamic_to", "gateway"):
        address = getattr(subnet, key)
        if address is not None and (address not in subnet.network or address in ends):
            problems.append((key, f"{address} is no host's address in {subnet.network}"))
    if subnet.range_from > subnet.range_to:
        problems.append(("range_to", f"{subnet.range_to} is before {subnet.range_from}"))
    if subnet.gateway and subnet.range_from <= subnet.gateway <= subnet.range_to:
        problems.append(("gateway", f"{subnet.gateway} lies in the range for hosts"))
    low, high = subnet.dynamic_from, subnet.dynamic_to
    if (low is None) != (high is None):
        key = "dynamic_from" if high is None else "dynamic_to"
        problems.append((key, "dynamic_from and dynamic_to belong together"))
    if low is not None and high is not None:
        if low > high:
            problems.append(("dynamic_to", f"{high} is before {low}"))
        elif low <= subnet.range_to and subnet.range_from <= high:
            what = (
                f"the dynamic range {low} to {high} overlaps the range for hosts "
                f"{subnet.range_from} to {subnet.range_to}"
            )
            problems.append(("dynamic_from", what))
    return problems
