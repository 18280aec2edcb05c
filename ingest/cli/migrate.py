"""`treering migrate`."""

from __future__ import annotations

from typing import Annotated

import typer

from ingest.errors import ConfigurationError


def migrate(
    database_url: Annotated[
        str | None,
        typer.Option(
            "--db-url",
            help="Postgres address, with a role that owns the database. [default: SUPABASE_DB_URL]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Apply the missing migrations to a database; safe to repeat and beside `supabase db push`."""
    from ingest.database.migrate import apply_migrations
    from ingest.settings import load_settings

    url = load_settings(supabase_db_url=database_url).supabase_db_url
    if url is None:
        raise ConfigurationError("SUPABASE_DB_URL: must be set to migrate (`treering up` migrates its own database)")
    applied = apply_migrations(url.get_secret_value())
    for name in applied:
        typer.echo(f"applied {name}")
    typer.echo(f"{len(applied)} migrations applied" if applied else "nothing to do: the database is up to date")
