"""Runs the tests of the openai client with other versions of it: `uv run python -m tests.tools.openai_versions`.

Each version is installed beside the project's environment and hides the one there; the newest is what the registry has.
"""

from __future__ import annotations

import subprocess
import sys

VERSIONS = ("==1.60.2", "==1.109.1", "==2.54.0", ">=3.57")
TESTS = ("test_every_call", "test_background_and_batches", "test_realtime", "test_instrument")


def main() -> int:
    """Run the tests once with each version; returns how many versions failed."""
    failed = 0
    for version in VERSIONS:
        package = f"openai[realtime]{version}"
        print(f"{package}:", flush=True)
        files = [f"tests/unit/tracking/{name}.py" for name in TESTS]
        command = ["uv", "run", "--quiet", "--with", package]
        command += ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
        failed += subprocess.run(command, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
