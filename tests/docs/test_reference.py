"""The reference leaves nothing out, and says of each thing what its author has said."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI, Query
from pydantic import BaseModel, Field

from deployments.catalogue import CATALOGUE
from docs.generate.commands import commands, commands_page
from docs.generate.fields import attribute_docs, documented, fields_table, nested_model
from docs.generate.flows import flows_page
from docs.generate.house import arrows_page, errors_page, states_page
from docs.generate.http import (
    document_of,
    gateway_api_page,
    openapi_page,
    operators_document,
    operators_page,
    proxy_api_page,
)
from docs.generate.pages import PAGES, index
from docs.generate.settings import (
    environment_names,
    gateway_page,
    keys_of,
    proxy_page,
    site_page,
    worker_page,
)
from integrations import errors as outside
from inventory import errors as inside
from inventory.arrows import ARROWS
from inventory.life import TRANSITIONS, HostState
from inventory.site_tables import SiteFile


class Base(BaseModel):
    """Of a base."""

    url: str
    """Where ``it`` is | was."""


class Example(Base):
    """An example.

    Attributes:
        seconds: how long it may take,
            at most.
    """

    seconds: float = 3
    secret: str | None = None
    """None: there is none."""


def test_fields_have_their_authors_words_type_and_default() -> None:
    assert [(one.name, one.kind, one.default, one.words) for one in documented(Example)] == [
        ("url", "text", "required", "Where ``it`` is | was."),
        ("seconds", "number", "`3`", "how long it may take, at most."),
        ("secret", "text", "", "None: there is none."),
    ]
    table = fields_table(documented(Example), "APP_", "variable")
    assert "| `APP_URL` | text | required | Where `it` is \\| was. |" in table
    assert "not given: there is none." in table
    assert attribute_docs(HostState)["HELD"].startswith("A person is needed")


def test_a_type_without_words_is_an_error() -> None:
    class Odd(BaseModel):
        thing: complex

    with pytest.raises(TypeError, match="no words for the type"):
        documented(Odd)


def test_every_variable_is_on_a_page() -> None:
    text = gateway_page() + worker_page()
    assert [name for name in environment_names() if f"`{name}`" not in text] == []


def test_every_key_of_the_site_file_has_words() -> None:
    text = site_page()
    for name, field in SiteFile.model_fields.items():
        model = nested_model(field.annotation)
        assert model is not None
        assert f"[{name}]" in text
        assert [f"{name}.{one.name}" for one in keys_of(name, model) if not one.words] == []


def test_every_table_of_the_proxy_is_a_section() -> None:
    text = proxy_page()
    for heading in ("[dhcp]", "[dhcp.isc]", "[dhcp.kea]", "[[dns]]", "[tftp]", "[listen]"):
        assert f"## `{heading}`" in text


def test_every_command_is_there_with_its_options() -> None:
    text = commands_page()
    names = [typed for typed, _ in commands()]
    assert "rackrise hosts retry" in names
    assert "rackrise up" in names
    assert [one for one in names if f"## {one}\n" not in text] == []
    assert "| `--held-at` |  | All hosts that are held at this step. |" in text
    assert "rackrise hosts provision [OPTIONS] NAME" in text


def test_tables_of_the_code_are_there_line_by_line() -> None:
    arrows = arrows_page()
    assert all(
        f"| {one.number} | {one.source} | {one.target} | {one.text} |" in arrows for one in ARROWS
    )
    states = states_page()
    assert all(
        f"| `{one.source}` | `{one.event}` | `{one.target}` |" in states for one in TRANSITIONS
    )
    errors = errors_page()
    for name in {*outside.__all__, *inside.__all__} - {"OutsideError", "InventoryError"}:
        assert f"| `{name}` |" in errors
    words = "The system said yes, and reading back shows something else."
    assert f"| `Unverified` | {words} | tried again, then held |" in errors
    assert "| `Conflict` |" in errors
    flows = flows_page()
    assert all(f"## {one.flow.name}\n" in flows for one in CATALOGUE)
    assert "Leave empty; Rackrise's dispatcher sets it." in flows


def test_the_paths_of_both_programs_are_there() -> None:
    assert "| `POST` | `/unattended/built` |" in gateway_api_page()
    assert "| `POST` | `/dhcp/{net}` |" in proxy_api_page()


def test_the_operators_api_is_there_with_bodies_rights_and_refusals() -> None:
    page = operators_page()
    assert page.startswith("# The operators' API\n\nSay who you are with")
    for path, item in operators_document()["paths"].items():
        for method, operation in item.items():
            assert f"| `{method.upper()}` | `{path}` |" in page
            heading = f"## {method.upper()} {path}\n".replace("{", "\\{").replace("}", "\\}")
            said = page.partition(heading)[2].partition("\n## ")[0]
            assert f"Takes the role {operation['x-role']}" in said
            assert "`409`" not in said
    provision = page.partition("/provision\n")[2].partition("\n## ")[0]
    assert "| `Idempotency-Key` | header |" in provision
    assert "Body: `application/json`: [Provision](#provision)" in provision
    assert "| `409` | It does not go with what is there now. | [Refused](#refused) |" in page
    assert "| `host_group` | string | required | Name of the host group. |" in page


class Order(BaseModel):
    """What is asked for."""

    hosts: list[str] = Field(description="Full names.")


def described() -> dict[str, Any]:
    app = FastAPI(title="An API", description="For `people`.")

    @app.post("/orders/{kind}", status_code=202, responses={409: {"description": "In the way."}})
    async def order(
        kind: str, body: Order, dry: bool = Query(False, description="Only look.")
    ) -> Order:
        """Asks for something.

        Raises:
            Nothing.
        """
        return body

    @app.get("/health")
    async def health() -> None: ...

    return document_of(app)


def test_a_page_of_any_openapi_document() -> None:
    page = openapi_page(described())
    assert page.startswith("# An API\n\nFor `people`.\n")
    assert "| `POST` | `/orders/{kind}` | Order |" in page
    assert "## POST /orders/\\{kind\\}\n\nAsks for something.\n" in page
    assert "Raises" not in page
    assert "| `dry` | query | boolean | `false` | Only look. |" in page
    assert "Body: `application/json`: [Order](#order)" in page
    assert "| `409` | In the way. |" in page
    assert "### Order\n\nWhat is asked for.\n" in page
    assert "| `hosts` | list: string | required | Full names. |" in page
    assert "HTTPValidationError" not in page
    assert "## GET /health" not in page


def test_the_index_names_every_page_once() -> None:
    text = index()
    assert all(text.count(f"({page.path.rpartition('/')[2]})") == 1 for page in PAGES)
    assert all(page.text().startswith("# ") for page in PAGES)
