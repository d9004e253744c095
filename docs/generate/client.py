"""Generates a Python client of the operators' API from its own OpenAPI document.

``python -m docs.generate.client`` writes it to ``build/client``, or to the directory that is given.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from docs.generate.http import operators_document

__all__ = ["generate_client"]

_SECONDS = 120
_NAMES = {
    "project_name_override": "rackrise-client",
    "package_name_override": "rackrise_client",
    # They would format it, with whatever ruff there is.
    "post_hooks": [],
}


def generate_client(directory: Path) -> str:
    """Write a project that can be installed; what was there before is replaced.

    Args:
        directory: where; the package ``rackrise_client`` lies in it.

    Returns:
        What the generator said; it warns of what it leaves out.

    Raises:
        RuntimeError: the document cannot be made a client of; says why.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as working:
        document, config = Path(working) / "openapi.json", Path(working) / "config.json"
        document.write_text(json.dumps(operators_document()), encoding="utf-8")
        config.write_text(json.dumps(_NAMES), encoding="utf-8")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "openapi_python_client", "generate", "--overwrite"),
                *("--fail-on-warning", "--meta", "setup"),
                *("--path", document, "--config", config, "--output-path", directory),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"no client can be generated: {done.stdout}")
    return done.stdout


if __name__ == "__main__":
    where = Path(sys.argv[1] if len(sys.argv) > 1 else "build/client")
    generate_client(where)
    print(f"pip install {where}")
