"""What the running month will have cost, on Overview and Costs."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Literal

import streamlit as st

from dashboard.figures.alert_words import describe_scope
from dashboard.panels.cards import draw_title
from dashboard.reads.month import get_outlook
from ingest.documents.words import format_estimate, format_share, format_usd
from ingest.errors import TreeringError
from ingest.forecasting.forecast import CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from dashboard.reads.month import Outlook
    from dashboard.reads.viewer import Viewer
    from dashboard.selection.filters import Selection
    from ingest.documents.month import SpentBudget
    from ingest.forecasting.forecast import MonthForecast

# From this share on a budget is nearly used up.
_NEARLY = 0.8


def month_outlook(viewer: Viewer, selection: Selection, zone: ZoneInfo) -> Outlook | None:
    """Read the month of what is selected with its forecast; None where it cannot be read."""
    try:
        return get_outlook(viewer, selection, zone)
    except TreeringError:
        return None  # the page shows why nothing can be read, or stays without a forecast on an older database


def draw_month(outlook: MonthForecast | None, budgets: Sequence[SpentBudget] = ()) -> None:
    """Draw what the month has cost and is expected to cost, with the interval; nothing without spend."""
    if outlook is None:
        return
    widest = max(outlook.high, outlook.expected) * 1.02
    spent, expected, low, high = (
        f"{100 * amount / widest:.2f}%" for amount in (outlook.spent, outlook.expected, outlook.low, outlook.high)
    )
    with st.container(border=True, key="panel_costs_month"):
        draw_title(f"Forecast for {outlook.month:%B}", basis(outlook))
        st.html(
            f'<div class="tr-figure">{format_estimate(outlook.expected)}<span>{interval(outlook)}</span></div>'
            f'<div class="tr-outlook" role="img" aria-label="{format_estimate(outlook.spent)} spent of '
            f'{format_estimate(outlook.expected)} expected">'
            f'<i class="expected" style="width:{expected}"></i><i class="spent" style="width:{spent}"></i>'
            f'<i class="interval" style="left:{low};width:calc({high} - {low})"></i></div>'
        )
        draw_budgets(budgets)


def draw_budgets(budgets: Sequence[SpentBudget]) -> None:
    """Draw what each budget has used and is expected to use, the fullest first."""
    for budget in sorted(budgets, key=lambda one: -_used(one)):
        used = _used(budget)
        colour: Literal["red", "orange", "green"] = "red" if used >= 1 else "orange" if used >= _NEARLY else "green"
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"budget_{budget.budget_id}"):
            st.badge(f"{format_share(used, 1)} used", color=colour)
            if budget.forecast is not None:
                st.badge(f"{format_share(budget.forecast, 1)} expected", color="red" if budget.forecast > 1 else "gray")
            st.html(f'<div class="tr-facts">{html.escape(budget_line(budget))}</div>', width="content")


def budget_line(budget: SpentBudget) -> str:
    """Say of which budget how much is spent."""
    scope = describe_scope(budget.scope).removeprefix(", ")
    text = f"{budget.name}: {format_usd(budget.spent)} of {format_usd(budget.amount)} this {budget.period}"
    return f"{text}, {scope}" if scope else text


def _used(budget: SpentBudget) -> float:
    return float(budget.spent / budget.amount) if budget.spent is not None and budget.amount else 0.0


def interval(outlook: MonthForecast) -> str:
    """Say between which sums the month is expected to end."""
    return f"{format_estimate(outlook.low)} to {format_estimate(outlook.high)}"


def basis(outlook: MonthForecast) -> str:
    """Say what a forecast rests on."""
    spent = f"{format_estimate(outlook.spent)} spent so far."
    if outlook.basis == "run_rate":
        return (
            f"{spent} Extrapolated linearly, plus or minus half of the remaining spend: "
            "the history is too short for a better forecast."
        )
    line = f" Linear extrapolation gives {format_estimate(outlook.run_rate)}." if outlook.run_rate is not None else ""
    return (
        f"{spent} Based on the level, weekdays and trend so far; {CONFIDENCE:.0%} of months end within the "
        f"interval.{line}"
    )
