"""What the daily, weekly and monthly reports say: pure, from figures to a title, plain text and HTML."""

from __future__ import annotations

import html
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from ingest.alerts.metrics import format_metric
from ingest.alerts.notification import IMAGE_NAME
from ingest.documents.words import MINUS, format_difference, format_estimate, format_share, format_usd
from ingest.forecasting.forecast import CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.forecasting.forecast import MonthForecast
    from ingest.reports.figures import Figures
    from ingest.savings.drivers import CostDrivers
    from pricing.terms import Statement

_MOST_ALERTS = 10
_MOST_SAVINGS = 3
_MOST_SAVINGS_A_MONTH = 10
_MOST_CONTRIBUTIONS = 3
_CENT = Decimal("0.01")

_NAMES = {"daily": "Yesterday", "weekly": "Last week"}
_BEFORE = {"daily": "the day before", "weekly": "the week before"}
_WITHIN = {"daily": "that day", "weekly": "that week", "monthly": "that month"}

# Mail programs know no style sheets. No colour of text or page is set, so that each shows its own, light or dark.
_PAGE = "max-width:600px;font:15px/1.5 -apple-system,Segoe UI,Helvetica,Arial,sans-serif"
_SUBTLE = "margin:2px 0 16px;opacity:0.65"
_PICTURE = "display:block;width:100%;max-width:600px;height:auto;border-radius:6px"
_HEADING = "margin:20px 0 6px;font-size:15px"
_LIST = "margin:0;padding:0 0 0 18px"
_BUTTON = (
    "display:inline-block;padding:8px 16px;border-radius:6px;background:#2e7d4f;color:#ffffff;text-decoration:none"
)


@dataclass(frozen=True, slots=True)
class Report:
    """A report as it is sent.

    Attributes:
        title: One line.
        text: Plain text.
        html: HTML; names the picture as `cid:` + `IMAGE_NAME` where there is one.
    """

    title: str
    text: str
    html: str


def write_report(figures: Figures, *, link: str | None = None, has_image: bool = False) -> Report:
    """Write a report.

    Args:
        figures: What it is made of.
        link: Address of the dashboard; None where it is not known.
        has_image: Whether the picture of the trend travels with it.
    """
    name = f"{figures.period_start:%B}" if figures.kind == "monthly" else _NAMES[figures.kind]
    cost = "unknown" if figures.cost is None else format_usd(figures.cost)
    title = f"{name} cost {cost}{_change(figures.cost, figures.previous_cost)}"
    days = _days(figures)
    sections = [(heading, lines) for heading, lines in _sections(figures) if lines]
    text = [title, days, ""]
    for heading, lines in sections:
        text += [heading, *(f"  {line}" for line in lines), ""]
    if link:
        text.append(link)
    return Report(title, "\n".join(text).rstrip() + "\n", _write_html(title, days, sections, link, has_image=has_image))


def _sections(figures: Figures) -> list[tuple[str, list[str]]]:
    # Months differ in length: what is compared is as long as the month.
    days = (figures.period_end - figures.period_start).days
    before = _BEFORE.get(figures.kind, f"the {days} days before")
    spend = [
        f"{format_usd(figures.cost)}, {before} {format_usd(figures.previous_cost)}",
        f"{figures.requests:,} calls, {before} {figures.previous_requests:,}",
    ]
    if figures.errors:
        spend.append(f"{figures.errors:,} calls failed ({format_share(figures.errors, figures.requests)})")
    if figures.fallback_cost:
        spend.append(f"{format_usd(figures.fallback_cost)} more at the fallback model's price, in no other sum")
    if figures.unpriced_requests:
        spend.append(f"{figures.unpriced_requests:,} calls have no price: these sums leave out their cost")
    movers = [
        f"{mover.dimension} {mover.key}: {_signed(mover.change)}, now {format_usd(mover.cost)}"
        for mover in figures.movers
    ]
    alerts = [
        f"{alert.name}: {format_metric(alert.metric, alert.value)} ({alert.severity}, since {alert.since})"
        for alert in figures.alerts[:_MOST_ALERTS]
    ]
    if len(figures.alerts) > _MOST_ALERTS:
        alerts.append(f"and {len(figures.alerts) - _MOST_ALERTS} more")
    return [
        ("Spend", spend),
        ("Biggest changes", movers),
        ("Why it changed", _driver_lines(figures.drivers)),
        ("This month", _forecast_lines(figures.forecast)),
        ("By contract", _contract_lines(figures.contract)),
        ("Savings", _saving_lines(figures)),
        ("Open alerts", alerts or ["none"]),
    ]


