"""Runs the command line inside the test's process, and finds the shared traces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from ingest.cli.app import app
from ingest.errors import TreeringError
from tests.support.api import PUBLISHABLE_KEY, SECRET_KEY

if TYPE_CHECKING:
    from typer.testing import Result

    from tests.support.doors import Door

_TRACES = Path(__file__).parents[3] / "shared" / "data"


def run_cli(*arguments: str | Path, env: dict[str, str] | None = None) -> Result:
    """Run `treering` with these arguments; a failure of ours becomes exit code 1 and its message, as in `main`."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200", **(env or {})})
    if isinstance(result.exception, TreeringError):
        result.exit_code = 1
        result.stderr_bytes = (result.stderr_bytes or b"") + str(result.exception).encode()
    elif result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def door_environment(door: Door, home: Path) -> dict[str, str]:
    """What tells a command to use this door as the service."""
    env = {"TREERING_HOME": str(home)}
    if door.name == "postgres":
        return env | {"SUPABASE_DB_URL": door.database.authenticator_url}
    return env | {
        "SUPABASE_URL": door.api.url,
        "SUPABASE_SECRET_KEY": SECRET_KEY,
        "SUPABASE_PUBLISHABLE_KEY": PUBLISHABLE_KEY,
    }


def shared_trace(name: str) -> Path:
    """A real trace that lies beside the checkout; the test is skipped where it does not."""
    path = _TRACES / name
    if not path.exists():
        pytest.skip(f"the trace {name} is not beside this checkout")
    return path
