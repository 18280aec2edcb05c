"""A reconciliation as `treering reconcile` prints it: its table fits a terminal of 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from rich.table import Table

    from ingest.documents.billing import BillDay, BillSpan, BillTotals, DriftCause, Reconciliation

CAUSES: Final[Mapping[str, str]] = {
    "price": "price: the bill's price of a token differs from the recorded one",
    "calls_not_recorded": "volume: billed, but not recorded",
    "calls_not_billed": "volume: recorded, but not billed (another account, or recorded twice)",
    "unrecorded_projects": "projects on the bill that do not record",
    "fees": "fees that are not by token: searches, tools, storage",
    "credits": "credits and refunds",
    "failed_calls": "calls that failed here",
    "unpriced_models": "recorded without a price",
    "fallback_prices": "priced as the fallback model",
    "taxes": "taxes",
    "purchases": "purchases: commitments, provisioned throughput",
    "adjustments": "adjustments and corrections of earlier bills",
    "rounding": "the bill's own rounding",
    "unexplained": "not explained: the bill does not tell models or tokens apart",
}
_HINTS: Final[Mapping[str, str]] = {
    "estimated_usage": "recorded calls have estimated tokens",
    "service_tiers": "calls were served as batch, flex or priority: check that they are recorded with their tier",
    "not_rolled_up": "recorded calls are not counted yet",
}
_STATES: Final[Mapping[str, str]] = {"open": "open", "no_bill": "no bill", "other_currency": "not USD"}
# A day is never cut off, whatever the terminal's width: the table is as wide as its content.
_WIDEST: Final = 1000


def print_reconciliation(result: Reconciliation, threshold: Decimal, *, items: bool) -> None:
    """Print the days, the causes and the verdict.

    Args:
        result: What to print.
        threshold: Difference as a fraction of the bill that is too much.
        items: Whether to list the causes by day, model and item too.
    """
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, width=_WIDEST)
    totals = result.totals
    console.print(f"the bill of {result.provider}, UTC days, US dollars", markup=False)
    console.print(_days(result))
    if totals.open_days:
        console.print(f"{_counted(totals.open_days, 'day')} open: the provider has not settled the bill")
    if totals.other_currency_lines:
        console.print(f"{_counted(totals.other_currency_lines, 'line')} not compared: in other currencies than USD")
    for revision in result.revisions:
        console.print(
            f"revised: the bill of {revision.day} went from {_dollars(revision.old_cost)} to "
            f"{_dollars(revision.new_cost)} $ ({_signed(revision.amount)}), seen on {revision.revised_at:%Y-%m-%d}"
        )
    if not totals.days:
        console.print("nothing to compare: no day in this range has a settled bill in US dollars")
        return
    if result.explanations:
        console.print("causes, which add up to the difference:")
    for cause in result.explanations:
        console.print(f"  {_cause(cause)}", markup=False)
    for hint in result.hints:
        console.print(f"  note: {hint.requests:,} {_HINTS.get(hint.hint, hint.hint)}", markup=False)
    if items and result.items:
        console.print(_items(result))
    verdict = "differ by more than" if result.is_over(threshold) else "agree within"
    console.print(f"bill and record {verdict} {threshold:.2%}")


def _days(result: Reconciliation) -> Table:
    table = _table("day", "billed $", "recorded $", "diff. $", "diff. %", "calls billed", "recorded")
    rows: list[tuple[str, BillDay | BillTotals]] = [(str(day.day), day) for day in result.days]
    for name, row in [*rows, (_counted(result.totals.days, "day"), result.totals)]:
        table.add_row(name, *_figures(row))
    return table


def _figures(row: BillSpan) -> tuple[str, ...]:
    state = _STATES.get(getattr(row, "state", "compared"), "-")
    return (
        state if row.billed_cost is None else _dollars(row.billed_cost),
        _dollars(row.recorded_cost),
        _signed(row.drift),
        "-" if row.drift_fraction is None else f"{row.drift_fraction:+.2%}",
        "-" if row.billed_requests is None else f"{row.billed_requests:,}",
        "-" if row.recorded_requests is None else f"{row.recorded_requests:,}",
    )


def _items(result: Reconciliation) -> Table:
    table = _table("day", "amount $", "tokens billed", "recorded", "cause", "model", "item")
    for item in result.items:
        table.add_row(
            str(item.day),
            _signed(item.amount),
            "-" if item.billed_tokens is None else f"{item.billed_tokens:,.0f}",
            "-" if item.recorded_tokens is None else f"{item.recorded_tokens:,.0f}",
            item.cause,
            item.model or "-",
            item.item or item.name or "-",
        )
    return table


def _table(*titles: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    for title in titles:
        is_figure = title not in ("day", "cause", "model", "item")
        table.add_column(title, justify="right" if is_figure else "left", no_wrap=True, overflow="ignore")
    return table


def _cause(cause: DriftCause) -> str:
    calls = "" if cause.requests is None else f" ({_counted(cause.requests, 'call')})"
    names = ", ".join(f"{detail.name} {_signed(detail.amount)}" for detail in cause.details)
    return f"{_signed(cause.amount):>12} $  {CAUSES.get(cause.cause, cause.cause)}{calls}{': ' if names else ''}{names}"


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _signed(amount: Decimal | None) -> str:
    return f"+{_dollars(amount)}" if amount is not None and amount > 0 else _dollars(amount)


def _dollars(amount: Decimal | None) -> str:
    if amount is None:
        return "-"
    return f"{amount:,.2f}" if abs(amount) >= 1 or not amount else f"{amount:.6f}"
