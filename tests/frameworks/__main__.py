"""Runs every row with its real package and writes the table: `uv run python -m tests.frameworks [ROW …]`.

Then the tests of the callbacks, each with the packages that it is for.

Each package is installed beside the project's environment, in its newest version, and hides what is there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.frameworks.harness import MODULES, declarations, page_with_table

VERSIONS = Path(__file__).with_name("versions.json")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "capture.md"
CALLBACKS = {
    "litellm_callback": ("litellm", "soundfile", "orjson"),  # its cache imports its proxy, which needs them
    "langchain_callback": ("langchain-openai", "langgraph"),
}
_SHOW = "import sys, importlib.metadata as m; print(' '.join(m.version(name) for name in sys.argv[1:]))"


def main() -> int:
    """Run the rows named, else all of them; returns how many failed."""
    versions = json.loads(VERSIONS.read_text(encoding="utf-8")) if VERSIONS.exists() else {}
    failed = 0
    named = sys.argv[1:]
    for module in [name for name in named if name not in CALLBACKS] if named else MODULES:
        package = declarations(module)["PACKAGE"]
        name = package.partition("[")[0]
        environment = {**os.environ, "CELLS": module, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # else it asks GitHub
        uv = ["uv", "run", "--quiet", "--with", package, "python"]
        shown = subprocess.run([*uv, "-c", _SHOW, name], capture_output=True, text=True, check=True)
        print(f"{module}, {name} {shown.stdout.strip()}:", flush=True)
        tests = ["-m", "pytest", "-q", "-W", "ignore", "-p", "no:cacheprovider", "tests/frameworks/cells.py"]
        if subprocess.run([*uv, *tests], env=environment, check=False).returncode:
            failed += 1
        else:
            versions[module] = f"{name} {shown.stdout.strip()}"
    for module in [name for name in named if name in CALLBACKS] if named else CALLBACKS:
        print(f"{module}:", flush=True)
        packages = [part for package in CALLBACKS[module] for part in ("--with", package)]
        tests = ["-m", "pytest", "-q", "-W", "ignore", "-p", "no:cacheprovider", f"tests/frameworks/{module}.py"]
        environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        command = ["uv", "run", "--quiet", *packages, "python", *tests]
        failed += subprocess.run(command, env=environment, check=False).returncode != 0
    VERSIONS.write_text(json.dumps(versions, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(page_with_table(PAGE.read_text(encoding="utf-8"), versions), encoding="utf-8")
    return failed


if __name__ == "__main__":
    sys.exit(main())
