"""Everything that has to pass before a change is merged: `uv run python -m tests`.

Installs what the tests need and Python does not bring along (PostgREST, the Supabase command line, Postgres 15, a
browser, a C compiler, Java), then runs all checks and all tests, and ends with a line for each. Arguments go to pytest.
With `--clock WHEN` it runs the tests alone, at another time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support import clock, toolchain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[1]
COVERAGE_PERCENT = 95

# UTC. Far from the days that tests name, the last minute of a month on a Sunday night, of a year and of a leap day, and
# the last seconds before the clocks change in Berlin and in New York.
CLOCKS = (
    "+400d",
    "2027-01-31 23:59:00",
    "2027-12-31 23:59:00",
    "2028-02-29 23:59:00",
    "2028-03-26 00:59:30",
    "2028-11-05 05:59:30",
)


# 450 MB that only two tests need: an environment of its own keeps them out of the developer's.
SPARK = ("--isolated", "--extra", "spark")


def main() -> int:
    parser = argparse.ArgumentParser(
        description="All checks and all tests; arguments go to pytest.", allow_abbrev=False
    )
    parser.add_argument(
        "--clock",
        metavar="WHEN",
        type=clock.check,
        action="append",
        help='the tests alone, at "+400d" or "2028-02-29 23:59:00" (UTC)',
    )
    options, pytest_arguments = parser.parse_known_args()
    install_tools()
    if options.clock:
        return 0 if run_at(options.clock, pytest_arguments)[0] else 1
    results = [(title, run(command)) for title, command in checks(pytest_arguments).items()]
    if not pytest_arguments and (uv := find_uv()) is not None:
        results.append(("tests on Spark (pytest)", run([uv, "run", *SPARK, "pytest", "-m", "spark", "tests/db"])))
    if not pytest_arguments and sys.platform == "linux":
        results.append(("tests at other times (pytest)", run_at(CLOCKS, ["-m", "dated"])))
    print()
    for title, (passed, seconds) in results:
        print(f"{'ok    ' if passed else 'FAILED'}  {title} ({seconds:.0f} s)")
    return 0 if all(passed for _, (passed, _) in results) else 1


def checks(pytest_arguments: list[str]) -> dict[str, list[str]]:
    """Each check's title and command."""
    coverage = ["--cov", f"--cov-fail-under={COVERAGE_PERCENT}", "--cov-report=term:skip-covered"]
    commands = {
        "lint (ruff)": ["ruff", "check", "."],
        "format (ruff)": ["ruff", "format", "--check", "."],
        "types (mypy)": ["mypy"],
        "imports (import-linter)": ["lint-imports"],
        "SQL (sqlfluff)": ["sqlfluff", "lint", "supabase", "ingest"],
        "spelling (codespell)": ["codespell"],
        "tests (pytest)": ["pytest", *parallel(), *coverage, *pytest_arguments],
    }
    if not (ROOT / ".sqlfluff").exists():
        del commands["SQL (sqlfluff)"]
    return commands


def parallel() -> list[str]:
    """How many test processes this machine bears, as pytest's option."""
    workers = min(os.cpu_count() or 1, 4)
    return [f"--numprocesses={workers if workers > 1 else 0}"]


def find_uv() -> str | None:
    """Where uv is; it says so itself to what it runs."""
    return os.environ.get("UV") or shutil.which("uv")


def run_at(clocks: Sequence[str], pytest_arguments: list[str]) -> tuple[bool, float]:
    """Run tests once at each of these times."""
    with clock.environment(clocks) as environment:
        return run(["pytest", *parallel(), *pytest_arguments], environment)


def run(command: list[str], environment: Mapping[str, str] | None = None) -> tuple[bool, float]:
    print(f"\n$ {' '.join(command)}", flush=True)
    program = Path(sysconfig.get_path("scripts")) / command[0]  # an absolute path stays as it is
    started = time.monotonic()
    result = subprocess.run([program, *command[1:]], cwd=ROOT, env={**os.environ, **(environment or {})}, check=False)
    return result.returncode == 0, time.monotonic() - started


def install_tools() -> None:
    if not toolchain.is_installed():
        if shutil.which("npm") is None:
            install_packages("nodejs", "npm")
        toolchain.install()
    if not (toolchain.has_postgres_15() and toolchain.has_servers()):
        install_packages(*toolchain.DEBIAN_PACKAGES)
    if sys.platform == "linux" and shutil.which("cc") is None:
        install_packages("gcc", "libc6-dev")
    if shutil.which("java") is None:
        install_packages("default-jre-headless")
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
