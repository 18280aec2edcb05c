"""`treering dashboard`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ingest.cli.options import HomeOption  # noqa: TC001 -- typer reads the annotations at run time


def dashboard(
    *,
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8501,
    address: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    home: HomeOption = None,
) -> None:
    """Start the app. Reads the environment as the worker does; runs until Ctrl-C."""
    from ingest.local.up import dashboard_command, dashboard_script
    from ingest.settings import load_settings

    settings = load_settings(home=home)  # a wrong setting is told here, not on the first page
    command = dashboard_command(dashboard_script(), port, address)
    environment = {**os.environ, "TREERING_HOME": str(settings.home)}
    for name in ("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY"):
        environment.pop(name, None)  # each viewer reads with their own rights; `.env` holds the key for the others
    os.execvpe(command[0], command, environment)  # noqa: S606 -- no shell is the point
