"""Runs every row and every page with its real package: `uv run python -m tests.frameworks [ROW or PAGE …]`.

Each package is installed beside the project's environment, in its newest version, and hides what is there. The table
in docs/capture.md is written anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.frameworks.harness import MODULES, declarations, page_with_table
from tests.frameworks.pages import PACKAGES

VERSIONS = Path(__file__).with_name("versions.json")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "capture.md"
_SHOW = "import sys, importlib.metadata as m; print(' '.join(m.version(name) for name in sys.argv[1:]))"


def main() -> int:
    """Run the rows and pages named, else all of them; returns how many failed."""
    named = sys.argv[1:] or [*MODULES, *PACKAGES]
    versions = json.loads(VERSIONS.read_text(encoding="utf-8")) if VERSIONS.exists() else {}
    failed = 0
    for name in named:
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
    VERSIONS.write_text(json.dumps(versions, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(page_with_table(PAGE.read_text(encoding="utf-8"), versions), encoding="utf-8")
    return failed


if __name__ == "__main__":
    sys.exit(main())
