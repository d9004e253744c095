"""The pages of settings: gateway, worker and proxy, and the tables of a site file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from pydantic import BaseModel

import inventory.models
from deployments.settings import InventorySettings, ProxyClientSettings, WorkerSettings
from docs.generate.fields import (
    Documented,
    attribute_docs,
    documented,
    fields_table,
    nested_model,
)
from docs.generate.markdown import prose
from gateway.settings import GatewaySettings
from integrations.power.settings import IpmiSettings, RedfishSettings, SshSettings
from inventory.site_tables import SiteFile
from proxy.settings import ProxySettings
from templates.models import KickstartParameters

__all__ = ["environment_names", "gateway_page", "keys_of", "proxy_page", "site_page", "worker_page"]

_IN_BLOCK = frozenset({"kind", "user", "password", "private_key"})
"""Of a BMC's settings: said in ``[[bmc]]`` itself, or kept in the block of credentials."""
_NO_EMPTY = "An empty default means: not given.\n"


def environment_names() -> set[str]:
    """The names of all settings that the programs take from their environment."""
    return {
        f"{model.model_config.get('env_prefix', '')}{name}".upper()
        for model in (GatewaySettings, WorkerSettings, InventorySettings, ProxyClientSettings)
        for name in model.model_fields
    }


def gateway_page() -> str:
    """What a gateway takes from its environment."""
    return _environment_page("Settings of the gateway", "`rackrise gateway`", GatewaySettings)


def worker_page() -> str:
    """What a worker takes from its environment."""
    return _environment_page("Settings of the worker", "`rackrise worker`", WorkerSettings) + (
        "\nThe command line needs `RACKRISE_DATABASE_URL`, and `PREFECT_API_URL` where it starts "
        "runs or keeps credentials; `rackrise site apply` needs the settings of Smart Proxies as "
        "well. Prefect's own settings are [Prefect's](https://docs.prefect.io).\n"
    )


def _environment_page(title: str, command: str, model: type[BaseModel]) -> str:
    prefix = str(model.model_config.get("env_prefix", ""))
    return (
        f"# {title}\n\n{prose(model.__doc__)}\n\n"
        f"Read from the environment when {command} starts. {_NO_EMPTY}\n"
        + fields_table(documented(model), prefix, "variable")
    )


def proxy_page() -> str:
    """The proxy's file, table by table."""
    parts = [
        "# Settings of the proxy\n",
        "`rackrise proxy FILE` and `rackrise up --proxy FILE` read a TOML file; "
        "[the example](examples.md) is one. What the file leaves open is taken from the "
        "environment, `RACKRISE_PROXY_…`, nested names with two underscores: "
        f"`RACKRISE_PROXY_TFTP__ROOT`. {_NO_EMPTY}",
        *_tables(ProxySettings, ""),
    ]
    return "\n".join(parts)


def _tables(model: type[BaseModel], path: str) -> Iterator[str]:
    """A heading and a table for a model, then for each model in it."""
    nested = {
        name: inner
        for name, field in model.model_fields.items()
        if (inner := nested_model(field.annotation))
    }
    if path:
        yield f"## `{path}`\n\n{prose(model.__doc__)}\n"
    plain = [one for one in documented(model) if one.name not in nested]
    yield fields_table(plain)
    for name, inner in nested.items():
        below = f"{path.strip('[]')}.{name}".lstrip(".")
        many = documented(model)[list(model.model_fields).index(name)].kind.startswith("list")
        yield from _tables(inner, f"[[{below}]]" if many else f"[{below}]")


def site_page() -> str:
    """The site file, table by table."""
    parts = [
        "# The site file\n",
        "What `rackrise site apply` reads: [the example](examples.md) is one. Tables name each "
        "other; a table in double brackets may come as often as there are such things. "
        f"{_NO_EMPTY}",
    ]
    for name, field in SiteFile.model_fields.items():
        model = cast(type[BaseModel], nested_model(field.annotation))
        heading = f"[{name}]" if name == "site" else f"[[{name}]]"
        # A class begins with the table's name: here that is the heading.
        more = prose(model.__doc__).split("`", 2)[-1].strip(" .:;")
        keys = keys_of(name, model)
        parts.append(f"## `{heading}`\n")
        if more:
            parts.append(f"{more[0].upper()}{more[1:]}.\n")
        parts.append(fields_table(keys))
        if name == "host_group":
            said = prose(KickstartParameters.__doc__)
            table = fields_table(documented(KickstartParameters))
            parts.append(f"### `[host_group.parameters]`\n\n{said}\n\n{table}")
        if name == "bmc":
            parts.append(_bmc_settings())
    return "\n".join(parts)


def keys_of(table: str, model: type[BaseModel]) -> list[Documented]:
    """The keys of a site file's table; what its class does not say, the inventory's does."""
    kept = getattr(inventory.models, model.__name__.removesuffix("Table"), None)
    if model.__name__ == "HostTable":
        kept = inventory.models.HostOverride
    said = attribute_docs(kept) if kept is not None else {}
    keys = [_with_words(one, said) for one in documented(model)]
    if table == "host_group":
        words = "Group from which this one takes what it does not say."
        keys.insert(1, Documented("parent", "text", "", words))
    return keys


def _with_words(key: Documented, said: dict[str, str]) -> Documented:
    if key.words:
        return key
    words = said.get(key.name) or said.get(f"{key.name}_id") or ""
    named = key.name.removeprefix("dhcp_").removeprefix("tftp_")
    if not words and key.name == "name":
        words = "How other tables and people call it."
    if named in SiteFile.model_fields:
        words = f"Name of a `[[{named}]]`. {words}"
    return replace(key, words=words)


def _bmc_settings() -> str:
    parts = ["### `[bmc.settings]`\n\nWhat each `kind` of BMC takes.\n"]
    for kind, model in (("redfish", RedfishSettings), ("ipmi", IpmiSettings), ("ssh", SshSettings)):
        fields = [one for one in documented(model) if one.name not in _IN_BLOCK]
        parts.append(f"#### {kind}\n\n{prose(model.__doc__)}\n\n{fields_table(fields)}")
    return "\n".join(parts)
