"""A session turn by turn: how its context grows, and what each turn cost. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import pandas as pd

from dashboard.figures.charts import MOST_BARS_WITH_GAPS, PICK
from dashboard.figures.colours import OTHER_COLOUR, PALETTE
from ingest.documents.words import DASH, format_count, format_usd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.documents.sessions import SessionPoint

HEIGHT: Final = 236
UNCACHED: Final = "Not cached"
CACHED: Final = "From the cache"
COST: Final = "Cost"
SUMMED: Final = "Summed"
CONTEXT_COLOURS: Final = {CACHED: PALETTE[0], UNCACHED: PALETTE[1]}
COST_COLOURS: Final = {COST: PALETTE[0], SUMMED: PALETTE[2]}
_GAP: Final = 0.08
_SHORT: Final = "replace(format(datum.value, '.3~s'), 'G', 'B')"


def point_frame(points: Sequence[SessionPoint]) -> pd.DataFrame:
    """Return one row per stretch of turns, of which there is at least one.

    Columns: `start` and `end` on the axis of turns, `turn` (its first), `middle`, `when`, `prompt`, `cached`, `cost`
    (US$, NaN for unknown), `summed`, and each figure as text.
    """
    gap = _GAP * (points[0].last_turn - points[0].first_turn + 1) if len(points) <= MOST_BARS_WITH_GAPS else 0
    rows = [
        {
            "turn": point.first_turn,
            "start": point.first_turn - 0.5 + gap,
            "end": point.last_turn + 0.5 - gap,
            "middle": (point.first_turn + point.last_turn) / 2,
            "when": _turns(point),
            "prompt": point.prompt_tokens,
            "cached": point.cached_tokens,
            "cost": float("nan") if point.cost is None else float(point.cost),
            "summed": float(point.cumulative_cost or 0),
            "prompt_text": format_count(point.prompt_tokens),
            "cached_text": format_count(point.cached_tokens),
            "cost_text": DASH if point.cost is None else format_usd(point.cost),
            "summed_text": format_usd(point.cumulative_cost),
        }
        for point in points
    ]
    return pd.DataFrame(rows)


def context_chart(points: Sequence[SessionPoint]) -> alt.LayerChart:
    """Draw the prompt tokens of each turn, what the provider's cache gave at the bottom."""
    frame = point_frame(points)
    y = alt.Y(
        "low:Q", title=None, axis=_axis("Prompt tokens", labelExpr=_SHORT, tickMinStep=1), scale=_scale(frame["prompt"])
    )
    layers = [
        alt.Chart(frame[["start", "end"]].assign(low=low, high=high))
        .mark_rect(strokeWidth=0, color=CONTEXT_COLOURS[name])
        .encode(x=_x(frame), x2="end", y=y, y2="high")
        for name, low, high in ((CACHED, 0, frame["cached"]), (UNCACHED, frame["cached"], frame["prompt"]))
    ]
    tips = [alt.Tooltip("prompt_text:N", title="Prompt tokens"), alt.Tooltip("cached_text:N", title=CACHED)]
    return _finish([*layers, _column(frame, tips)])


def cost_chart(points: Sequence[SessionPoint]) -> alt.LayerChart:
    """Draw what each turn cost as bars on the left axis, and what all cost so far as a line on the right one."""
    frame = point_frame(points)
    known = frame[frame["cost"].notna()]
    costs = _axis("US$", format=_money(frame["cost"].max()))
    bars = alt.Chart(known[["start", "end", "cost"]].assign(low=0)).mark_rect(strokeWidth=0, color=COST_COLOURS[COST])
    bars = bars.encode(
        x=_x(frame), x2="end", y=alt.Y("low:Q", title=None, axis=costs, scale=_scale(frame["cost"])), y2="cost"
    )
    right: dict[str, Any] = _axis("US$, summed", format=_money(frame["summed"].max())).to_dict()
    axis = alt.Axis(**{**right, "orient": "right", "titleAlign": "right", "grid": False})
    line = alt.Chart(frame[["middle", "summed"]]).mark_line(
        strokeWidth=2, color=COST_COLOURS[SUMMED], point=len(frame) == 1
    )
    line = line.encode(x="middle:Q", y=alt.Y("summed:Q", title=None, axis=axis, scale=_scale(frame["summed"])))
    tips = [alt.Tooltip("cost_text:N", title=COST), alt.Tooltip("summed_text:N", title=SUMMED)]
    chart: alt.LayerChart = _finish([bars, line, _column(frame, tips)]).resolve_scale(y="independent")
    return chart


def _turns(point: SessionPoint) -> str:
    if point.first_turn == point.last_turn:
        return f"Turn {point.first_turn:,}"
    return f"Turns {point.first_turn:,} to {point.last_turn:,}"


def _x(frame: pd.DataFrame) -> alt.X:
    domain = [float(frame["start"].min()) - _GAP, float(frame["end"].max()) + _GAP]
    axis = alt.Axis(
        title="Turn", grid=False, tickMinStep=1, tickCount=8, format=",d", titleFontWeight="normal", labelFlush=False
    )
    return alt.X("start:Q", scale=alt.Scale(domain=domain, nice=False, zero=False), axis=axis)


def _axis(title: str, **labels: Any) -> alt.Axis:
    return alt.Axis(
        title=title,
        titleAngle=0,
        titleAlign="left",
        titleAnchor="end",
        titleBaseline="bottom",
        titleX=0,
        titleY=-8,
        titleFontSize=12,
        titleFontWeight="normal",
        tickCount=5,
        domain=False,
        ticks=False,
        labelPadding=6,
        **labels,
    )


def _scale(values: pd.Series) -> alt.Scale:
    """Begin at zero; where all is zero or unknown, end at one, so that zero lies at the bottom."""
    return alt.Scale(zero=True) if values.max() > 0 else alt.Scale(domain=[0, 1])


def _money(largest: float) -> str:
    decimals = 0 if largest >= 20 else 2
    while 0 < largest < 2 * 10 ** (1 - decimals) and decimals < 12:
        decimals += 1
    return f"$,.{decimals}f"


def _column(frame: pd.DataFrame, tips: list[alt.Tooltip]) -> alt.Chart:
    """Lay an invisible column over each stretch that answers the pointer, and a click."""
    hover = alt.selection_point(name="hover", on="pointerover", clear="pointerout", fields=["turn"], empty=False)
    pick = alt.selection_point(name=PICK, on="click", fields=["turn"], empty=False)
    column: alt.Chart = (
        alt.Chart(frame)
        .mark_rect(color=OTHER_COLOUR, strokeWidth=0)
        .encode(
            x=alt.X("start:Q"),
            x2="end",
            opacity=alt.condition(hover, alt.value(0.16), alt.value(0)),
            tooltip=[alt.Tooltip("when:N", title=" "), *tips],
        )
        .add_params(hover, pick)
    )
    return column


def _finish(layers: list[alt.Chart]) -> alt.LayerChart:
    chart: alt.LayerChart = alt.LayerChart(layer=layers).properties(
        height=HEIGHT, padding={"left": 0, "right": 4, "top": 14, "bottom": 0}
    )
    return chart
