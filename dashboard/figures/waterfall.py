"""From what a period cost before to what it costs now, step by step. Pure."""

from __future__ import annotations

from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import altair as alt
import pandas as pd

from dashboard.figures.colours import ERROR_COLOUR, OTHER_COLOUR, PALETTE
from ingest.documents.words import column_decimals, format_exact_usd, format_usd_column, with_sign

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.savings.drivers import CostDrivers

HEIGHT: Final = 236
# Steps that reach over less than this share of the sums are looked at closely.
_SMALL_STEPS: Final = 0.4
# Room for the amounts beside the bars, as a share of what is shown.
_ROOM: Final = 0.22
NAMES: Final = {
    "volume": "Volume",
    "mix": "Mix",
    "errors": "Errors",
    "tokens": "Tokens per call",
    "cache": "Cache",
    "price": "Price",
}
# What a driver means in a sentence, where it makes a period dearer and where cheaper.
WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "volume": ("more calls", "fewer calls"),
    "mix": ("a shift to dearer models and features", "a shift to cheaper models and features"),
    "errors": ("fewer failed calls", "more failed calls"),
    "tokens": ("more tokens per call", "fewer tokens per call"),
    "cache": ("less use of the prompt cache", "more use of the prompt cache"),
    "price": ("higher prices", "lower prices"),
}


def steps_of(drivers: CostDrivers) -> pd.DataFrame:
    """Return the bars: `name`, `start`, `end` (US dollars), `kind` (sum, up, down), exact `text`, `label`, in order."""
    parts = [(NAMES[driver], amount) for driver, amount in drivers.parts.items()]
    sizes = [round(amount, 12) for _, amount in parts]
    ends = [drivers.previous_cost, drivers.cost]
    before, now = format_usd_column(ends, beside=sizes)
    # The steps as shown lead from the one sum as shown to the other.
    first, last = (round(end, column_decimals([*ends, *sizes])) for end in ends)
    texts = format_usd_column(sizes, last - first, beside=ends)
    at = drivers.previous_cost
    rows = [_bar("Before", Decimal(0), at, "sum", before, format_exact_usd(at))]
    for (name, amount), size, text in zip(parts, sizes, texts, strict=True):
        kind, exact = "up" if amount > 0 else "down", with_sign(format_exact_usd(size), size)
        rows.append(_bar(name, at, at + amount, kind, with_sign(text, size), exact))
        at += amount
    rows.append(_bar("Now", Decimal(0), drivers.cost, "sum", now, format_exact_usd(drivers.cost)))
    return pd.DataFrame(rows)


def is_cut(drivers: CostDrivers) -> bool:
    """Whether the axis begins above zero, because the steps would be too low to be seen beside the sums."""
    lowest, highest = _reach(drivers)
    return lowest > 0 and highest - lowest < highest * _SMALL_STEPS


def waterfall(drivers: CostDrivers) -> alt.LayerChart:
    """Draw the steps; red is dearer, green cheaper."""
    steps = steps_of(drivers)
    lowest, highest = _reach(drivers)
    if is_cut(drivers):
        domain = [max(lowest - (highest - lowest) * 0.5, 0), highest + (highest - lowest) * _ROOM]
    else:
        domain = [min(lowest, 0), max(highest, 1e-9) * (1 + _ROOM)]
    # Below each other, so that the names have room on a phone, too.
    y = alt.Y("name:N", sort=None, axis=alt.Axis(title=None, ticks=False, domain=False, labelLimit=110, labelPadding=8))
    # Cents would make five times $0 of the axis of a user who costs less.
    decimals = column_decimals([Decimal(str(domain[1] - domain[0]))])
    x_axis = alt.Axis(title=None, tickCount=4, domain=False, ticks=False, format=f"$,.{decimals}~f")
    x = alt.X("start:Q", axis=x_axis, scale=alt.Scale(domain=domain, nice=False, clamp=True))
    colours = alt.Scale(domain=["sum", "up", "down"], range=[OTHER_COLOUR, ERROR_COLOUR, PALETTE[0]])
    tooltip = [alt.Tooltip("name:N", title=" "), alt.Tooltip("text:N", title="US$")]
    base = alt.Chart(steps)
    bars = base.mark_bar(size=16).encode(
        y=y, x=x, x2="end:Q", color=alt.Color("kind:N", scale=colours, legend=None), tooltip=tooltip
    )
    labels = base.mark_text(dx=5, align="left", fontSize=11, color=OTHER_COLOUR).encode(
        y=y, x=alt.X("top:Q"), text="label:N"
    )
    chart: alt.LayerChart = alt.LayerChart(layer=[bars, labels]).properties(
        height=HEIGHT, padding={"left": 0, "right": 4, "top": 14, "bottom": 0}
    )
    return chart


def _reach(drivers: CostDrivers) -> tuple[float, float]:
    """Return the lowest and the highest sum on the way."""
    sums = [*accumulate(drivers.parts.values(), initial=drivers.previous_cost), drivers.cost]
    return float(min(sums)), float(max(sums))


def _bar(name: str, start: Decimal, end: Decimal, kind: str, text: str, exact: str) -> dict[str, object]:
    top = float(max(start, end))
    return {
        "name": name,
        "start": float(start),
        "end": float(end),
        "top": top,
        "kind": kind,
        "text": exact,
        "label": text,
    }
