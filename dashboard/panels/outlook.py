"""What the running month will have cost, on Overview and Costs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard.panels.cards import draw_title
from dashboard.reads.pages import get_spend_by_day
from dashboard.reads.viewer import Viewer
from dashboard.selection.filters import DIMENSIONS, Window
from ingest.documents.words import format_estimate
from ingest.errors import TreeringError
from ingest.forecasting.forecast import CONFIDENCE, MonthForecast, forecast_month

if TYPE_CHECKING:
    from datetime import datetime

    from dashboard.selection.filters import Selection

# Half a year holds enough months for the interval.
_HISTORY: Final = timedelta(days=182)
# What a month will cost changes by the hour, not by the second, and its back-tests take a moment.
_TTL: Final = timedelta(minutes=5)


def month_outlook(viewer: Viewer, selection: Selection, zone: ZoneInfo, now: datetime) -> MonthForecast | None:
    """Forecast the month of what is selected, in the viewer's zone; None without spend or where it cannot be read.

    Args:
        viewer: Who is looking; a member's forecast is of their own calls.
        selection: Its filters count, its period does not.
        zone: Whose days and months.
        now: The time, aware.
    """
    filters = tuple((name, getattr(selection, name)) for name in DIMENSIONS if getattr(selection, name))
    try:
        return _month_outlook(viewer, filters, zone.key, now)
    except TreeringError:
        return None  # the page shows why nothing can be read, or stays without a forecast on an older database


def draw_month(outlook: MonthForecast | None) -> None:
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


def month_note(outlook: MonthForecast | None, otherwise: str) -> str:
    """Return the line below the month's spend: where it is expected to end."""
    return otherwise if outlook is None else f"{format_estimate(outlook.expected)} expected by month end"


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


@st.cache_data(ttl=_TTL, max_entries=100, show_spinner=False, hash_funcs={Viewer: lambda viewer: viewer.user_id})
def _month_outlook(
    viewer: Viewer, filters: tuple[tuple[str, tuple[str, ...]], ...], zone_name: str, _now: datetime
) -> MonthForecast | None:
    zone = ZoneInfo(zone_name)
    local = _now.astimezone(zone)
    start = (local - _HISTORY).replace(hour=0, minute=0, second=0, microsecond=0)
    window = Window(start, _now, (("bucket", "day"), ("timezone", zone_name), *filters))
    points = get_spend_by_day(viewer, window)
    return forecast_month(
        {point.bucket_start.astimezone(zone).date(): float(point.cost or 0) for point in points}, local
    )
