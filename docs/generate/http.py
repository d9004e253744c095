"""The pages of HTTP interfaces, from the OpenAPI document of each application."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from docs.generate.markdown import cell, code, prose, table
from gateway.app import create_app as create_gateway
from gateway.operators.app import api_document
from gateway.operators.document import REFUSALS
from gateway.settings import GatewaySettings
from integrations.dhcp.kea import KeaSettings
from integrations.dns import DnsSettings
from inventory.database import make_engine, make_sessions
from proxy.app import create_app as create_proxy
from proxy.settings import DhcpSettings, ProxySettings, TftpSettings

__all__ = [
    "document_of",
    "gateway_api_page",
    "openapi_page",
    "operators_document",
    "operators_page",
    "proxy_api_page",
]

_METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
_USUAL = frozenset({"Successful Response", "Validation Error"})
"""What FastAPI says of an answer of which its author has said nothing."""
_NOWHERE = "postgresql://nobody@nowhere/nothing"
"""Applications are only asked for their paths."""


def document_of(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an application, also where it serves none."""
    with warnings.catch_warnings():
        # Two paths of one function: its id matters to generated clients only.
        warnings.filterwarnings("ignore", message="Duplicate Operation ID")
        return app.openapi()


def gateway_api_page() -> str:
    """What hosts, proxies and Puppet servers call."""
    app = create_gateway(_settings(), make_sessions(make_engine(_NOWHERE)))
    return openapi_page(document_of(app))


def operators_page() -> str:
    """What programs of operators call."""
    document = operators_document()
    info = {"title": "The operators' API", "description": document["info"]["description"]}
    return openapi_page({**document, "info": info}, everywhere=[str(one) for one in REFUSALS])


def operators_document() -> dict[str, Any]:
    """The OpenAPI document of the operators' API."""
    return dict(api_document(_settings(), make_sessions(make_engine(_NOWHERE))))


def _settings() -> GatewaySettings:
    return GatewaySettings.model_validate({"database_url": _NOWHERE})


def proxy_api_page() -> str:
    """What Rackrise or a Foreman calls, and what hosts do."""
    settings = ProxySettings(
        foreman_url="http://gateway.example.org:8080",
        tftp=TftpSettings(root=Path("/srv/tftp")),
        dhcp=DhcpSettings(kind="kea", kea=KeaSettings(agent_url="http://127.0.0.1:8000/")),
        dns=(
            DnsSettings.model_validate(
                {"address": "192.0.2.2", "key_name": "k", "secret": "", "zones": ["example.org"]}
            ),
        ),
    )
    return openapi_page(document_of(create_proxy(settings)))


def openapi_page(document: dict[str, Any], everywhere: Collection[str] = ()) -> str:
    """A page for an OpenAPI document: all operations in a table, then what there is to say of each.

    Another interface gets its page by one line in ``docs.generate.pages``.

    Args:
        document: is shown whole.
        everywhere: statuses that any operation answers alike: they are told once.
    """
    info = document["info"]
    operations = list(_operations(document))
    rows = (
        (code(method.upper()), code(path), cell(_title(operation)))
        for path, method, operation in operations
    )
    parts = [f"# {info['title']}\n"]
    if told := prose(info.get("description")):
        parts.append(f"{told}\n")
    parts.append(table(("method", "path", "what"), rows))
    if everywhere:
        parts.append("## Answers of every path\n")
        parts.append(_answers(document, operations[0][2], lambda status: status in everywhere))
    parts += [
        f"## {method.upper()} {_plain(path)}\n\n{said}"
        for path, method, operation in operations
        if (said := _details(document, operation, everywhere))
    ]
    parts += _schemas(document)
    return "\n".join(parts)


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                shared = item.get("parameters", [])
                operation = item[method]
                yield (
                    path,
                    method,
                    {
                        **operation,
                        "parameters": [*shared, *operation.get("parameters", [])],
                    },
                )


