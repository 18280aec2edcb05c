"""Everything that has to pass before a change is merged: `uv run python -m tests`.

Installs what the tests need and Python does not bring along (PostgREST, the Supabase command line, Postgres 15, a
browser), then runs all checks and all tests, and ends with a line for each. Arguments go to pytest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from tests.support import toolchain

ROOT = Path(__file__).parents[1]
COVERAGE_PERCENT = 95


def main() -> int:
    install_tools()
    results = [(title, run(command)) for title, command in checks(sys.argv[1:]).items()]
    print()
    for title, (passed, seconds) in results:
        print(f"{'ok    ' if passed else 'FAILED'}  {title} ({seconds:.0f} s)")
    return 0 if all(passed for _, (passed, _) in results) else 1


def checks(pytest_arguments: list[str]) -> dict[str, list[str]]:
    """Each check's title and command."""
    workers = min(os.cpu_count() or 1, 4)
    coverage = ["--cov", f"--cov-fail-under={COVERAGE_PERCENT}", "--cov-report=term:skip-covered"]
    commands = {
        "lint (ruff)": ["ruff", "check", "."],
        "format (ruff)": ["ruff", "format", "--check", "."],
        "types (mypy)": ["mypy"],
        "imports (import-linter)": ["lint-imports"],
        "SQL (sqlfluff)": ["sqlfluff", "lint", "supabase", "ingest"],
        "spelling (codespell)": ["codespell"],
        "tests (pytest)": ["pytest", f"--numprocesses={workers if workers > 1 else 0}", *coverage, *pytest_arguments],
    }
    if not (ROOT / ".sqlfluff").exists():
        del commands["SQL (sqlfluff)"]
    return commands


def run(command: list[str]) -> tuple[bool, float]:
    print(f"\n$ {' '.join(command)}", flush=True)
    program = Path(sysconfig.get_path("scripts")) / command[0]
    started = time.monotonic()
    result = subprocess.run([program, *command[1:]], cwd=ROOT, check=False)
    return result.returncode == 0, time.monotonic() - started


def install_tools() -> None:
    if not toolchain.is_installed():
        if shutil.which("npm") is None:
            install_packages("nodejs", "npm")
        toolchain.install()
    if not toolchain.has_postgres_15():
        install_packages(*toolchain.DEBIAN_PACKAGES)
    if shutil.which("chromium") is None and not install_packages("chromium"):
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], cwd=ROOT, check=True)


def install_packages(*packages: str) -> bool:
    """Install Debian packages where that is possible; else say what will be missing."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"not installed, because only root on Debian can: {' '.join(packages)}", file=sys.stderr)
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        if subprocess.run(["apt-get", "--quiet", *command], env=environment, check=False).returncode:
            print(f"apt-get could not install {' '.join(packages)}", file=sys.stderr)
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
