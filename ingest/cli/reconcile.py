"""`treering reconcile`."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path  # noqa: TC003 -- typer reads the annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.options import JsonOption  # noqa: TC001 -- typer reads the annotations at run time
from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import JsonValue

    from ingest.billing.imported import Imported
    from ingest.billing.invoice import BadLine
    from ingest.database import Database
    from ingest.documents.billing import Reconciliation
    from ingest.settings import Settings

_LONGEST_RANGE = timedelta(days=400)


class FocusCost(StrEnum):
    """Which amount of a FOCUS row counts."""

    BILLED = "billed"
    EFFECTIVE = "effective"


def reconcile(
    *,
    from_day: Annotated[
        str | None,
        typer.Option("--from", help="First UTC day: 2026-11-01. [default: 30 days before --to]", show_default=False),
    ] = None,
    to_day: Annotated[
        str | None, typer.Option("--to", help="End day, UTC (exclusive). [default: today]", show_default=False)
    ] = None,
    provider: Annotated[
        str | None, typer.Option("--provider", help="Only this provider's bill. [default: all]", show_default=False)
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--import", help="Compare with this invoice (CSV) instead of asking the provider.")
    ] = None,
    focus: Annotated[
        list[Path] | None,
        typer.Option(
            "--import-focus",
            help="Compare with this FOCUS export (CSV, CSV.gz, Parquet) of Azure, AWS or Google; once for each file.",
            show_default=False,
        ),
    ] = None,
    focus_cost: Annotated[
        FocusCost, typer.Option("--focus-cost", help="BilledCost, or EffectiveCost with commitments spread over use.")
    ] = FocusCost.BILLED,
    items: Annotated[bool, typer.Option("--items", help="List the causes by day, model and item too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare what providers billed with what was recorded, and name the causes of the difference.

    The exit code is 0 when they agree, 1 when something could not be read or compared, and 2 when they differ by more
    than TREERING_DRIFT_THRESHOLD.
    """
    from ingest.billing.reconcile import read_reconciliation
    from ingest.database import open_database
    from ingest.settings import load_settings

    if file is not None and focus:
        raise ConfigurationError("--import, --import-focus: give one of them")
    settings = load_settings()
    today = datetime.now(UTC).date()
    with contextlib.closing(open_database(settings)) as database:
        imported = _import(database, file, focus, focus_cost, today)
        if imported is None:
            start, end = _range(from_day, to_day, today)
            providers = _fetch(database, settings, provider, start, end)
        else:
            start, end = _range(from_day or imported.first_day, to_day or imported.end_day, today)
            providers = [name for name in imported.providers if provider in (None, name)]
        results = [read_reconciliation(database, start, end, provider=name) for name in providers]
    bad_lines = imported.bad_lines if imported else ()
    for line in bad_lines:
        typer.echo(f"{line.place}: {line.reason}", err=True)
    if not results:
        raise ConfigurationError(f"--provider: there is no bill of {provider or 'any provider'} in what was read")
    _show([result for result, _ in results], [document for _, document in results], settings, bad_lines, items, as_json)
    if any(result.is_over(settings.drift_threshold) for result, _ in results):
        raise typer.Exit(2)
    raise typer.Exit(1 if bad_lines or not all(result.totals.days for result, _ in results) else 0)


def _import(
    database: Database, invoice: Path | None, focus: list[Path] | None, cost: FocusCost, today: date
) -> Imported | None:
    from ingest.billing.imported import import_focus, import_invoice

    if invoice is not None:
        return import_invoice(database, invoice, today=today)
    return import_focus(database, focus, today=today, cost=cost.value) if focus else None


def _fetch(database: Database, settings: Settings, provider: str | None, start: date, end: date) -> list[str]:
    from ingest.billing.reconcile import fetch_all_costs, open_apis

    apis = open_apis(settings, provider)
    providers = [api.provider for api in apis]
    fetch_all_costs(database, apis, start, end)
    return providers


def _show(
    results: list[Reconciliation],
    documents: list[dict[str, JsonValue]],
    settings: Settings,
    bad_lines: tuple[BadLine, ...],
    items: bool,
    as_json: bool,
) -> None:
    if not as_json:
        from ingest.cli.reconciliation_text import print_reconciliation

        for result in results:
            print_reconciliation(result, settings.drift_threshold, items=items)
        return
    bad: list[JsonValue] = [{"file": line.file, "line": line.number, "reason": line.reason} for line in bad_lines]
    verdicts: list[dict[str, JsonValue]] = [
        {
            "threshold": str(settings.drift_threshold),
            "is_over": result.is_over(settings.drift_threshold),
            "bad_lines": bad,
        }
        for result in results
    ]
    told = [{**document, "verdict": verdict} for document, verdict in zip(documents, verdicts, strict=True)]
    typer.echo(json.dumps(told[0] if len(told) == 1 else told, indent=2))


def _range(from_day: str | None, to_day: str | None, today: date) -> tuple[date, date]:
    end = min(_parse_day(to_day, "--to"), today) if to_day else today  # today's costs are still growing
    start = _parse_day(from_day, "--from") if from_day else end - timedelta(days=30)
    if not start < end:
        raise ConfigurationError("--from must be before --to, and before today (UTC)")
    if end - start > _LONGEST_RANGE:
        raise ConfigurationError("at most 400 days can be compared at once")
    return start, end


def _parse_day(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{option}: not a day: {text!r}; write 2026-11-01") from None
