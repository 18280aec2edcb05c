"""Chart builders: a time line in, an Altair chart out. Pure; units stand on the axes.

The colours are mid-tones, so that one set has a contrast of at least 3:1 on the light and on the dark background, and
they stay apart for people with protanopia and deuteranopia. Legends are drawn beside the chart (`cards.draw_legend`),
where they can wrap on a phone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import altair as alt

from dashboard.figures.frames import OTHER

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from dashboard.figures.frames import Timeline

PALETTE: Final = ("#0f9477", "#3a7bd5", "#d9730d", "#8b6fd6", "#cf4a7e", "#a08300", "#2a98b8", "#a56a4a")
OTHER_COLOUR: Final = "#858c92"
ERROR_COLOUR: Final = "#d64545"
HEIGHT: Final = 270
# Part of a bucket's width that its bar takes; without gaps where they would flicker on a phone.
BAR_SHARE: Final = 0.84
MOST_BARS_WITH_GAPS: Final = 100
# An axis of durations that reaches this far counts in seconds.
SECONDS_FROM_MS: Final = 10_000

Unit = Literal["usd", "tokens", "requests", "ms", "percent"]
_DAY_MS: Final = 86_400_000
# The vertical axis never lets Vega write "G" for a billion.
_SHORT_COUNT: Final = "replace(format(datum.value, '.3~s'), 'G', 'B')"


def colours_of(series: Sequence[str]) -> list[str]:
    """Return one colour per series, in order; the rest that did not fit is grey."""
    named = iter(PALETTE * (len(series) // len(PALETTE) + 1))
    return [OTHER_COLOUR if name == OTHER else next(named) for name in series]


def stacked_bars(
    timeline: Timeline, unit: Unit, *, colours: Sequence[str] | None = None, height: int = HEIGHT
) -> alt.LayerChart:
    """Draw amounts that add up: one bar per bucket, stacked by series."""
    bars = alt.Chart(_stack(timeline)).mark_rect(strokeWidth=0)
    bars = bars.encode(
        x=_x_axis(timeline),
        x2=alt.X2("edge"),
        y=alt.Y("low:Q", axis=_y_axis(timeline, unit, is_stacked=True), title=None, scale=_y_scale(timeline)),
        y2=alt.Y2("high"),
        color=_colour(timeline, colours),
    )
    return _finish(timeline, [bars], height)


def lines(
    timeline: Timeline, unit: Unit, *, colours: Sequence[str] | None = None, height: int = HEIGHT
) -> alt.LayerChart:
    """Draw figures that do not add up, such as percentiles: one line per series, broken where nothing was measured."""
    x = _x_axis(timeline)
    y = alt.Y("value:Q", axis=_y_axis(timeline, unit), title=None, scale=alt.Scale(zero=True, nice=True))
    colour = _colour(timeline, colours)
    columns = ["at", "until", "series", "value"]
    drawn = [alt.Chart(timeline.frame[columns]).mark_line(strokeWidth=2, interpolate="monotone")]
    lonely = timeline.frame.loc[_is_lonely(timeline), columns]
    if len(lonely):
        drawn.append(alt.Chart(lonely).mark_point(size=18, filled=True, opacity=1))
    return _finish(timeline, [layer.encode(x=x, y=y, color=colour) for layer in drawn], height)


def axis_unit(timeline: Timeline, unit: Unit) -> str:
    """Name the unit of the vertical axis."""
    if unit == "usd":
        return f"US$ per {timeline.bucket}"
    if unit == "percent":
        return "Percent"
    if unit == "ms":
        return "Seconds" if _largest(timeline) >= SECONDS_FROM_MS else "Milliseconds"
    return f"{unit.capitalize()} per {timeline.bucket}"


def _stack(timeline: Timeline) -> pd.DataFrame:
    """Put each bucket's amounts on top of each other, the first series at the bottom, a gap between buckets."""
    frame = timeline.frame[timeline.frame["value"].notna()].copy()
    frame["high"] = frame.groupby("at")["value"].cumsum()
    frame["low"] = frame["high"] - frame["value"]
    share = BAR_SHARE if frame["at"].nunique() <= MOST_BARS_WITH_GAPS else 1.0
    frame["edge"] = frame["at"] + (frame["until"] - frame["at"]) * share
    return frame[["at", "edge", "series", "low", "high"]]


def _is_lonely(timeline: Timeline) -> pd.Series:
    """Find the values between two empty buckets: a line of no length, drawn as a point."""
    series = timeline.frame["series"]
    known = timeline.frame["value"].notna()
    before = known.groupby(series).shift(1, fill_value=False)
    after = known.groupby(series).shift(-1, fill_value=False)
    return known & ~before & ~after


