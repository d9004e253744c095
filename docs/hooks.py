"""What mkdocs calls while it builds: it gets the reference, and loses pictures not yet taken."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

HERE = Path(__file__).parent
# The reference is of the code beside it, whichever copy is installed.
sys.path.insert(0, str(HERE.parent))

from docs.generate.pages import PAGES, index  # noqa: E402

__all__ = ["on_config", "on_files", "on_page_markdown"]

_INDEX = "reference/index.md"
_PICTURE = re.compile(r"^!\[[^\]]*\]\([./]*(screenshots/[\w-]+\.png)\)\n?", flags=re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the reference into the navigation."""
    for entry in config.nav or []:
        if entry.get("Reference") == _INDEX:
            entry["Reference"] = [_INDEX, *(page.path for page in PAGES)]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the generated pages, which lie nowhere on the disk."""
    files.append(File.generated(config, _INDEX, content=index()))
    for page in PAGES:
        files.append(File.generated(config, page.path, content=page.text()))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leave out screenshots that no test has taken yet; any other lost picture is an error."""
    return _PICTURE.sub(lambda found: found[0] if (HERE / found[1]).is_file() else "", markdown)
