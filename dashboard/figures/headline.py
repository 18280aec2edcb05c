"""What the month and the period come to, in sentences whose figures are links. Pure; returns HTML."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from dashboard.figures.waterfall import WORDS
from ingest.documents.words import format_estimate, format_share, format_usd, format_usd_column, with_sign

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from dashboard.selection.filters import Selection
    from ingest.documents.month import SpentBudget
    from ingest.forecasting.forecast import MonthForecast
    from ingest.savings.drivers import CostDrivers


_BUDGETS: Final = '<a href="settings?tab=budgets" target="_self">'


def month_sentence(
    name: str,
    spent: Decimal | None,
    forecast: MonthForecast | None,
    last: tuple[str, float] | None,
    selection: Selection,
) -> str:
    """Say what the month has cost, where it will end, and how that compares with the last one.

    Args:
        name: Of the month.
        spent: So far; None for unknown.
        forecast: None without one.
        last: Name and cost of the last month; None where data do not cover it.
        selection: Whose filters the links keep.
    """
    if spent is None:
        return "What this month has cost is not known."
    text = f"{_link('costs', format_usd(spent), selection, period='this_month')} spent in {name}"
    if forecast is None:
        return f"{text}."
    text += (
        f", {_link('costs', format_estimate(forecast.expected), selection, period='this_month')} expected by its end"
    )
    if last is None or not last[1]:
        return f"{text}."
    share = forecast.expected / last[1] - 1
    link = _link("costs", format_estimate(last[1]), selection, period="last_month")
    if abs(share) < 0.005:
        return f"{text}, as much as in {last[0]} ({link})."
    change = _link("costs", format_share(abs(share), 1), selection, period="this_month", compare="month")
    return f"{text}, {change} {'more' if share > 0 else 'less'} than in {last[0]} ({link})."


def budget_sentence(budgets: Sequence[SpentBudget]) -> str:
    """Say how the fullest budget stands; nothing without one."""
    known = [budget for budget in budgets if budget.spent is not None and budget.amount]
    if not known:
        return ""
    fullest = max(known, key=lambda one: max((one.spent or 0) / one.amount, one.forecast or 0))
    used = f"{_BUDGETS}{format_share(fullest.spent, fullest.amount)} used</a>"
    ahead = f", {_BUDGETS}{format_share(fullest.forecast, 1)} expected</a>" if fullest.forecast is not None else ""
    return f"Budget {html.escape(fullest.name)}: {used}{ahead}."


def drivers_sentence(drivers: CostDrivers | None, selection: Selection) -> str:
    """Say how the period differs from the one before and what mostly made it so; nothing where that is not known."""
    if drivers is None or not drivers.previous_cost:
        return ""
    difference = drivers.difference
    if abs(difference) < drivers.previous_cost / 200:
        return "This period cost about as much as the one before."
    is_dearer = difference > 0
    driver, amount = max(drivers.parts.items(), key=lambda part: part[1] if is_dearer else -part[1])
    same = [one for one in drivers.contributions if one.driver == driver and (one.amount > 0) == is_dearer]
    whole, reason, *most = format_usd_column([abs(difference), amount, *(one.amount for one in same[:1])])
    text = f"This period cost {_link('costs', whole, selection)} {'more' if is_dearer else 'less'} than the one before"
    if not same:
        return f"{text}."
    top = same[0]
    filters = {"model": [top.model]} | ({"feature": [top.feature]} if top.feature else {})
    name = f"{top.feature} with {top.model}" if top.feature else top.model
    share = _link("usage", with_sign(most[0], top.amount), selection, **filters)
    word = WORDS[driver][0 if is_dearer else 1]
    of = _link("costs", with_sign(reason, amount), selection)
    return f"{text}, mostly because of {word} ({of}): {html.escape(name)} {share}."


def alerts_sentence(firing: int) -> str:
    """Say how many alerts are firing; nothing for none."""
    if not firing:
        return ""
    text = "1 alert is firing" if firing == 1 else f"{firing} alerts are firing"
    return f'<a href="alerts" target="_self">{text}</a>.'


def _link(page: str, text: str, selection: Selection, **changes: str | list[str]) -> str:
    query = {**selection.to_query(), **changes}
    if "period" in changes:
        query = {name: value for name, value in query.items() if name not in ("from", "to")}
    target = f"{page}?{urlencode(query, doseq=True)}" if query else page
    return f'<a href="{html.escape(target)}" target="_self">{html.escape(text)}</a>'
