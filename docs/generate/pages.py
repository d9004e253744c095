"""The one list of generated pages, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from docs.generate.commands import commands_page
from docs.generate.examples import examples_page
from docs.generate.flows import flows_page
from docs.generate.house import arrows_page, errors_page, states_page
from docs.generate.http import gateway_api_page, operators_page, proxy_api_page
from docs.generate.settings import gateway_page, proxy_page, site_page, worker_page

__all__ = ["PAGES", "Page", "index"]


@dataclass(frozen=True)
class Page:
    """A page that is written when the documentation is built."""

    path: str
    """Below ``docs/``."""
    about: str
    """What it holds, for the list of all."""
    text: Callable[[], str]
    """Its Markdown, beginning with a heading."""


PAGES = (
    Page("reference/cli.md", "every command with its arguments and options", commands_page),
    Page("reference/site-file.md", "every table and key of `site.toml`", site_page),
    Page("reference/proxy-settings.md", "every table and key of `proxy.toml`", proxy_page),
    Page("reference/gateway-settings.md", "the environment of a gateway", gateway_page),
    Page("reference/worker-settings.md", "the environment of a worker", worker_page),
    Page("reference/examples.md", "a site, a proxy, scripts for Puppet servers", examples_page),
    Page("reference/arrows.md", "what happens to a host, and how we know", arrows_page),
    Page("reference/states.md", "where a host may be, and how it gets there", states_page),
    Page("reference/flows.md", "what runs in Prefect, with which parameters", flows_page),
    Page("reference/errors.md", "what can go wrong, and what happens then", errors_page),
    Page("reference/api.md", "what programs of operators call", operators_page),
    Page("reference/gateway-api.md", "the paths that hosts and servers call", gateway_api_page),
    Page("reference/proxy-api.md", "the paths of the Smart Proxy service", proxy_api_page),
)


def index(pages: tuple[Page, ...] = PAGES) -> str:
    """The page that lists the others."""
    lines = [
        "# Reference\n",
        "Made from the code each time that these pages are built, so it says what this version "
        "does.\n",
    ]
    for page in pages:
        title = page.text().partition("\n")[0].removeprefix("# ")
        lines.append(f"- [{title}]({page.path.rpartition('/')[2]}): {page.about}")
    return "\n".join(lines) + "\n"
