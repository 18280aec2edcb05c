"""`treering replay`."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path  # noqa: TC003 -- typer reads the annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.options import HomeOption  # noqa: TC001 -- typer reads the annotations at run time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from ingest.database import Database
    from ingest.ops.replay import ReplayTotals
    from ingest.ops.traces import BadLine, TracedCall
    from ingest.record.recorder import Stats
    from ingest.settings import Settings

_FLUSH_TIMEOUT_S = 120.0
_BATCH_SIZE = 2_000
_LINES_PER_UPDATE = 250
_MAX_NAMED_LINES = 100


class Format(StrEnum):
    """What wrote the file."""

    AZURE = "azure"
    MOONCAKE = "mooncake"
    JSONL = "jsonl"


def replay(
    file: Annotated[Path, typer.Argument(help="The trace, plain or gzipped.")],
    *,
    trace_format: Annotated[
        Format,
        typer.Option("--format", help="azure (CSV), mooncake (JSON lines), jsonl (arguments of record_usage)."),
    ],
    model: Annotated[str, typer.Option(help="Model for calls that name none.")] = "gpt-4o",
    feature: Annotated[str | None, typer.Option(help="Feature for calls that name none.")] = None,
    environment: Annotated[str | None, typer.Option(help="Environment for calls that name none.")] = None,
    users: Annotated[int, typer.Option(help="Spread calls that name no user over this many users.", min=0)] = 0,
    limit: Annotated[int | None, typer.Option(help="At most this many calls.", min=1)] = None,
    shift_to_now: Annotated[
        bool, typer.Option("--shift-to-now", help="Shift all calls so that the last one happens now.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Load a recorded trace through record_usage; repeating a replay stores nothing new."""
    from rich.console import Console

    from ingest.database import open_database
    from ingest.ops.replay import shift_to_now as find_shift
    from ingest.ops.traces import Mapping, open_trace
    from ingest.settings import load_settings

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    settings = load_settings(home=home)
    trace = open_trace(file, trace_format.value)
    shift = timedelta(0)
    if shift_to_now:
        shift, is_remembered = find_shift(trace, settings.home, now=datetime.now(UTC))
        if is_remembered:
            console.print("this file was shifted to now within the last 24 hours: the same shift is used again")
    lines = trace.calls(Mapping(model=model, feature=feature, environment=environment, users=users), shift=shift)
    with contextlib.closing(open_database(settings)) as database:
        rejected_before = _count_rejected(database)
        totals, stats, seconds = _play(lines, trace.line_count, limit, database, settings, console)
        rejected = stats.refused + _count_rejected(database) - rejected_before
    _print_totals(totals, stats, rejected, seconds)
    if totals.bad_lines or rejected:
        raise typer.Exit(1)


def _play(
    lines: Iterator[TracedCall | BadLine],
    line_count: int,
    limit: int | None,
    database: Database,
    settings: Settings,
    console: Console,
) -> tuple[ReplayTotals, Stats, float]:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    import ingest
    from ingest.ops.replay import replay_calls

    # A replay is always recorded, even where the product's own recording is off.
    ingest.configure(database=database, home=settings.home, enable_observability=True, batch_size=_BATCH_SIZE)
    started_at = time.monotonic()
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rate]:,.0f} calls/s"), TimeRemainingColumn())
    bad_lines = 0
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("replay", total=line_count, rate=0.0)

        def show(totals: ReplayTotals) -> None:
            if totals.lines % _LINES_PER_UPDATE == 0:
                rate = totals.requests / max(time.monotonic() - started_at, 1e-6)
                progress.update(task, completed=totals.lines, rate=rate)

        def name_bad_line(line: BadLine) -> None:
            nonlocal bad_lines
            bad_lines += 1
            if bad_lines <= _MAX_NAMED_LINES:
                console.print(f"line {line.number}: {line.reason}", markup=False)
            elif bad_lines == _MAX_NAMED_LINES + 1:
                console.print("further bad lines are counted but not listed")

        totals = replay_calls(
            lines,
            ingest.record_usage,
            lambda: ingest.flush(_FLUSH_TIMEOUT_S),
            limit=limit,
            on_progress=show,
            on_bad_line=name_bad_line,
        )
        progress.update(task, completed=line_count)
    seconds = time.monotonic() - started_at
    stats = ingest.stats()
    ingest.shutdown()
    return totals, stats, seconds


def _count_rejected(database: Database) -> int:
    from ingest.database import fetch
    from ingest.documents.pipeline import Status

    return fetch(database, Status, "get_status").rejected_events


def _print_totals(totals: ReplayTotals, stats: Stats, rejected: int, seconds: float) -> None:
    typer.echo(f"requests           {totals.requests:>15,}")
    typer.echo(f"prompt tokens      {totals.prompt_tokens:>15,}")
    typer.echo(f"completion tokens  {totals.completion_tokens:>15,}")
    typer.echo(f"newly stored       {stats.stored:>15,}")
    typer.echo(f"there already      {max(totals.requests - stats.stored - rejected, 0):>15,}")
    typer.echo(f"refused            {rejected:>15,}")
    typer.echo(f"bad lines          {totals.bad_lines:>15,}")
    if totals.first_created_at is not None and totals.last_created_at is not None:
        typer.echo(
            f"from {totals.first_created_at:%Y-%m-%d %H:%M:%S} to {totals.last_created_at:%Y-%m-%d %H:%M:%S} UTC"
        )
    if stats.adopted:
        typer.echo(f"{stats.adopted:,} events that earlier processes left in the journal were delivered too")
    typer.echo(f"{seconds:.1f} s, {totals.requests / max(seconds, 1e-6):,.0f} calls/s, all committed")
