"""`treering export`."""

from __future__ import annotations

import contextlib
import os
import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003 -- typer reads the annotations at run time
from typing import IO, TYPE_CHECKING, Annotated

import typer

from ingest.cli.options import account_name

if TYPE_CHECKING:
    from collections.abc import Generator


class Format(StrEnum):
    """What the file looks like."""

    CSV = "csv"
    JSONL = "jsonl"


Names = Annotated[list[str] | None, typer.Option(help="Only this value; may be repeated.")]


def export(
    *,
    from_time: Annotated[str, typer.Option("--from", help="Start: 2026-11-01 or an ISO time, UTC by default.")],
    to_time: Annotated[str, typer.Option("--to", help="End of the range (exclusive).")],
    file_format: Annotated[Format, typer.Option("--format", help="csv or jsonl.")] = Format.CSV,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. [default: standard output]")
    ] = None,
    model: Names = None,
    feature: Names = None,
    environment: Names = None,
    user_id: Names = None,
) -> None:
    """Write the raw calls of a time range to a file, newest first, with exact costs."""
    from ingest.database import open_database
    from ingest.ops.export import note_calls, parse_time, read_calls, write_calls
    from ingest.settings import load_settings

    wanted = {"model": model, "feature": feature, "environment": environment, "user_id": user_id}
    filters = {name: values for name, values in wanted.items() if values}
    start, end = parse_time(from_time), parse_time(to_time)
    with contextlib.closing(open_database(load_settings())) as database, _opened(output) as file:
        count = write_calls(read_calls(database, start, end, filters), file, file_format.value)
        # Before the file gets its name: none is handed out that could not be noted.
        note_calls(
            database, start, end, filters, file_format=file_format.value, count=count, exported_by=account_name()
        )
    typer.echo(f"{count:,} calls exported", err=True)


@contextlib.contextmanager
def _opened(path: Path | None) -> Generator[IO[str]]:
    """Standard output, or a file that appears under its name only when it is complete."""
    if path is None:
        with open(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", newline="") as file:  # noqa: PTH123 -- no path
            yield file
        return
    draft = path.with_name(f".{path.name}.part")
    try:
        with draft.open("w", encoding="utf-8", newline="") as file:
            yield file
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
