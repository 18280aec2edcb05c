"""`treering archive` and `treering forget`."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.options import JsonOption  # noqa: TC001 -- typer reads the annotations at run time
from ingest.errors import ArchiveError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator

    from ingest.archive.manifest import Manifest
    from ingest.archive.query import Row
    from ingest.archive.storage import Storage
    from ingest.database import Database
    from ingest.settings import Settings

app = typer.Typer(
    help="Archive months past retention as Parquet: list, verify, restore, query.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

# What the archive imports beyond the core; see the extra `archive` in pyproject.toml.
_NEEDED = ("pyarrow", "fsspec", "ibis", "duckdb")


class By(StrEnum):
    """What a row of the answer stands for."""

    MODEL = "model"
    FEATURE = "feature"
    USER = "user"
    DAY = "day"
    PROVIDER = "provider"
    ENVIRONMENT = "environment"
    OPERATION = "operation"
    STATUS = "status"


class Rows(StrEnum):
    """Which rows of a month."""

    USAGE = "usage"
    PERFORMANCE = "performance"
    BOTH = "both"


MonthOption = Annotated[str | None, typer.Option("--month", help="Only this month, as 2026-05.")]


@app.command("run")
def run() -> None:
    """Archive months past METRICS_RETENTION_DAYS, as the worker does daily; exit code 1 if a due month stayed."""
    settings = _settings()
    from ingest.archive.service import run_retention

    with _database(settings) as database:
        outcomes = run_retention(database, settings)
    for outcome in outcomes:
        result = (
            f"stays: {outcome.problem}"
            if outcome.problem is not None
            else f"{outcome.rows:,} rows in {outcome.size_bytes:,} bytes"
        )
        typer.echo(f"{outcome.kind} {outcome.month:%Y-%m}: {result}")
    if not outcomes:
        typer.echo("nothing is past retention")
    if any(outcome.problem for outcome in outcomes):
        raise typer.Exit(1)


@app.command("list")
def list_months(*, as_json: JsonOption = False) -> None:
    """List the archived months."""
    manifests = list(_storage(_settings()).read_manifests())
    if as_json:
        typer.echo(json.dumps([manifest.model_dump(mode="json") for manifest in manifests], indent=2))
        return
    if not manifests:
        typer.echo("the archive is empty")
        return
    _print_rows(
        [
            {
                "month": f"{manifest.month:%Y-%m}",
                "rows of": manifest.kind,
                "rows": f"{manifest.rows:,}",
                "tokens": f"{manifest.total_tokens:,}",
                "cost $": manifest.estimated_cost,
                "files": len(list(manifest.parts())),
                "bytes": f"{manifest.size_bytes:,}",
            }
            for manifest in manifests
        ]
    )


@app.command("verify")
def verify(*, month: MonthOption = None) -> None:
    """Read every file back and compare it with its manifest; the exit code is 1 if one is damaged."""
    storage = _storage(_settings())
    from ingest.archive.archiver import verify_month

    problems = 0
    for manifest in _chosen(storage, month, Rows.BOTH):
        found = verify_month(storage, manifest)
        problems += len(found)
        typer.echo(f"{manifest.kind} {manifest.month:%Y-%m}: {'; '.join(found) or f'{manifest.rows:,} rows, OK'}")
    if problems:
        raise typer.Exit(1)


@app.command("restore")
def restore(
    month: Annotated[str, typer.Argument(help="The month, as 2026-05.")],
    *,
    rows: Annotated[Rows, typer.Option(help="usage, performance or both.")] = Rows.BOTH,
    keep_days: Annotated[int, typer.Option(min=0, help="Days for which retention leaves the month alone.")] = 30,
    count: Annotated[
        bool, typer.Option("--count", help="Add the rows to the rollups: for a database that has never held them.")
    ] = False,
) -> None:
    """Put a month back into the database; safe to repeat."""
    settings = _settings()
    from ingest.archive.restore import restore_month

    storage = _storage(settings)
    with _database(settings) as database:
        for manifest in _chosen(storage, month, rows):
            stored = restore_month(database, storage, manifest, keep_days=keep_days, is_counted=not count)
            typer.echo(
                f"{manifest.kind} {month}: {stored:,} of {manifest.rows:,} rows were missing and have been restored"
            )


@app.command("query")
def query(
    *,
    from_time: Annotated[str, typer.Option("--from", help="Start: 2026-05-01 or an ISO time, UTC by default.")],
    to_time: Annotated[str, typer.Option("--to", help="End of the range (exclusive).")],
    by: Annotated[By | None, typer.Option(help="Group the rows by this. [default: one row for all calls]")] = None,
    spark: Annotated[
        str | None, typer.Option(help="Run on this Spark master (local[2], spark://host:7077) instead of DuckDB.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what archived calls cost and used."""
    settings = _settings()
    from ingest.archive import query as queries
    from ingest.ops.export import parse_time

    start, end = parse_time(from_time), parse_time(to_time)
    if start >= end:
        raise ConfigurationError("--from must be before --to")
    with queries.open_engine(spark) as engine:
        rows = queries.query(_storage(settings), engine, start, end, None if by is None else by.value)
    shown = [{name: _shown(value) for name, value in row.items()} for row in rows]
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
    elif shown and shown[0]["requests"]:
        _print_rows(shown)
    else:
        typer.echo("no archived calls in this range")


