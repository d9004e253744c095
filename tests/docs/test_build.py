"""The documentation is built without a warning, and loads nothing from anywhere else."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADING = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
    "object": "data",
    "link": "href",
}
ELSEWHERE = re.compile(r"(?:[a-z]+:)?//", re.IGNORECASE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return directory


class Loaded(HTMLParser):
    """What a page has its reader's browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.diagrams = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        # The theme's programs fetch what draws these from elsewhere, once a page has one.
        self.diagrams += "mermaid" in (found.get("class") or "").split()
        if tag in LOADING and (address := found.get(LOADING[tag])):
            self.addresses.append(address)
        self.addresses += in_style(found.get("style") or "")


def in_style(text: str) -> list[str]:
    found = re.findall(r"url\(\s*['\"]?([^'\")]+)", text)
    return found + re.findall(r"@import\s+['\"]([^'\"]+)", text)


def loaded_by(page: str) -> Loaded:
    parser = Loaded()
    parser.feed(page)
    for style in re.findall(r"<style[^>]*>(.*?)</style>", page, flags=re.DOTALL):
        parser.addresses += in_style(style)
    return parser


def test_what_a_page_loads_is_found() -> None:
    page = (
        '<script src="//a/x.js"></script><link href="https://b/x.css"><img src="c.png">'
        "<style>@import 'https://d/x.css'; p { background: url(https://e/x.png) }</style>"
        '<p style="background: url(\'http://f/x.png\')"><pre class="mermaid">'
    )
    found = loaded_by(page)
    assert found.diagrams == 1
    elsewhere = {one for one in found.addresses if ELSEWHERE.match(one)}
    assert {one.split("/")[2] for one in elsewhere} == {"a", "b", "d", "e", "f"}


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    wrong = []
    for page in pages:
        found = loaded_by(page.read_text(encoding="utf-8"))
        wrong += [(page.name, one) for one in found.addresses if ELSEWHERE.match(one)]
        wrong += [(page.name, "a Mermaid diagram")] * found.diagrams
    for sheet in site.rglob("*.css"):
        found_there = in_style(sheet.read_text(encoding="utf-8"))
        wrong += [(sheet.name, one) for one in found_there if ELSEWHERE.match(one)]
    assert wrong == []


def test_programs_and_notes_for_authors_are_not_served(site: Path) -> None:
    assert not [*site.rglob("*.py"), *site.rglob("__pycache__")]
    assert not (site / "screenshots" / "index.html").exists()


def test_generated_pages_are_served(site: Path) -> None:
    page = (site / "reference" / "cli" / "index.html").read_text(encoding="utf-8")
    assert "rackrise hosts retry" in page


def test_a_page_shows_only_screenshots_that_are_there(site: Path) -> None:
    there = {one.name for one in (ROOT / "docs" / "screenshots").glob("*.png")}
    shown: set[str] = set()
    for page in site.rglob("*.html"):
        shown |= set(re.findall(r'src="[./]*screenshots/([^"]+)"', page.read_text()))
    asked: set[str] = set()
    for source in (ROOT / "docs").rglob("*.md"):
        asked |= set(re.findall(r"\]\([./]*screenshots/([\w-]+\.png)\)", source.read_text()))
    assert {"fleet.png", "host.png", "held.png"} <= asked
    assert shown == asked & there
