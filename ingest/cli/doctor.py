"""`treering doctor`."""

from __future__ import annotations

import typer

from ingest.cli.options import HomeOption  # noqa: TC001 -- typer reads the annotations at run time

_WORDS = {"OK": ("ok", "green"), "WARNING": ("warn", "yellow"), "CRITICAL": ("fail", "red")}


def doctor(*, home: HomeOption = None) -> None:
    """Check a deployment and suggest fixes; the exit code is 1 when a check fails."""
    from rich.console import Console
    from rich.markup import escape

    from ingest.ops.doctor import examine
    from ingest.ops.health import Level
    from ingest.settings import load_settings

    console = Console(highlight=False, soft_wrap=True)
    worst = Level.OK
    for finding in examine(load_settings(home=home)):
        word, colour = _WORDS[finding.level.name]
        console.print(f"[{colour}]{word:<4}[/] {escape(finding.part)}: {escape(finding.message)}")
        worst = max(worst, finding.level)
    raise typer.Exit(1 if worst is Level.CRITICAL else 0)
