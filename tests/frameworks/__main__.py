"""Runs every row and every page with its real package: `uv run python -m tests.frameworks [ROW or PAGE …]`.

Each package is installed beside the project's environment, in its newest version, and hides what is there. The table
in docs/capture.md is written anew. The tests of the callbacks follow, each with the packages that it is for; clients
and the exporter that run with every test are named with the versions that are installed here.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.frameworks.harness import MODULES, declarations, page_with_table
from tests.frameworks.others import CALLBACKS as CALLBACK_ROWS
from tests.frameworks.others import ROWS, page_with_others
from tests.frameworks.pages import PACKAGES

VERSIONS = Path(__file__).with_name("versions.json")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "capture.md"
CALLBACKS = {
    "litellm_callback": ("litellm", "soundfile", "orjson"),  # its cache imports its proxy, which needs them
    "langchain_callback": ("langchain-openai", "langgraph"),
}
_SHOW = "import sys, importlib.metadata as m; print(' '.join(m.version(name) for name in sys.argv[1:]))"


def main() -> int:
    """Run the rows and pages named, else all of them; returns how many failed."""
    named = sys.argv[1:] or [*MODULES, *PACKAGES, *CALLBACKS]
    versions = json.loads(VERSIONS.read_text(encoding="utf-8")) if VERSIONS.exists() else {}
    failed = 0
    for name in (name for name in named if name not in CALLBACKS):
        package = PACKAGES.get(name) or declarations(name)["PACKAGE"]
        variable, file = ("PAGE", "pages.py") if name in PACKAGES else ("CELLS", "cells.py")
        uv = ["uv", "run", "--quiet", "--with", package, "python"]
        distribution = package.partition("[")[0]
        shown = subprocess.run([*uv, "-c", _SHOW, distribution], capture_output=True, text=True, check=True)
        version = f"{distribution} {shown.stdout.strip()}"
        print(f"{name}, {version}:", flush=True)
        tests = ["-m", "pytest", "-q", "-W", "ignore", "-p", "no:cacheprovider", f"tests/frameworks/{file}"]
        environment = {**os.environ, variable: name, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # else it asks GitHub
        if subprocess.run([*uv, *tests], env=environment, check=False).returncode:
            failed += 1
        elif name in MODULES:
            versions[name] = version
    for name in (name for name in named if name in CALLBACKS):
        print(f"{name}:", flush=True)
        packages = [part for package in CALLBACKS[name] for part in ("--with", package)]
        tests = ["-m", "pytest", "-q", "-W", "ignore", "-p", "no:cacheprovider", f"tests/frameworks/{name}.py"]
        environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        uv = ["uv", "run", "--quiet", *packages, "python"]
        if subprocess.run([*uv, *tests], env=environment, check=False).returncode:
            failed += 1
            continue
        package = ROWS[name].package
        shown = subprocess.run([*uv, "-c", _SHOW, package], capture_output=True, text=True, check=True)
        versions[name] = f"{package} {shown.stdout.strip()}"
    for name in ROWS.keys() - set(CALLBACK_ROWS):
        versions[name] = f"{ROWS[name].package} {importlib.metadata.version(ROWS[name].package)}"
    VERSIONS.write_text(json.dumps(versions, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    page = page_with_table(PAGE.read_text(encoding="utf-8"), versions)
    PAGE.write_text(page_with_others(page, versions), encoding="utf-8")
    return failed


if __name__ == "__main__":
    sys.exit(main())
