"""The command `treering`: `main` is its entry, `app` lists its commands, one module each."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from ingest.errors import TreeringError

# What the commands import beyond the core; see the extra `worker` in pyproject.toml.
_NEEDED = ("typer", "rich", "schedule", "httpx")


def main() -> None:
    """Run the command line; an error of ours prints one line and exits with code 1."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.exit(f"treering: {', '.join(missing)} is not installed; run: pip install 'treering[worker]'")
    from ingest.cli.app import app
    from ingest.cli.env_file import use_env_file

    try:
        use_env_file()
        app()
    except TreeringError as error:
        sys.exit(f"treering: {error}")
