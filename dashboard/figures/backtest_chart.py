"""The chart of a back-test: the metric over the last days, and the thresholds that it would have met. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import altair as alt
import pandas as pd

from dashboard.figures.colours import ERROR_COLOUR, PALETTE
from ingest.alerts.metrics import metric_named

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from ingest.documents.alerts import BacktestPoint

_HEIGHT: Final = 180
_WARNING_COLOUR: Final = PALETTE[2]


def backtest_chart(
    metric: str, points: Sequence[BacktestPoint], threshold: Decimal, critical: Decimal | None
) -> alt.LayerChart:
    """Draw a metric with its thresholds, in the unit in which thresholds are typed.

    Args:
        metric: What was measured.
        points: Moments and values, in ascending order.
        threshold: Drawn as a dashed line.
        critical: Drawn in red; None where there is none.
    """
    measured = metric_named(metric)
    factor, unit = measured.unit.factor, measured.unit.typed
    title = measured.label + (f", {unit}" if unit else "")
    x = alt.X("at:T", title=None, scale=alt.Scale(type="utc", nice=False), axis=alt.Axis(grid=False, format="%-d %b"))
    axis = alt.Axis(
        title=title,
        titleAngle=0,
        titleAlign="left",
        titleAnchor="end",
        titleBaseline="bottom",
        titleX=0,
        titleY=-8,
        titleFontSize=12,
        titleFontWeight="normal",
        tickCount=4,
        domain=False,
        ticks=False,
        labelPadding=6,
        labelExpr="replace(format(datum.value, '.3~s'), 'G', 'B')" if unit != "ms" else "format(datum.value, ',~f')",
    )
    y = alt.Y("value:Q", scale=alt.Scale(zero=True, nice=True), axis=axis)
    values = pd.DataFrame(
        {"at": [point.moment for point in points], "value": [float(point.value) * factor for point in points]}
    )
    limits = [(threshold, _WARNING_COLOUR), *([(critical, ERROR_COLOUR)] if critical is not None else [])]
    layers = [alt.Chart(values).mark_line(strokeWidth=1.5, color=PALETTE[0]).encode(x=x, y=y)]
    layers += [
        alt.Chart(pd.DataFrame({"value": [float(limit) * factor]}))
        .mark_rule(strokeDash=[4, 3], color=colour, strokeWidth=1.5)
        .encode(y="value:Q")
        for limit, colour in limits
    ]
    chart: alt.LayerChart = alt.LayerChart(layer=layers).properties(
        height=_HEIGHT, padding={"left": 0, "right": 4, "top": 14, "bottom": 0}
    )
    return chart
