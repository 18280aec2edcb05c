"""`treering up`."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from ingest.cli.options import HomeOption  # noqa: TC001 -- typer reads the annotations at run time

_INTERRUPTED = 130  # what shells expect after Ctrl-C


def up(
    *,
    demo: Annotated[bool, typer.Option("--demo", help="Fill the database with 90 days of made-up usage.")] = False,
    port: Annotated[int, typer.Option(help="Port of the dashboard on this machine.", min=1, max=65535)] = 8501,
    home: HomeOption = None,
) -> None:
    """Run everything on this machine: an embedded Postgres, the worker and the dashboard; Ctrl-C stops it."""
    from ingest.cli.signals import stop_on_signals
    from ingest.errors import TreeringError
    from ingest.local.up import UpOptions, run_up
    from ingest.settings import load_settings

    stop = threading.Event()
    with stop_on_signals(stop):
        try:
            run_up(UpOptions(load_settings(home=home), port=port, demo=demo), stop, typer.echo)
        except TreeringError:
            if not stop.is_set():
                raise
            # Ctrl-C reaches the programs that make the database too; what they then print helps no one.
            typer.echo("stopped before everything was up")
            raise typer.Exit(_INTERRUPTED) from None
