"""`treering rollups`: verify the rollups against the raw calls, and rebuild them."""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.options import JsonOption  # noqa: TC001 -- typer reads the annotations at run time

if TYPE_CHECKING:
    from collections.abc import Generator

    from ingest.database import Database
    from ingest.documents.pipeline import RollupCheck

app = typer.Typer(
    help="Verify the rollups against the raw calls and rebuild them.", no_args_is_help=True, rich_markup_mode=None
)

# What the worker's daily check covers too.
_CHECKED_DAYS = 3


@app.command("verify")
def verify(
    *,
    from_day: Annotated[str | None, typer.Option("--from", help="First UTC day. [default: three days ago]")] = None,
    to_day: Annotated[str | None, typer.Option("--to", help="End day, UTC (exclusive). [default: tomorrow]")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare requests, tokens, cost and histogram weights of every level with the raw calls, by UTC day.

    The exit code is 1 where they differ.
    """
    from ingest.worker.rollups import verify_rollups

    end = _parse_day(to_day, "--to") if to_day else datetime.now(UTC).date() + timedelta(days=1)
    start = _parse_day(from_day, "--from") if from_day else end - timedelta(days=_CHECKED_DAYS)
    with _database() as database:
        check = verify_rollups(database, _midnight(start), _midnight(end))
    if as_json:
        typer.echo(check.model_dump_json(indent=2))
    elif check.is_exact:
        typer.echo(f"equal: {check.requests:,} calls, {check.tokens:,} tokens, {_plain(check.cost)} $")
    else:
        _print_differences(check)
    raise typer.Exit(0 if check.is_exact else 1)


@app.command("rebuild")
def rebuild(
    *,
    from_day: Annotated[str, typer.Option("--from", help="First UTC day.")],
    to_day: Annotated[str, typer.Option("--to", help="End day, UTC (exclusive).")],
) -> None:
    """Rebuild the rollups of whole UTC days from the raw calls.

    A day whose raw calls are archived stays as it is. Increments wait while a day is computed; pages go on.
    """
    from ingest.database import fetch
    from ingest.documents.pipeline import Rebuilt

    start, end = _parse_day(from_day, "--from"), _parse_day(to_day, "--to")
    if start >= end:
        raise typer.BadParameter("must be before --to", param_hint="--from")
    rows = skipped = 0
    with _database() as database:
        for number in range((end - start).days):
            day = start + timedelta(days=number)
            span = {"from_time": _midnight(day), "to_time": _midnight(day + timedelta(days=1))}
            rebuilt = fetch(database, Rebuilt, "rebuild_rollups", **span)
            rows += rebuilt.usage_rows + rebuilt.performance_rows
            skipped += rebuilt.skipped_days
    typer.echo(
        f"{(end - start).days - skipped} days rebuilt from {rows:,} rows; the worker condenses the hours and days next"
    )
    if skipped:
        typer.echo(f"{skipped} days have no raw rows here and were left as they are")


def _print_differences(check: RollupCheck) -> None:
    typer.echo(f"{check.difference_count} differences; the first ones:")
    for found in check.differences:
        pairs = (
            ("requests", found.requests, found.raw_requests),
            ("tokens", found.tokens, found.raw_tokens),
            ("cost", found.cost, found.raw_cost),
            ("samples", found.samples, found.raw_samples),
        )
        figures = ", ".join(
            f"{name} {_plain(figure)} instead of {_plain(raw or Decimal(0))}"
            for name, figure, raw in pairs
            if figure is not None and figure != raw
        )
        typer.echo(f"{found.day:%Y-%m-%d} {found.level}: {figures}")
    typer.echo("rebuild the days with: treering rollups rebuild --from DAY --to DAY")


def _plain(figure: Decimal) -> str:
    return f"{figure.normalize():f}"


def _parse_day(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a date such as 2026-05-31", param_hint=option) from error


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


@contextlib.contextmanager
def _database() -> Generator[Database]:
    from ingest.database import open_database
    from ingest.settings import load_settings

    with contextlib.closing(open_database(load_settings())) as database:
        yield database
