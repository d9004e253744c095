"""Browsers run nothing in a page but our own file, and no page counts on more."""

from __future__ import annotations

from html.parser import HTMLParser

import httpx
import pytest

from inventory.models import Role
from tests.gateway.operators.conftest import PASSWORD, Office
from tests.gateway.operators.office_at_work import PAGES, some_rules_and_a_webhook

MISSING = {"/nowhere", "/hosts/web7.example.org?generation=9"}


class Inline(HTMLParser):
    """Finds what a policy without ``unsafe-inline`` would not let through."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "style" or (tag == "script" and not given.get("src")):
            self.found.append(tag)
        for name, value in attrs:
            told = (value or "").strip().lower()
            if name == "style" or name.startswith("on") or told.startswith("javascript:"):
                self.found.append(f"{tag} {name}={value}")


def policy_of(answer: httpx.Response) -> dict[str, list[str]]:
    told = answer.headers["content-security-policy"]
    return {name: rest for name, *rest in (one.split() for one in told.split(";"))}


@pytest.mark.parametrize(
    "planted",
    [
        *("<style>a {}</style>", "<script>a()</script>", '<p style="color: red">'),
        *('<svg><a onclick="a()">', '<a href=" JavaScript:a()">', "<script src>a()</script>"),
    ],
)
def test_what_is_inline_is_found(planted: str) -> None:
    assert len(Inline(f"<main><script src='/x.js'></script>{planted}</main>").found) == 1


async def test_no_page_has_scripts_or_styles_of_its_own(office: Office) -> None:
    await some_rules_and_a_webhook(office)
    await office.person("ada", Role.ADMIN)
    browser = office.browser()
    pages = {"/sign-in": await browser.get("/sign-in")}
    signed_in = await browser.post("/sign-in", data={"name": "ada", "password": PASSWORD})
    assert signed_in.status_code == 303
    pages |= {path: await browser.get(path) for path in PAGES}
    for path, answer in pages.items():
        assert answer.status_code == (404 if path in MISSING else 200), path
        policy = policy_of(answer)
        assert policy["default-src"] == ["'none'"], path
        assert (policy["script-src"], policy["style-src"]) == (["'self'"], ["'self'"]), path
        assert "unsafe" not in answer.headers["content-security-policy"], path
        assert "</main>" in answer.text, path
        assert Inline(answer.text).found == [], path
