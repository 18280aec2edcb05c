"""`treering reconcile`."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path  # noqa: TC003 -- typer reads the annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.options import JsonOption  # noqa: TC001 -- typer reads the annotations at run time
from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from decimal import Decimal

    from pydantic import JsonValue

    from ingest.billing.invoice import BadLine
    from ingest.database import Database
    from ingest.documents.billing import DriftCause, Reconciliation
    from ingest.settings import Settings

_LONGEST_RANGE = timedelta(days=400)
_CAUSES = {
    "calls_not_recorded": "requests that OpenAI counted but were not recorded",
    "calls_not_billed": "recorded requests that OpenAI did not count (another account, or sent twice)",
    "unpriced_models": "recorded requests without a price",
    "fallback_prices": "recorded requests priced as the fallback model",
    "other_services": "billed items that match no recorded model",
    "estimated_usage": "recorded requests with estimated tokens",
    "service_tiers": "requests served as batch, flex or priority: check that they were recorded with their tier",
    "not_rolled_up": "recorded requests that are not rolled up yet",
    "rounding": "at most, because the bill's amounts are rounded",
    "unexplained": "unexplained: prices that differ, or days that OpenAI has not settled",
}


def reconcile(
    *,
    from_day: Annotated[
        str | None,
        typer.Option("--from", help="First UTC day: 2026-11-01. [default: 30 days before --to]", show_default=False),
    ] = None,
    to_day: Annotated[
        str | None, typer.Option("--to", help="End day, UTC (exclusive). [default: today]", show_default=False)
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--import", help="Compare with this invoice (CSV) instead of asking OpenAI.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare OpenAI's bill with the recorded costs, day by day.

    The exit code is 0 when they agree, 1 when something could not be read or compared, and 2 when they differ by more
    than TREERING_DRIFT_THRESHOLD.
    """
    from ingest.billing.reconcile import fetch_costs, open_api, read_reconciliation
    from ingest.database import open_database
    from ingest.settings import load_settings

    settings = load_settings()
    today = datetime.now(UTC).date()
    bad_lines: list[BadLine] = []
    with contextlib.closing(open_database(settings)) as database:
        if file is None:
            start, end = _range(from_day, to_day, today)
            with contextlib.closing(open_api(settings)) as api:
                fetch_costs(database, api, start, end)
        else:
            first, last, bad_lines = _import(database, file, today)
            start, end = _range(from_day or first, to_day or last, today)
        result, document = read_reconciliation(database, start, end)
    for line in bad_lines:
        typer.echo(f"{file}, line {line.number}: {line.reason}", err=True)
    is_over = result.is_over(settings.drift_threshold)
    if as_json:
        typer.echo(_as_json(document, settings, is_over=is_over, bad_lines=bad_lines))
    else:
        _print(result, settings, is_over=is_over)
    if is_over:
        raise typer.Exit(2)
    raise typer.Exit(1 if bad_lines or not result.totals.days else 0)


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


def _import(database: Database, file: Path, today: date) -> tuple[str | None, str | None, list[BadLine]]:
    from ingest.billing.invoice import BadLine, read_invoice
    from ingest.billing.provider_lines import store_lines

    read = list(read_invoice(file, today=today))
    lines = [line for line in read if not isinstance(line, BadLine)]
    store_lines(database, lines)
    days = sorted(str(line["day"]) for line in lines)
    bad = [line for line in read if isinstance(line, BadLine)]
    if not days:
        return None, None, bad
    return days[0], (date.fromisoformat(days[-1]) + timedelta(days=1)).isoformat(), bad


def _as_json(document: dict[str, JsonValue], settings: Settings, *, is_over: bool, bad_lines: list[BadLine]) -> str:
    bad: list[JsonValue] = [{"line": line.number, "reason": line.reason} for line in bad_lines]
    verdict: JsonValue = {"threshold": str(settings.drift_threshold), "is_over": is_over, "bad_lines": bad}
    return json.dumps({**document, "verdict": verdict}, indent=2)


def _print(result: Reconciliation, settings: Settings, *, is_over: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    table = Table("day (UTC)", "source")
    for title in ("billed $", "recorded $", "drift $", "drift %", "requests", "recorded"):
        table.add_column(title, justify="right")
    for name, source, row in [
        *((str(day.day), day.source or "no bill", day) for day in result.days),
        (f"{result.totals.days} days", "", result.totals),
    ]:
        table.add_row(
            name,
            source,
            _dollars(row.billed_cost),
            _dollars(row.recorded_cost),
            _dollars(row.drift),
            "-" if row.drift_fraction is None else f"{row.drift_fraction:+.2%}",
            "-" if row.billed_requests is None else f"{row.billed_requests:,}",
            "-" if row.recorded_requests is None else f"{row.recorded_requests:,}",
        )
    console.print(table)
    if result.totals.other_currency_lines:
        console.print(f"{result.totals.other_currency_lines:,} lines in other currencies than USD were not compared")
    if not result.totals.days:
        console.print("nothing to compare: no day in this range has a bill in US dollars")
        return
    console.print("possible causes of the drift:")
    for explanation in result.explanations:
        console.print(f"  {_explain(explanation)}", markup=False)
    verdict = "differ by more than" if is_over else "agree within"
    console.print(f"bill and record {verdict} {settings.drift_threshold:.2%}")


def _explain(explanation: DriftCause) -> str:
    amount = "" if explanation.amount is None else f"{_dollars(explanation.amount)} $"
    count = "" if explanation.requests is None else f"{explanation.requests:,} "
    items = f": {', '.join(map(str, explanation.details))}" if isinstance(explanation.details, list) else ""
    return f"{amount:>16}  {count}{_CAUSES.get(explanation.cause, explanation.cause)}{items}"


def _dollars(amount: Decimal | None) -> str:
    if amount is None:
        return "-"
    return f"{amount:,.2f}" if abs(amount) >= 1 or not amount else f"{amount:.6f}"
