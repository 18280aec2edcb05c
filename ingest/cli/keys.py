"""`treering keys`: keys for programs that record and must not read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

app = typer.Typer(help="Create insert-only keys.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def keys() -> None:
    """Create insert-only keys."""


@app.command("create")
def create(
    *,
    environment: Annotated[
        str | None,
        typer.Option(
            help="Environment of everything recorded with the key, whatever the events say. [default: theirs]"
        ),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Days until the key expires.")] = 365,
) -> None:
    """Print a key that may call record_usage, record_performance and record_feedback, and nothing else."""
    from ingest.database.writer_key import make_writer_key
    from ingest.settings import load_settings

    if environment is not None and not 1 <= len(environment) <= 200:
        raise typer.BadParameter("an environment has 1 to 200 characters", param_hint="--environment")
    now = datetime.now(UTC)
    expires_at = now + timedelta(days=days)
    key = make_writer_key(load_settings(), issued_at=now, expires_at=expires_at, environment=environment)
    typer.echo(f"expires on {expires_at:%d %B %Y}; it cannot be shown again", err=True)
    typer.echo(key)
