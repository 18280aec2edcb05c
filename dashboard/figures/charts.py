"""Chart builders: a time line in, an Altair chart out. Pure; units stand on the axes.

Legends are drawn beside the chart (`cards.draw_legend`), where they can wrap on a phone.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import altair as alt
import pandas as pd

from dashboard.figures.colours import OTHER_COLOUR, PALETTE, colours_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dashboard.figures.frames import Timeline

HEIGHT: Final = 270
# Part of a bucket's width that its bar takes; without gaps where they would flicker on a phone.
BAR_SHARE: Final = 0.84
MOST_BARS_WITH_GAPS: Final = 100
# An axis of durations that reaches this far counts in seconds.
SECONDS_FROM_MS: Final = 10_000

# A percentile of fewer calls than this says little: its line is faint.
FEW_CALLS: Final = 20
FAINT: Final = 0.35
# The parameter of a chart that holds the bucket that was clicked.
PICK: Final = "pick"
# Stripes of a bar that is not complete yet, over the height of the chart.
STRIPES: Final = 48

Unit = Literal["usd", "tokens", "requests", "ms", "percent"]
_DAY_MS: Final = 86_400_000
# The vertical axis never lets Vega write "G" for a billion.
_SHORT_COUNT: Final = "replace(format(datum.value, '.3~s'), 'G', 'B')"


def stacked_bars(
    timeline: Timeline,
    unit: Unit,
    *,
    colours: Sequence[str] | None = None,
    height: int = HEIGHT,
    band: pd.DataFrame | None = None,
) -> alt.LayerChart:
    """Draw amounts that add up: one bar per bucket, stacked by series; a bar that is not complete is striped.

    Args:
        timeline: What is drawn.
        unit: Of its values.
        colours: One for each series; by default each name's own.
        height: In pixels.
        band: What was expected: `at` (epoch ms), `low`, `high`; None for nothing.
    """
    bars = alt.Chart(_stack(timeline)).mark_rect(strokeWidth=0)
    y = alt.Y("low:Q", axis=_y_axis(timeline, unit, is_stacked=True), title=None, scale=_y_scale(timeline))
    bars = bars.encode(
        x=_x_axis(timeline, is_bars=True),
        x2=alt.X2("edge"),
        y=y,
        y2=alt.Y2("high"),
        color=_colour(timeline, colours),
        opacity=alt.Opacity("strength:Q", scale=None, legend=None),
    )
    return _finish(timeline, [bars, *_band(band), *_ghost(timeline)], height)


def lines(
    timeline: Timeline, unit: Unit, *, colours: Sequence[str] | None = None, height: int = HEIGHT
) -> alt.LayerChart:
    """Draw figures that do not add up, such as percentiles: one line per series, broken where nothing was measured."""
    x = _x_axis(timeline)
    y = alt.Y("value:Q", axis=_y_axis(timeline, unit), title=None, scale=alt.Scale(zero=True, nice=True))
    colour = _colour(timeline, colours)
    columns = ["at", "until", "series", "value"]
    is_few = (timeline.frame["calls"] < FEW_CALLS) & timeline.frame["value"].notna()
    strong = timeline.frame[columns].assign(value=timeline.frame["value"].mask(is_few))
    drawn = []
    # From point to point and nowhere else: a smoothed line would pass through figures that nobody measured.
    if is_few.any():
        drawn.append(alt.Chart(timeline.frame[columns]).mark_line(strokeWidth=2, opacity=FAINT))
        lonely = timeline.frame.loc[_is_lonely(timeline.frame) & is_few, columns]
        if len(lonely):
            drawn.append(alt.Chart(lonely).mark_point(size=18, filled=True, opacity=FAINT))
    drawn.append(alt.Chart(strong).mark_line(strokeWidth=2))
    alone = strong.loc[_is_lonely(strong)]
    if len(alone):
        drawn.append(alt.Chart(alone).mark_point(size=18, filled=True, opacity=1))
    return _finish(timeline, [layer.encode(x=x, y=y, color=colour) for layer in drawn], height)


def cost_and_tokens(cost: Timeline, tokens: Timeline, height: int = HEIGHT) -> alt.LayerChart:
    """Draw spend as bars on the left axis and tokens as a line on the right one."""
    bars = alt.Chart(_stack(cost)).mark_rect(strokeWidth=0, color=PALETTE[0])
    bars = bars.encode(
        x=_x_axis(cost, is_bars=True),
        x2=alt.X2("edge"),
        y=alt.Y("low:Q", axis=_y_axis(cost, "usd", is_stacked=True), title=None, scale=_y_scale(cost)),
        y2=alt.Y2("high"),
        opacity=alt.Opacity("strength:Q", scale=None, legend=None),
    )
    middle = tokens.frame.assign(middle=(tokens.frame["at"] + tokens.frame["until"]) // 2)
    options: dict[str, Any] = _y_axis(tokens, "tokens").to_dict()
    axis = alt.Axis(**{**options, "orient": "right", "titleAlign": "right", "titleX": 0, "grid": False})
    line = alt.Chart(middle[["middle", "value"]]).mark_line(strokeWidth=2, color=PALETTE[2])
    line = line.encode(
        x=alt.X("middle:T", scale=alt.Scale(type="utc", nice=False)), y=alt.Y("value:Q", axis=axis, title=None)
    )
    chart: alt.LayerChart = alt.LayerChart(layer=[bars, line, _column(_both(cost, tokens))]).properties(
        height=height, padding={"left": 0, "right": 4, "top": 14, "bottom": 0}
    )
    independent: alt.LayerChart = chart.resolve_scale(y="independent")
    return independent


def _both(first: Timeline, second: Timeline) -> Timeline:
    """Return two time lines of the same calls as one, for the pointer."""
    frame = pd.concat([first.frame, second.frame], ignore_index=True)
    return replace(first, frame=frame, series=(*first.series, *second.series), is_shared=True)


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
    frame["strength"] = 1.0
    top = float(frame["high"].max()) if len(frame) else 0.0
    columns = ["at", "edge", "series", "low", "high", "strength"]
    partial = frame[frame["is_partial"] & (frame["high"] > frame["low"])]
    if not len(partial):
        return frame[columns]
    return pd.concat([frame.loc[~frame.index.isin(partial.index), columns], _stripes(partial[columns], top)])


def _stripes(bars: pd.DataFrame, top: float) -> pd.DataFrame:
    """Cut bars into stripes, every second one faint."""
    step = top / STRIPES or 1.0
    cut: list[dict[str, Any]] = []
    for bar in bars.to_dict("records"):
        low = bar["low"]
        while low < bar["high"] and len(cut) < 20 * STRIPES:
            stripe = int(low / step + 1e-9)
            high = min(bar["high"], (stripe + 1) * step)
            cut.append(
                {
                    **{str(name): value for name, value in bar.items()},
                    "low": low,
                    "high": high,
                    "strength": FAINT if stripe % 2 else 1.0,
                }
            )
            low = high
    return pd.DataFrame(cut, columns=list(bars.columns))


def _band(band: pd.DataFrame | None) -> list[alt.Chart]:
    """Draw the edges of what was expected over the bars."""
    if band is None or not len(band):
        return []
    x = alt.X("at:T", scale=alt.Scale(type="utc", nice=False))
    area = alt.Chart(band).mark_area(color=OTHER_COLOUR, opacity=0.22, line={"color": OTHER_COLOUR, "strokeWidth": 1})
    return [area.encode(x=x, y=alt.Y("low:Q"), y2=alt.Y2("high"))]


def _ghost(timeline: Timeline) -> list[alt.Chart]:
    """Draw the earlier period as a stepped line."""
    if timeline.ghost is None or not len(timeline.ghost):
        return []
    steps = timeline.ghost[["at", "until", "value"]]
    line = alt.Chart(steps).mark_rule(color=OTHER_COLOUR, strokeWidth=2, strokeDash=[4, 2])
    return [line.encode(x=alt.X("at:T"), x2=alt.X2("until"), y=alt.Y("value:Q"))]


def _is_lonely(frame: pd.DataFrame) -> pd.Series:
    """Find the values between two empty buckets: a line of no length, drawn as a point."""
    series = frame["series"]
    known = frame["value"].notna()
    before = known.groupby(series).shift(1, fill_value=False)
    after = known.groupby(series).shift(-1, fill_value=False)
    return known & ~before & ~after


def _colour(timeline: Timeline, colours: Sequence[str] | None) -> alt.Color:
    chosen = list(colours) if colours else colours_of(timeline.series)
    return alt.Color("series:N", scale=alt.Scale(domain=list(timeline.series), range=chosen), legend=None)


def _x_axis(timeline: Timeline, *, is_bars: bool = False) -> alt.X:
    frame = timeline.frame
    middles = _middles(frame) if is_bars and timeline.bucket in ("day", "week", "month") else []
    span = (frame["until"].max() - frame["at"].min()) if len(frame) else 0
    if span <= 1.5 * _DAY_MS:
        label = "utcFormat(datum.value, utchours(datum.value) + utcminutes(datum.value) == 0 ? '%a %-d' : '%H:%M')"
    elif span <= 10 * _DAY_MS:
        hours = "true" if middles else "utchours(datum.value) == 0"
        label = f"utcFormat(datum.value, {hours} ? '%a %-d' : '%H:%M')"
    else:
        label = "utcFormat(datum.value, '%-d %b')"
    axis = alt.Axis(
        title=None,
        labelExpr=label,
        grid=False,
        labelOverlap="greedy",
        labelSeparation=16,
        **({"values": middles} if middles else {"tickCount": 8}),
        domain=True,
        ticks=not middles,
        tickSize=4,
        labelPadding=4,
    )
    return alt.X("at:T", scale=alt.Scale(type="utc", nice=False), axis=axis)


def _middles(frame: pd.DataFrame) -> list[alt.DateTime]:
    """Return the middle of the bar of each bucket, where its label stands."""
    spans = frame[["at", "until"]].drop_duplicates()
    share = BAR_SHARE if len(spans) <= MOST_BARS_WITH_GAPS else 1.0
    middles = [
        datetime.fromtimestamp((at + (until - at) * share / 2) / 1000, UTC)
        for at, until in spans.itertuples(index=False)
    ]
    return [
        alt.DateTime(year=one.year, month=one.month, date=one.day, hours=one.hour, minutes=one.minute, utc=True)
        for one in middles
    ]


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
    largest = float(values.max()) if values.notna().any() else 0.0
    return largest if timeline.ghost is None else max([largest, *timeline.ghost["value"]])


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
    chart: alt.LayerChart = alt.LayerChart(layer=[*layers, _column(timeline)]).properties(
        height=height, padding={"left": 0, "right": 4, "top": 14, "bottom": 0}
    )
    return chart


def _column(timeline: Timeline) -> alt.Chart:
    """Lay an invisible column over each bucket that answers the pointer with all series at once, and a click."""
    hover = alt.selection_point(name="hover", on="pointerover", clear="pointerout", fields=["at"], empty=False)
    pick = alt.selection_point(name=PICK, on="click", fields=["at", "until"], empty=False)
    wide = _tooltips(timeline)
    names = [alt.Tooltip("when:N", title=" ")]
    names += [alt.Tooltip(f"t{rank}:N", title=name) for rank, name in enumerate(timeline.series)]
    names.append(alt.Tooltip("calls:N", title="Calls"))
    if timeline.ghost is not None:
        names.append(alt.Tooltip("earlier:N", title="Compared"))
    column: alt.Chart = (
        alt.Chart(wide)
        .mark_rect(color=OTHER_COLOUR, strokeWidth=0)
        .encode(
            x=alt.X("at:T", scale=alt.Scale(type="utc", nice=False)),
            x2=alt.X2("until"),
            opacity=alt.condition(hover, alt.value(0.16), alt.value(0)),
            tooltip=names,
        )
        .add_params(hover, pick)
    )
    return column


def _tooltips(timeline: Timeline) -> pd.DataFrame:
    wide = timeline.frame.pivot_table(
        index=["at", "until", "when"], columns="series", values="text", aggfunc="first", observed=True
    )
    wide = wide.reindex(columns=list(timeline.series))
    wide.columns = [f"t{rank}" for rank in range(len(timeline.series))]
    wide = wide.reset_index().astype({"at": "int64", "until": "int64"})
    by_bucket = timeline.frame.groupby("at")
    # The same call may be a part of several lines, as of percentiles, or each line has its own.
    calls = by_bucket["calls"].agg(lambda counts: counts.max() if timeline.is_shared else counts.sum())
    partial = by_bucket["is_partial"].any()
    wide["calls"] = [f"{calls[at]:,}" for at in wide["at"]]
    wide["when"] = [
        f"{when}, not complete" if partial[at] else when for when, at in zip(wide["when"], wide["at"], strict=True)
    ]
    if timeline.ghost is not None:
        earlier = {row["at"]: f"{row['text']} ({row['when']})" for row in timeline.ghost.to_dict("records")}
        wide["earlier"] = [earlier.get(at, "—") for at in wide["at"]]
    return wide
