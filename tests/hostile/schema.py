"""Requests that schemathesis reads out of an application's OpenAPI.

Ours say little: most handlers read query and body themselves, and FastAPI describes what it reads.
So what an endpoint is known to take is written into a copy of the document first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any
from urllib.parse import urlencode

import schemathesis
from hypothesis.errors import Unsatisfiable
from schemathesis.core import NOT_SET

from tests.hostile.garbage import QUERIES, drawn
from tests.hostile.making import Draft, Endpoint
from tests.hostile.target import Target

__all__ = ["from_openapi"]


def from_openapi(target: Target, count: int, seed: int) -> dict[Endpoint, list[Draft]]:
    """At most so many drafts for each endpoint, the same for the same seed."""
    schema = schemathesis.openapi.from_dict(_described(target))
    found: dict[Endpoint, list[Draft]] = {}
    by_path = {(one.method, one.path): one for one in target.endpoints}
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]
        endpoint = by_path.get((operation.method.upper(), operation.path))
        if endpoint is not None:
            try:
                cases = drawn(operation.as_strategy(), count, seed)
            except Unsatisfiable:
                continue
            found[endpoint] = [_draft(case) for case in cases]
    return found


def _described(target: Target) -> dict[str, Any]:
    document = deepcopy(target.openapi)
    for endpoint in target.endpoints:
        operation = document["paths"][endpoint.path][endpoint.method.lower()]
        known = target.knowledge(endpoint)
        names = [*known.query, *QUERIES[:6]]
        operation.setdefault("parameters", []).extend(
            {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}
            for name in dict.fromkeys(names)
            if not any(one["name"] == name for one in operation["parameters"])
        )
        if known.bodies or known.form:
            operation["requestBody"] = {"required": True, "content": _content(known)}
    return document


def _content(known: Any) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if known.form:
        fields = {name: {"type": "string", "minLength": 1} for name in known.form}
        schema = {"type": "object", "properties": fields, "required": sorted(fields)}
        content["application/x-www-form-urlencoded"] = {"schema": schema}
    for kind, body in known.bodies:
        if kind == "application/json":
            content[kind] = {"schema": _schema(json.loads(body))}
    return content or {"text/plain": {"schema": {"type": "string"}}}


def _schema(example: Any) -> dict[str, Any]:
    match example:
        case dict():
            inner = {name: _schema(value) for name, value in example.items()}
            return {"type": "object", "properties": inner, "required": sorted(inner)}
        case list():
            return {"type": "array", "items": _schema(example[0]) if example else {}}
        case str():
            return {"type": "string"}
        case bool():
            return {"type": "boolean"}
        case _:
            return {"type": "number"}


def _draft(case: Any) -> Draft:
    draft = Draft(params={name: str(value) for name, value in (case.path_parameters or {}).items()})
    for name, value in (case.query or {}).items():
        for one in value if isinstance(value, list) else [value]:
            draft.query.append((str(name), one if isinstance(one, str) else json.dumps(one)))
    draft.headers = [(str(name), str(value)) for name, value in (case.headers or {}).items()]
    if case.body is not NOT_SET:
        draft.kind = case.media_type
        draft.body = _body(case.media_type, case.body)
    return draft


def _body(kind: str | None, body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    if kind == "application/x-www-form-urlencoded" and isinstance(body, dict):
        pairs: Sequence[tuple[str, str]] = [(str(name), str(value)) for name, value in body.items()]
        return urlencode(pairs, errors="replace").encode()
    return (body if isinstance(body, str) else json.dumps(body)).encode(errors="surrogatepass")
