"""Judges requests and answers by Candlepin's own OpenAPI document, more strictly than it asks.

The document excuses any status by a ``default`` and any key by saying nothing of further ones. Here
both are violations. Where the document is known to be wrong, the amendment says why; there are no
others (contract: ``candlepin.md``, section 5).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import yaml
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.exceptions import OpenAPIError
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from werkzeug.datastructures import Headers, ImmutableMultiDict

DOCUMENT = Path(__file__).parents[3].parent / "shared" / "contracts" / "candlepin-openapi.yaml"
PREFIX = "/candlepin"
_OR_NULL = "-or-null"
Document = dict[str, Any]

MISSING = f"Candlepin's OpenAPI document is not there: {DOCUMENT.name}"

ANYWHERE = {
    401: "authentication comes before every operation, and is not described with them",
    403: "so does the question whether a consumer may",
    410: "a deleted consumer hears it whatever it asks",
    429: "too many requests",
    502: "said by what stands before Candlepin",
    503: "suspended, or not up yet",
}
"""Statuses that every operation may answer, and why the document does not say so."""


@dataclass(frozen=True)
class Amendment:
    """Where the document is known to be wrong, and how it is read instead."""

    reason: str
    apply: Callable[[Document], None]


def _gone_has_an_id(document: Document) -> None:
    message = document["components"]["schemas"]["ExceptionMessage"]
    message["properties"]["deletedId"] = {"type": "string"}


def _accessible_content_is_json(document: Document) -> None:
    where = document["paths"]["/consumers/{consumer_uuid}/accessible_content"]
    where["get"]["responses"]["200"]["content"] = {
        "application/json": {"schema": {"type": "object"}}
    }


def _what_is_not_there_is_404(document: Document) -> None:
    message = {"$ref": "#/components/schemas/ExceptionMessage"}
    for method, path in (
        ("delete", "/consumers/{consumer_uuid}"),
        ("delete", "/activation_keys/{activation_key_id}"),
        ("get", "/owners/{owner_key}/content/{content_id}"),
        ("post", "/owners/{owner_key}/content"),
    ):
        answers = document["paths"][path][method]["responses"]
        answers["404"] = {"description": "", "content": {"application/json": {"schema": message}}}


def _what_is_taken_is_400(document: Document) -> None:
    message = {"$ref": "#/components/schemas/ExceptionMessage"}
    answers = document["paths"]["/owners/{owner_key}/environments"]["post"]["responses"]
    answers["400"] = {"description": "", "content": {"application/json": {"schema": message}}}


def _anywhere(document: Document) -> None:
    message = {"$ref": "#/components/schemas/ExceptionMessage"}
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, reason in ANYWHERE.items():
                answer = {
                    "description": reason,
                    "content": {"application/json": {"schema": message}},
                }
                operation["responses"].setdefault(str(status), answer)


AMENDMENTS = (
    Amendment("410 carries deletedId, by which clients know that it is meant", _gone_has_an_id),
    Amendment("declared text/plain, answered application/json", _accessible_content_is_json),
    Amendment("404 is not listed where a key or an id names nothing", _what_is_not_there_is_404),
    Amendment("no status is listed for an environment's id that is taken", _what_is_taken_is_400),
    Amendment("; ".join(ANYWHERE.values()), _anywhere),
)


def _normal(document: Document) -> Document:
    """The six normalisations without which no validator reads the document."""
    document = json.loads(json.dumps(document))  # integer statuses become text
    for operations in document["paths"].values():
        for operation in operations.values():
            operation.pop("security", None)
            for parameter in operation.get("parameters", []):
                schema = parameter.get("schema", {})
                if schema.get("type") == "string" and isinstance(schema.get("default"), bool):
                    del schema["default"]
    document.pop("security", None)
    for schema in document["components"]["schemas"].values():
        _nullable(schema)
    return document


def _nullable(schema: Document) -> None:
    for part in schema.get("allOf", [schema]):
        for one in part.get("properties", {}).values():
            if "$ref" in one:
                # A reference takes no keys beside it: it points to a twin that may be null.
                one["$ref"] += _OR_NULL
            else:
                one["nullable"] = True


def _strict(document: Document) -> Document:
    schemas = document["components"]["schemas"]
    flat = {name: _flattened(schema, schemas) for name, schema in schemas.items()}
    for schema in flat.values():
        if schema.get("type", "object") == "object" and "properties" in schema:
            schema["additionalProperties"] = False
    twins = {name + _OR_NULL: {**schema, "nullable": True} for name, schema in flat.items()}
    document["components"]["schemas"] = {**flat, **twins}
    for operations in document["paths"].values():
        for operation in operations.values():
            if len(operation["responses"]) > 1:
                operation["responses"].pop("default", None)
    return document


def _flattened(schema: Document, schemas: Document) -> Document:
    if "allOf" not in schema:
        return deepcopy(schema)
    properties: Document = {}
    for part in schema["allOf"]:
        named = schemas[part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part
        properties |= deepcopy(named.get("properties", {}))
    return {"type": "object", "properties": properties}


def _is_moment(text: object) -> bool:
    try:
        return isinstance(text, str) and bool(datetime.fromisoformat(text))
    except ValueError:
        return False


@cache
def document() -> OpenAPI:
    """The document, read once: that takes most of a second."""
    strict = _strict(_normal(yaml.safe_load(DOCUMENT.read_text())))
    for amendment in AMENDMENTS:
        amendment.apply(strict)
    config = Config(
        extra_format_validators={"date-time": _is_moment, "key:value": lambda text: ":" in text}
    )
    return OpenAPI.from_dict(strict, config=config)


@dataclass
class _Asked:
    """As openapi-core wants a request."""

    host_url: str
    path: str
    method: str
    parameters: RequestParameters
    content_type: str
    body: bytes | None


@dataclass
class _Answered:
    status_code: int
    headers: Headers
    content_type: str
    data: bytes | None


@dataclass
class Judge:
    """Collects what is not as the document says."""

    violations: list[str] = field(default_factory=list)
    judged: int = 0

    def judge(self, scope: Scope, body: bytes, status: int, headers: Headers, said: bytes) -> None:
        """Weigh one exchange."""
        asked = _asked(scope, body)
        answered = _Answered(status, headers, headers.get("content-type", ""), said or None)
        self.judged += 1
        place = f"{asked.method.upper()} {asked.path}"
        try:
            document().validate_request(asked)
        except OpenAPIError as error:
            self.violations.append(f"asked {place}: {_words(error)}")
        try:
            document().validate_response(asked, answered)
        except OpenAPIError as error:
            self.violations.append(f"answered {place} with {status}: {_words(error)}")


def _words(error: BaseException) -> str:
    cause, said = error.__cause__, [str(error)]
    while cause is not None:
        said.append(str(cause))
        errors = getattr(cause, "schema_errors", ())
        said += [f"{list(one.absolute_path)}: {one.message}"[:300] for one in errors]
        cause = cause.__cause__
    return " | ".join(said)


def _asked(scope: Scope, body: bytes) -> _Asked:
    headers = Headers([(name.decode(), value.decode()) for name, value in scope["headers"]])
    query = parse_qsl(scope["query_string"].decode(), keep_blank_values=True)
    path = scope["path"]
    return _Asked(
        "http://candlepin",
        # A slash at the end is tolerated, and is sent by every client at /status/.
        path.rstrip("/") if path != f"{PREFIX}/" else path,
        scope["method"].lower(),
        RequestParameters(query=ImmutableMultiDict(query), header=headers),
        headers.get("content-type", ""),
        body or None,
    )


class Judged:
    """An ASGI app of which a judge sees every exchange."""

    def __init__(self, app: ASGIApp, judge: Judge) -> None:
        self._app = app
        self._judge = judge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, more = bytearray(), True
        while more:
            # To its end, also where the application answers without having read it.
            message = await receive()
            body.extend(message.get("body", b""))
            more = message.get("more_body", False)
        status, said, headers = 0, bytearray(), Headers()

        async def heard() -> Message:
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        async def told(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = Headers([(n.decode(), v.decode()) for n, v in message["headers"]])
            said.extend(message.get("body", b""))
            await send(message)

        await self._app(scope, heard, told)
        # Without its header it is not Candlepin that answered.
        if "x-version" in headers:
            self._judge.judge(scope, bytes(body), status, headers, bytes(said))
