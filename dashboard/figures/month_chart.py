"""The month as it grows: what was spent, last month behind it, where it will end, and the budget. Pure."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import altair as alt
import pandas as pd

from dashboard.figures.colours import ERROR_COLOUR, OTHER_COLOUR, PALETTE
from ingest.documents.words import format_estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.forecasting.forecast import MonthForecast

HEIGHT: Final = 236
THIS: Final = "This month"
LAST: Final = "Last month"
AHEAD: Final = "Expected"
COLOURS: Final = {THIS: PALETTE[0], LAST: OTHER_COLOUR, AHEAD: PALETTE[0]}
# What is expected is dashed in the chart and pale beside it.
LEGEND: Final = {**COLOURS, AHEAD: f"{PALETTE[0]}80"}


@dataclass(frozen=True, slots=True)
class Growth:
    """The sums of a month by the days that have passed of it.

    Attributes:
        lines: `day` (days passed, a fraction for today), `sum` (US dollars), `series`, `text`.
        fan: `day`, `low`, `high`: where the month may be; empty without a forecast.
        days: Days of the month.
        last_total: What the whole last month cost; None where data do not reach back to its beginning.
    """

    lines: pd.DataFrame
    fan: pd.DataFrame
    days: int
    last_total: float | None


def growth_of(spend: Mapping[datetime, float], now: datetime, forecast: MonthForecast | None) -> Growth:
    """Sum a month and the one before day by day.

    Args:
        spend: What each local day cost, by its midnight.
        now: The time in the same zone; it cuts today.
        forecast: Where the month will end.
    """
    first = now.date().replace(day=1)
    days = calendar.monthrange(first.year, first.month)[1]
    before = (first - timedelta(days=1)).replace(day=1)
    elapsed = (now.hour * 60 + now.minute) / 1440
    by_day = {moment.date(): cost for moment, cost in spend.items()}
    rows: list[dict[str, object]] = []

    def add(series: str, day: float, total: float) -> None:
        rows.append({"day": day, "sum": total, "series": series, "text": format_estimate(total)})

    last_total = None
    if any(day < before or day == before for day in by_day):
        total = 0.0
        add(LAST, 0, 0)
        for number in range((first - before).days):
            total += by_day.get(before + timedelta(days=number), 0.0)
            add(LAST, min(number + 1, days), total)
        last_total = total
    total = 0.0
    add(THIS, 0, 0)
    for number in range(now.day):
        total += by_day.get(first + timedelta(days=number), 0.0)
        add(THIS, number + 1 if number + 1 < now.day else number + elapsed, total)
    fan = pd.DataFrame(columns=["day", "low", "high"], dtype="float64")
    if forecast is not None:
        place = now.day - 1 + elapsed
        add(AHEAD, place, forecast.spent)
        add(AHEAD, days, forecast.expected)
        fan = pd.DataFrame(
            [
                {"day": place, "low": forecast.spent, "high": forecast.spent},
                {"day": float(days), "low": forecast.low, "high": forecast.high},
            ]
        )
    lines = pd.DataFrame(rows, columns=["day", "sum", "series", "text"]).astype({"day": "float64", "sum": "float64"})
    return Growth(lines, fan, days, last_total)


def month_chart(growth: Growth, budget: float | None) -> alt.LayerChart:
    """Draw the sums, the fan of the forecast and a line for the budget."""
    scale = alt.Scale(domain=[0, growth.days], nice=False)
    axis = alt.Axis(title="Day of the month", grid=False, tickCount=8, format="d", titleFontWeight="normal")
    x = alt.X("day:Q", scale=scale, axis=axis)
    top = max([growth.lines["sum"].max(), *growth.fan["high"], budget or 0.0])
    decimals = 0 if top >= 20 else 2
    y_axis = alt.Axis(
        title="US$, summed",
        titleAngle=0,
        titleAlign="left",
        titleAnchor="end",
        titleBaseline="bottom",
        titleX=0,
        titleY=-8,
        titleFontWeight="normal",
        tickCount=5,
        domain=False,
        ticks=False,
        format=f"$,.{decimals}f",
    )
    y = alt.Y("sum:Q", axis=y_axis, title="US$, summed", scale=alt.Scale(zero=True, nice=True))
    layers: list[alt.Chart] = []
    if len(growth.fan):
        fan = alt.Chart(growth.fan).mark_area(color=PALETTE[0], opacity=0.18)
        layers.append(fan.encode(x=x, y=alt.Y("low:Q", axis=y_axis), y2="high:Q"))
    names = list(COLOURS)
    colour = alt.Color("series:N", scale=alt.Scale(domain=names, range=list(COLOURS.values())), legend=None)
    dash = alt.StrokeDash("series:N", scale=alt.Scale(domain=names, range=[[1, 0], [2, 2], [6, 4]]), legend=None)
    tooltip = [
        alt.Tooltip("series:N", title=" "),
        alt.Tooltip("day:Q", title="Day", format=".0f"),
        alt.Tooltip("text:N", title="Sum"),
    ]
    line = alt.Chart(growth.lines).mark_line(strokeWidth=2.5, point=alt.OverlayMarkDef(size=24, opacity=0))
    layers.append(line.encode(x=x, y=y, color=colour, strokeDash=dash, tooltip=tooltip))
    if budget is not None:
        rule = alt.Chart(pd.DataFrame({"sum": [budget]})).mark_rule(color=ERROR_COLOUR, strokeWidth=1.5)
        layers.append(rule.encode(y="sum:Q", tooltip=[alt.Tooltip("sum:Q", title="Budget", format="$,.2f")]))
    chart: alt.LayerChart = alt.LayerChart(layer=layers).properties(
        height=HEIGHT, padding={"left": 0, "right": 4, "top": 14, "bottom": 0}
    )
    return chart
