"""`treering reprice`."""

from __future__ import annotations

import contextlib
import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.options import HomeOption  # noqa: TC001 -- typer reads the annotations at run time

if TYPE_CHECKING:
    from decimal import Decimal

    from ingest.prices.reprice import ModelTotals, RepriceTotals

_ROWS_PER_LINE = 100_000


def reprice(
    *,
    from_time: Annotated[str, typer.Option("--from", help="Start: 2026-11-01 or an ISO time, UTC by default.")],
    to_time: Annotated[str, typer.Option("--to", help="End of the range (exclusive).")],
    should_apply: Annotated[
        bool | None, typer.Option("--apply/--dry-run", help="Correct the calls, or only show what would change.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only this model, as recorded; may be repeated.")] = None,
    provider: Annotated[list[str] | None, typer.Option(help="Only this provider; may be repeated.")] = None,
    by: Annotated[str | None, typer.Option(help="Who requests it, for the audit. [default: the login name]")] = None,
    reason: Annotated[str | None, typer.Option(help="Reason, for the audit.")] = None,
    include_reported: Annotated[
        bool, typer.Option("--include-reported", help="Include calls whose cost the provider reported.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Recalculate the cost of recorded calls at the prices of their day, and show or apply the difference per model."""
    from ingest.database import open_database
    from ingest.errors import ConfigurationError
    from ingest.notices import Notices
    from ingest.ops.export import parse_time
    from ingest.prices.reprice import Repricer, RepriceScope
    from ingest.settings import load_settings

    if should_apply is None:
        raise ConfigurationError("use --dry-run to see the difference, or --apply to correct the calls")
    scope = RepriceScope(
        parse_time(from_time), parse_time(to_time), tuple(model or ()), tuple(provider or ()), include_reported
    )
    if scope.from_time >= scope.to_time:
        raise ConfigurationError("--from must be before --to")
    settings = load_settings(home=home)
    with contextlib.closing(open_database(settings)) as database:
        repricer = Repricer(database, settings, Notices())
        progress = _Progress()
        if should_apply:
            totals = repricer.apply(scope, requested_by=by or _login_name(), reason=reason, on_progress=progress.show)
        else:
            totals = repricer.preview(scope, progress.show)
    _print_models(totals)
    if should_apply:
        _print_run(totals)
    if totals.conflicts:
        raise typer.Exit(1)


class _Progress:
    """Print a line every few thousand calls."""

    def __init__(self) -> None:
        self._next_line = _ROWS_PER_LINE

    def show(self, totals: RepriceTotals) -> None:
        if totals.rows >= self._next_line:
            typer.echo(f"{totals.rows:,} calls read, {totals.corrected:,} corrected", err=True)
            self._next_line += _ROWS_PER_LINE


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"


def _print_models(totals: RepriceTotals) -> None:
    lines = [(f"{provider}/{model}", one) for (provider, model), one in totals.by_model.items()]
    lines.sort(key=lambda line: (-abs(line[1].difference), line[0]))
    lines.append(("all", totals.whole))
    cells = [("model", "calls", "changed", "old cost $", "new cost $", "difference $"), *map(_cells, lines)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for name, *figures in cells:
        padded = (figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True))
        typer.echo("  ".join((name.ljust(widths[0]), *padded)))
    whole = totals.whole
    if whole.newly_priced or whole.newly_unpriced:
        typer.echo(f"{whole.newly_priced:,} calls get a cost, {whole.newly_unpriced:,} lose theirs (no price is known)")


def _cells(line: tuple[str, ModelTotals]) -> tuple[str, ...]:
    name, one = line
    difference = _exact(one.difference)
    return (
        name,
        f"{one.rows:,}",
        f"{one.changed:,}",
        "unknown" if 0 < one.rows == one.old_unpriced else _exact(one.old_cost),
        "unknown" if 0 < one.rows == one.new_unpriced else _exact(one.new_cost),
        difference if difference == "0" or difference.startswith("-") else f"+{difference}",
    )


def _exact(amount: Decimal) -> str:
    """Every digit, without the zeros at the end."""
    text = format(amount, ",f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _print_run(totals: RepriceTotals) -> None:
    how = "resumed" if totals.is_resumed else "done"
    typer.echo(
        f"run {totals.run_id} {how}: {totals.corrected:,} calls corrected; "
        f"roll-ups waited at most {totals.longest_lock_ms:.0f} ms"
    )
    if totals.conflicts:
        typer.echo(
            f"{totals.conflicts:,} calls changed in the meantime and were skipped: run the same command again", err=True
        )
