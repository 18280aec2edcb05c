"""Spend by weekday and hour. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import altair as alt
import pandas as pd

from dashboard.figures.colours import PALETTE
from ingest.documents.words import format_count, format_usd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.documents.month import HourOfWeek

HEIGHT: Final = 190
WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def heat_map(hours: Sequence[HourOfWeek]) -> alt.Chart:
    """Draw a field for each hour of the week, the stronger the more was spent in it."""
    known = {(hour.weekday, hour.hour): hour for hour in hours}
    rows = []
    for weekday, name in enumerate(WEEKDAYS, 1):
        for number in range(24):
            hour = known.get((weekday, number))
            rows.append(
                {
                    "day": name,
                    "hour": number,
                    "cost": float(hour.cost) if hour and hour.cost is not None else 0.0,
                    "text": format_usd(hour.cost) if hour else "$0.00",
                    "calls": format_count(hour.requests) if hour else "0",
                    "when": f"{name} {number:02d}:00",
                }
            )
    frame = pd.DataFrame(rows)
    # Through opacity, so that nothing spent is the page itself in either theme.
    strength = alt.Opacity(
        "cost:Q", scale=alt.Scale(type="sqrt", domain=[0, max(frame["cost"].max(), 1e-9)], range=[0.03, 1]), legend=None
    )
    fields = alt.Chart(frame).mark_rect(color=PALETTE[0], cornerRadius=2)
    axis = alt.Axis(title=None, ticks=False, domain=False, labelOverlap=False)
    chart: alt.Chart = fields.encode(
        x=alt.X(
            "hour:O",
            axis=alt.Axis(
                title="Hour", titleFontWeight="normal", labelAngle=0, ticks=False, domain=False, labelOverlap="greedy"
            ),
        ),
        y=alt.Y("day:O", sort=list(WEEKDAYS), axis=axis),
        opacity=strength,
        tooltip=[
            alt.Tooltip("when:N", title=" "),
            alt.Tooltip("text:N", title="Spend"),
            alt.Tooltip("calls:N", title="Calls"),
        ],
    ).properties(height=HEIGHT, padding={"left": 0, "right": 4, "top": 4, "bottom": 0})
    return chart
