"""The report's picture: spend by day as a PNG, drawn without a browser and without a network."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from pydantic import JsonValue

TREND_DAYS = 56

# vl-convert brings this font with it, so the picture is the same on every machine.
_FONT = "Liberation Sans"
_SCALE = 2.0


def draw_trend(spend: Mapping[date, float], *, first: date, period_start: date, period_end: date) -> bytes:
    """Draw spend by day, the days of the report in the accent colour.

    Args:
        spend: US dollars by local day; an absent day cost nothing.
        first: First day shown.
        period_start: First day of the report.
        period_end: First day after the report, the last that is not shown.

    Returns:
        A PNG of 600 by 200 points at double resolution.
    """
    import vl_convert

    return vl_convert.vegalite_to_png(
        trend_chart(spend, first=first, period_start=period_start, period_end=period_end),
        scale=_SCALE,
        allowed_base_urls=[],
    )


def trend_chart(
    spend: Mapping[date, float], *, first: date, period_start: date, period_end: date
) -> dict[str, JsonValue]:
    """The chart as a Vega-Lite specification; see `draw_trend`."""
    days = [first + timedelta(days=number) for number in range((period_end - first).days)]
    values: list[JsonValue] = [
        {"day": day.isoformat(), "cost": spend.get(day, 0.0), "reported": day >= period_start} for day in days
    ]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": 540,
        "height": 160,
        "background": "white",
        "data": {"values": values},
        "mark": {"type": "bar", "cornerRadiusEnd": 1},
        "encoding": {
            "x": {
                # Written days, not instants: no time zone moves a bar to the day before.
                "field": "day",
                "type": "temporal",
                "timeUnit": "utcyearmonthdate",
                "title": None,
                "axis": {"format": "%-d %b", "grid": False, "tickCount": 8},
            },
            "y": {"field": "cost", "type": "quantitative", "title": "US$ a day", "axis": {"tickCount": 4}},
            "color": {
                "field": "reported",
                "type": "nominal",
                "legend": None,
                "scale": {"domain": [False, True], "range": ["#b9c4bc", "#2e7d4f"]},
            },
        },
        "config": {
            "font": _FONT,
            "view": {"stroke": None},
            # Large enough to be read on a phone, where the picture is half as wide.
            "axis": {"labelFontSize": 13, "titleFontSize": 13, "titleFontWeight": "normal", "domain": False},
        },
    }
