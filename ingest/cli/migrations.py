"""`treering migrations`: the SQL files for those who deploy by the Supabase command line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 -- typer reads the annotations at run time
from typing import Annotated

import typer

app = typer.Typer(help="Deploy Treering's SQL with `supabase db push`.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def migrations() -> None:
    """Deploy Treering's SQL with `supabase db push`."""


@app.command("copy")
def copy(
    folder: Annotated[Path, typer.Argument(help="The project's folder of migrations, `supabase/migrations`.")],
) -> None:
    """Copy the migrations that the folder lacks into it, with fresh timestamps."""
    from ingest.database.migration_copies import copy_migrations

    written = copy_migrations(folder, now=datetime.now(UTC))
    for path in written:
        typer.echo(f"wrote {path}")
    typer.echo(f"{len(written)} files written" if written else "nothing to do: the folder holds all migrations")
