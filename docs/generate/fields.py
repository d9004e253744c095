"""Reads a settings class as its author wrote it: types, defaults, the sentence below a field."""

from __future__ import annotations

import ast
import inspect
import re
import socket
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from docs.generate.markdown import cell, code, table

__all__ = ["Documented", "attribute_docs", "documented", "fields_table", "nested_model"]

_KINDS: Mapping[object, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    SecretStr: "secret",
    IPv4Address: "IPv4 address",
    IPv6Address: "IPv6 address",
    IPv4Network: "IPv4 network",
    IPv6Network: "IPv6 network",
    Any: "anything",
}


@dataclass(frozen=True)
class Documented:
    """One field of a model."""

    name: str
    kind: str
    """Its type in words."""
    default: str
    """As Markdown; ``required`` where there is none."""
    words: str
    """What its author says of it."""


def documented(model: type[BaseModel]) -> list[Documented]:
    """All fields of a model in their order, those of its bases first."""
    words = attribute_docs(model)
    return [
        Documented(name, _kind(field.annotation), _default(field), words.get(name, ""))
        for name, field in model.model_fields.items()
    ]


def attribute_docs(cls: type) -> dict[str, str]:
    """The string below each attribute, or its line in the docstring's ``Attributes:``."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.partition(".")[0] not in {"builtins", "enum", "pydantic", "sqlmodel"}:
            found |= _own_docs(base)
    return found


def _own_docs(cls: type) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError):  # built in, or made at run time
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = _in_docstring(cls.__dict__.get("__doc__") or "")
    for node, below in pairwise(body):
        name = _assigned(node)
        if name and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[name] = inspect.cleandoc(str(below.value.value))
    return found


def _assigned(node: ast.stmt) -> str | None:
    target: ast.expr | None = node.target if isinstance(node, ast.AnnAssign) else None
    if isinstance(node, ast.Assign):
        target = node.targets[0]
    return target.id if isinstance(target, ast.Name) else None


def _in_docstring(docstring: str) -> dict[str, str]:
    _, _, listed = inspect.cleandoc(docstring).partition("\nAttributes:\n")
    entries = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", listed, flags=re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in entries}


def nested_model(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, alone, in a list or not at all."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((one for arg in get_args(annotation) if (one := nested_model(arg))), None)


def _kind(annotation: Any) -> str:
    if annotation in _KINDS:
        return _KINDS[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_kind(one) for one in arguments if one is not type(None)))
    if origin is Literal:
        return " or ".join(code(str(one)) for one in arguments)
    if origin in (tuple, list):
        return f"list: {_kind(arguments[0])}"
    if origin is dict:
        return f"table: {_kind(arguments[1])} by {_kind(arguments[0])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(code(str(one.value)) for one in annotation)
    if nested_model(annotation):
        return "table"
    raise TypeError(f"no words for the type {annotation!r}: docs/generate/fields.py needs some")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is socket.gethostname:
        return "the machine's name"
    if field.default_factory is not None:
        return ""
    value = field.default
    if value is None or value == () or isinstance(value, BaseModel):
        return ""
    if isinstance(value, SecretStr):
        return ""
    if isinstance(value, bool):
        return code(str(value).lower())
    return code(str(value.value) if isinstance(value, Enum) else str(value))


def fields_table(fields: list[Documented], prefix: str = "", head: str = "key") -> str:
    """A table of fields, each under its name as it is written outside."""
    rows = (
        (
            code(f"{prefix}{one.name}".upper() if prefix else one.name),
            one.kind.replace("|", "\\|"),
            one.default,
            re.sub(r"\bNone\b", "not given", cell(one.words)),
        )
        for one in fields
    )
    return table((head, "what", "default", ""), rows)