def forget(
    user_id: Annotated[str, typer.Argument(help="The person's id, as in the recorded events.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Erase a person from the database and the archive; totals stay, and nothing identifies the person."""
    settings = _settings()
    from ingest.archive.forget import forget_user
    from ingest.archive.service import archive_url, open_storage

    if not yes:
        typer.confirm(f"Permanently erase {user_id}?", abort=True)
    storage = open_storage(settings) if archive_url(settings) is not None else None
    with _database(settings) as database:
        erasure = forget_user(database, storage, user_id)
    typer.echo(f"calls anonymised: {erasure.usage_rows:,}")
    typer.echo(f"requests anonymised: {erasure.performance_rows:,}")
    typer.echo(f"rollup rows of older months anonymised: {erasure.rollup_rows:,}")
    typer.echo(f"memberships, rejected events and names of authors removed: {erasure.other_rows:,}")
    if storage is None:
        typer.echo("archive: TREERING_ARCHIVE_URL is not set, so no archive was searched")
    else:
        typer.echo(f"archived rows anonymised: {erasure.archive_rows:,} in {erasure.archive_parts:,} files")


def _settings() -> Settings:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigurationError(f"{', '.join(missing)} is not installed; run: pip install 'treering[archive]'")
    from ingest.settings import load_settings

    return load_settings()


def _storage(settings: Settings) -> Storage:
    from ingest.archive.service import open_storage

    return open_storage(settings)


def _chosen(storage: Storage, month: str | None, rows: Rows) -> list[Manifest]:
    wanted: dt.date | None = None
    if month is not None:
        try:
            wanted = dt.date.fromisoformat(f"{month}-01")
        except ValueError:
            raise ConfigurationError(f"not a month: {month!r}; write 2026-05") from None
    found = [
        manifest
        for manifest in storage.read_manifests()
        if wanted in (None, manifest.month) and rows in (Rows.BOTH, manifest.kind)
    ]
    if month is not None and not found:
        raise ArchiveError(f"{month} is not archived")
    return found


@contextlib.contextmanager
def _database(settings: Settings) -> Generator[Database]:
    from ingest.database import open_database

    with contextlib.closing(open_database(settings)) as database:
        yield database


def _shown(value: object) -> int | str | None:
    if value is None or isinstance(value, int | str):
        return value
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _print_rows(rows: list[Row] | list[dict[str, int | str | None]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="left" if name in ("key", "month", "rows of") else "right")
    for row in rows:
        table.add_row(
            *(
                "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
                for value in row.values()
            )
        )
    Console().print(table)
