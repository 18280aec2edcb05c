"""`treering statement`."""

from __future__ import annotations

import contextlib
import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003 -- typer reads the annotations at run time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ingest.cli.options import HomeOption, account_name

if TYPE_CHECKING:
    from ingest.costs.files import StatementFile

_BY: Final = (
    "What lines are told apart by: provider, model, feature, environment, operation, status, user, tenant,"
    " and tags.plan for the tag plan."
)
Names = Annotated[list[str] | None, typer.Option(help="Only this value; may be repeated.")]


class Format(StrEnum):
    """What the file looks like."""

    XLSX = "xlsx"
    PDF = "pdf"
    CSV = "csv"
    PARQUET = "parquet"
    FOCUS = "focus"


def statement(
    *,
    month: Annotated[
        str | None, typer.Option(help="Month: 2026-10. [default: the last one that has ended]", show_default=False)
    ] = None,
    through: Annotated[
        str | None, typer.Option(help="Last month, for several. [default: the same]", show_default=False)
    ] = None,
    by: Annotated[str, typer.Option(help=_BY)] = "feature,model",
    file_format: Annotated[
        Format, typer.Option("--format", help="xlsx, pdf, csv, parquet, or focus for a FOCUS 1.2 export as CSV.")
    ] = Format.XLSX,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write, - for standard output. [default: named by the month]"),
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Zone whose months count. [default: TREERING_TIMEZONE]", show_default=False)
    ] = None,
    provider: Names = None,
    model: Names = None,
    feature: Names = None,
    environment: Names = None,
    user_id: Names = None,
    tenant_id: Names = None,
    home: HomeOption = None,
) -> None:
    """Write the statement of a month for finance: exact sums, certain, fallback and unpriced calls apart."""
    import datetime as dt

    from ingest.costs.files import hand_out
    from ingest.costs.statement import last_month, parse_month, read_statement
    from ingest.database import open_database
    from ingest.settings import load_settings

    settings = load_settings(home=home)
    zone = timezone or settings.timezone
    wanted = {
        "provider": provider, "model": model, "feature": feature, "environment": environment, "user_id": user_id,
        "tenant_id": tenant_id,
    }  # fmt: skip
    first = parse_month(month) if month else last_month(dt.datetime.now(dt.UTC), zone)
    with contextlib.closing(open_database(settings)) as database:
        found = read_statement(
            database,
            first,
            parse_month(through) if through else None,
            timezone=zone,
            dimensions=dimensions_of(by, file_format),
            filters={name: values for name, values in wanted.items() if values},
            threshold=settings.drift_threshold,
        )
        file = hand_out(database, found, file_format.value, via="command", exported_by=account_name())
    _write(file, output)
    typer.echo(f"{found.period}: {len(found.lines):,} lines, {_sums(found.totals.cost)}", err=True)


def dimensions_of(by: str, file_format: Format) -> list[str]:
    """Read the names of dimensions; a FOCUS export is by provider whatever else."""
    short = {"user": "user_id", "tenant": "tenant_id"}
    names = [short.get(name, name) for name in (part.strip() for part in by.split(",")) if name]
    if file_format is Format.FOCUS and "provider" not in names:
        names.insert(0, "provider")
    return names


def _sums(cost: object) -> str:
    return "no certain cost" if cost is None else f"certain cost US$ {cost}"


def _write(file: StatementFile, output: Path | None) -> None:
    from pathlib import Path

    if output is not None and str(output) == "-":
        sys.stdout.buffer.write(file.content)
        sys.stdout.buffer.flush()
        return
    path = output or Path(file.name)
    draft = path.with_name(f".{path.name}.part")
    try:
        draft.write_bytes(file.content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    typer.echo(str(path))