def _colour(timeline: Timeline, colours: Sequence[str] | None) -> alt.Color:
    chosen = list(colours) if colours else colours_of(timeline.series)
    return alt.Color("series:N", scale=alt.Scale(domain=list(timeline.series), range=chosen), legend=None)


def _x_axis(timeline: Timeline) -> alt.X:
    frame = timeline.frame
    span = (frame["until"].max() - frame["at"].min()) if len(frame) else 0
    if span <= 1.5 * _DAY_MS:
        label = "utcFormat(datum.value, utchours(datum.value) + utcminutes(datum.value) == 0 ? '%a %-d' : '%H:%M')"
    elif span <= 10 * _DAY_MS:
        label = "utcFormat(datum.value, utchours(datum.value) == 0 ? '%a %-d' : '%H:%M')"
    else:
        label = "utcFormat(datum.value, '%-d %b')"
    axis = alt.Axis(
        title=None,
        labelExpr=label,
        grid=False,
        labelOverlap="greedy",
        labelSeparation=16,
        tickCount=8,
        domain=True,
        ticks=True,
        tickSize=4,
        labelPadding=4,
    )
    return alt.X("at:T", scale=alt.Scale(type="utc", nice=False), axis=axis)


def _y_axis(timeline: Timeline, unit: Unit, *, is_stacked: bool = False) -> alt.Axis:
    return alt.Axis(
        title=axis_unit(timeline, unit),
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
        **_labels(_largest(timeline, is_stacked=is_stacked), unit),
    )


def _largest(timeline: Timeline, *, is_stacked: bool = False) -> float:
    """Return the largest value, of the bars as they stand on each other or of the lines; 0 where all is unknown."""
    frame = timeline.frame
    values = frame.groupby("at")["value"].sum() if is_stacked else frame["value"]
    return float(values.max()) if values.notna().any() else 0.0


def _y_scale(timeline: Timeline) -> alt.Scale:
    """Begin at zero; where all is zero, end at one, so that zero lies at the bottom."""
    return alt.Scale(zero=True) if _largest(timeline) > 0 else alt.Scale(domain=[0, 1])


def _labels(largest: float, unit: Unit) -> dict[str, Any]:
    """Choose the format of the labels so that neighbouring ticks never read the same."""
    if unit == "usd":
        if largest >= 1000:
            return {"labelExpr": f"'$' + {_SHORT_COUNT}"}
        decimals = 3 if 0 < largest < 0.2 else 2
        while 0 < largest < 10 ** (1 - decimals) and decimals < 12:
            decimals += 1
        return {"format": f"$,.{0 if largest >= 20 else decimals}f"}
    if unit == "percent":
        return {"format": ".0f" if largest >= 5 else ".2~f"}
    if unit == "ms" and largest >= SECONDS_FROM_MS:
        return {"labelExpr": "format(datum.value / 1000, ',~f')"}
    if unit == "ms":
        return {"format": ",.0f" if largest >= 10 else ",.1f"}
    return {"labelExpr": _SHORT_COUNT, "tickMinStep": 1}


def _finish(timeline: Timeline, layers: list[alt.Chart], height: int) -> alt.LayerChart:
    """Lay an invisible column over each bucket that answers the pointer with all series at once."""
    hover = alt.selection_point(name="hover", on="pointerover", clear="pointerout", fields=["at"], empty=False)
    wide = _tooltips(timeline)
    names = [alt.Tooltip("when:N", title=" ")]
    names += [alt.Tooltip(f"t{rank}:N", title=name) for rank, name in enumerate(timeline.series)]
    column = (
        alt.Chart(wide)
        .mark_rect(color=OTHER_COLOUR, strokeWidth=0)
        .encode(
            x=alt.X("at:T", scale=alt.Scale(type="utc", nice=False)),
            x2=alt.X2("until"),
            opacity=alt.condition(hover, alt.value(0.16), alt.value(0)),
            tooltip=names,
        )
        .add_params(hover)
    )
    chart: alt.LayerChart = alt.LayerChart(layer=[*layers, column]).properties(
        height=height, padding={"left": 0, "right": 4, "top": 14, "bottom": 0}
    )
    return chart


def _tooltips(timeline: Timeline) -> pd.DataFrame:
    wide = timeline.frame.pivot_table(
        index=["at", "until", "when"], columns="series", values="text", aggfunc="first", observed=True
    )
    wide = wide.reindex(columns=list(timeline.series))
    wide.columns = [f"t{rank}" for rank in range(len(timeline.series))]
    return wide.reset_index().astype({"at": "int64", "until": "int64"})