def _driver_lines(drivers: CostDrivers | None) -> list[str]:
    """Say which parts the change has, and who contributed most; without what is below a cent."""
    if drivers is None:
        return []
    parts = [(name, amount) for name, amount in drivers.parts.items() if abs(amount) >= _CENT]
    lines = [", ".join(f"{name} {_signed(amount)}" for name, amount in parts)] if parts else []
    return lines + [
        f"{one.driver} of {one.model}{f' in {one.feature}' if one.feature else ''}: {_signed(one.amount)}"
        for one in drivers.contributions[:_MOST_CONTRIBUTIONS]
        if abs(one.amount) >= _CENT
    ]


def _saving_lines(figures: Figures) -> list[str]:
    """Say what was realised, what the plan found, and its largest actions; all of them once a month."""
    found = figures.savings
    lines = []
    if found.verified:
        count = "1 verified action" if found.verified == 1 else f"{found.verified} verified actions"
        lines.append(
            f"{format_usd(found.realised)} realised {_WITHIN[figures.kind]}, "
            f"{format_usd(found.realised_since_start)} since the start, by {count}"
        )
    if found.actions:
        total = sum((one.saved_per_month for one in found.actions), Decimal(0))
        share = format_share(total, found.spend_per_month) if found.spend_per_month else ""
        lines.append(f"{format_usd(total)} a month found{f', {share} of the spend' if share else ''}")
    most = _MOST_SAVINGS_A_MONTH if figures.kind == "monthly" else _MOST_SAVINGS
    lines += [f"{one.text} (about {format_usd(one.saved_per_month)} a month)" for one in found.actions[:most]]
    return lines


def _forecast_lines(forecast: MonthForecast | None) -> list[str]:
    if forecast is None:
        return []
    month = f"{forecast.month:%B}"
    spent = f"{format_estimate(forecast.spent)} spent so far in {month}"
    expected = format_estimate(forecast.expected)
    if forecast.basis == "run_rate":
        return [spent, f"{expected} by month end at this pace; the history is too short for a forecast"]
    interval = f"{format_estimate(forecast.low)} to {format_estimate(forecast.high)}"
    return [spent, f"{expected} expected by month end, {interval} with {CONFIDENCE:.0%} confidence"]


def _contract_lines(statement: Statement | None) -> list[str]:
    """Say what the UTC month so far costs by contract."""
    if statement is None:
        return []
    net = f"{format_usd(statement.net)} net this month, {format_usd(statement.list_cost)} at list price"
    if not statement.balances:
        return [net, *_in_currency(statement, "net")]
    due = f"{format_usd(statement.due)} due, {format_usd(statement.drawn)} taken from balances"
    left = [
        f"{balance.term.kind} {balance.term.name}".strip()
        + f": {format_usd(balance.left)} of {format_usd(balance.term.amount)} left"
        for balance in statement.balances
    ]
    return [net, due, *_in_currency(statement, "due"), *left]


def _in_currency(statement: Statement, what: str) -> list[str]:
    if statement.currency is None:
        return []
    if statement.due_in_currency is None:
        return [f"a day has no rate in {statement.currency}"]
    return [f"{statement.due_in_currency:,.2f} {statement.currency} {what}"]


def _days(figures: Figures) -> str:
    last = figures.period_end - timedelta(days=1)
    if figures.kind == "daily":
        return f"{last:%A, %Y-%m-%d} ({figures.timezone})"
    if figures.kind == "monthly":
        return f"{figures.period_start:%B %Y} ({figures.timezone})"
    return f"{figures.period_start:%Y-%m-%d} to {last:%Y-%m-%d} ({figures.timezone})"


def _change(cost: Decimal | None, previous: Decimal | None) -> str:
    if cost is None or previous is None or previous <= 0:  # of a refund there is no share
        return ""
    share = float(cost / previous) - 1
    return ", unchanged" if abs(share) < 0.005 else f", {share:+.0%}".replace("-", MINUS)


def _signed(amount: Decimal) -> str:
    return format_difference(amount)


def _write_html(
    title: str, days: str, sections: Sequence[tuple[str, Sequence[str]]], link: str | None, *, has_image: bool
) -> str:
    parts = [
        f'<div style="{_PAGE}"><h2 style="margin:0;font-size:20px">{html.escape(title)}</h2>',
        f'<p style="{_SUBTLE}">{html.escape(days)}</p>',
    ]
    if has_image:
        # On white, as the picture is: mail programs turn the page dark, not the picture.
        parts.append(f'<img src="cid:{IMAGE_NAME}" width="600" alt="Spend by day" style="{_PICTURE}">')
    for heading, lines in sections:
        items = "".join(f'<li style="margin:0 0 4px">{html.escape(line)}</li>' for line in lines)
        parts.append(f'<h3 style="{_HEADING}">{html.escape(heading)}</h3><ul style="{_LIST}">{items}</ul>')
    if link:
        parts.append(
            f'<p style="margin:24px 0 0"><a href="{html.escape(link)}" style="{_BUTTON}">Open the dashboard</a></p>'
        )
    return "".join([*parts, "</div>"])