def _title(operation: dict[str, Any]) -> str:
    return str(operation.get("summary") or operation.get("operationId") or "")


def _plain(path: str) -> str:
    # In a heading braces would be read as attributes.
    return path.replace("{", "\\{").replace("}", "\\}")


def _details(
    document: dict[str, Any], operation: dict[str, Any], everywhere: Collection[str]
) -> str:
    parts = []
    if told := prose(operation.get("description")):
        parts.append(f"{told}\n")
    asked = [_resolved(document, one) for one in operation["parameters"]]
    # What is in the path has been read there.
    if asked and any(one["in"] != "path" or "description" in one for one in asked):
        rows = [
            (
                code(one["name"]),
                one["in"],
                _schema_words(one.get("schema", {})),
                "required" if one.get("required") else _default(one.get("schema", {})),
                cell(one.get("description") or one.get("schema", {}).get("description", "")),
            )
            for one in asked
        ]
        parts.append(table(("parameter", "in", "what", "default", ""), rows))
    body = _resolved(document, operation.get("requestBody", {}))
    if content := body.get("content"):
        kinds = (
            f"{code(kind)}: {_schema_words(one.get('schema', {}))}" for kind, one in content.items()
        )
        parts.append(f"Body: {'; '.join(kinds)}\n")
    if answers := _answers(document, operation, lambda status: status not in everywhere):
        parts.append(answers)
    return "\n".join(parts)


def _answers(
    document: dict[str, Any], operation: dict[str, Any], shown: Callable[[str], bool]
) -> str:
    answers = [
        (code(status), cell(one.get("description", "")), _answer(one))
        for status, given in operation.get("responses", {}).items()
        if shown(status) and not _is_usual(one := _resolved(document, given))
    ]
    return table(("answer", "", "body"), answers) if answers else ""


def _is_usual(answer: dict[str, Any]) -> bool:
    if answer.get("description") not in _USUAL:
        return False
    words = _answer(answer)
    return words in ("", "anything") or "HTTPValidationError" in words


def _answer(answer: dict[str, Any]) -> str:
    content = answer.get("content", {}).values()
    return "; ".join(dict.fromkeys(_schema_words(one.get("schema", {})) for one in content))


def _schemas(document: dict[str, Any]) -> Iterator[str]:
    schemas = document.get("components", {}).get("schemas", {})
    shown = {
        name: one
        for name, one in schemas.items()
        if name not in ("HTTPValidationError", "ValidationError")
    }
    if shown:
        yield "## Schemas\n"
    for name, schema in shown.items():
        yield f"### {name}\n"
        if told := prose(schema.get("description")):
            yield f"{told}\n"
        if "enum" in schema:
            yield f"{_schema_words(schema)}\n"
        required = schema.get("required", [])
        rows = [
            (
                code(key),
                _schema_words(one),
                "required" if key in required else _default(one),
                cell(one.get("description", "")),
            )
            for key, one in schema.get("properties", {}).items()
        ]
        if rows:
            yield table(("key", "what", "default", ""), rows)


def _resolved(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in value:
        return value
    found: Any = document
    for step in value["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return dict(found)


def _schema_words(schema: dict[str, Any]) -> str:
    """A schema in a word or two, a named one as a link to its own table."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            several = (_schema_words(one) for one in schema[key] if one.get("type") != "null")
            return " or ".join(dict.fromkeys(several))
    if "enum" in schema:
        return " or ".join(code(str(one)) for one in schema["enum"])
    if "const" in schema:
        return code(str(schema["const"]))
    kind = schema.get("type")
    if kind == "array":
        return f"list: {_schema_words(schema.get('items', {}))}"
    if kind is None:
        return "anything"
    kinds = kind if isinstance(kind, list) else [kind]
    words = " or ".join(str(one) for one in kinds if one != "null")
    return f"{words} ({schema['format']})" if "format" in schema else words


def _default(schema: dict[str, Any]) -> str:
    if schema.get("default") is None:
        return ""
    return code(json.dumps(schema["default"]))
