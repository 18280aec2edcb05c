"""Unusual days on Costs: the band that each day was expected in, and what made the others so."""

from __future__ import annotations

import html
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from dashboard.reads.drivers import get_drivers
from dashboard.reads.month import days_of
from ingest.documents.words import format_estimate, format_usd_column, with_sign
from ingest.errors import TreeringError
from ingest.forecasting.daily import DayBand, daily_bands

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from dashboard.panels.frame import View
    from dashboard.reads.month import Outlook
    from ingest.documents.pages import Costs

_MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Day:
    """A complete day with the band that it was expected in."""

    day: date
    cost: float
    band: DayBand


def days_with_bands(document: Costs, outlook: Outlook | None) -> list[Day]:
    """Return the complete days of a page that is shown by day; none of other pages."""
    if outlook is None or document.bucket != "day" or not outlook.month.series:
        return []
    zone = ZoneInfo(document.timezone)
    today = document.generated_at.astimezone(zone).date()
    known = {moment.date(): cost for moment, cost in days_of(outlook.month).items()}
    begin = min(known)
    days = [begin + timedelta(days=number) for number in range((today - begin).days)]
    start = document.from_time.astimezone(zone)
    # A day that the period holds a part of is no complete one.
    first = max((start.date() - begin).days + (start.time() > time()), 0)
    if first >= len(days):
        return []
    spend = [known.get(day, 0.0) for day in days]
    end = document.to_time.astimezone(zone).date()
    return [
        Day(day, cost, band)
        for day, cost, band in zip(days[first:], spend[first:], daily_bands(spend, first), strict=True)
        if band is not None and day < end
    ]


def band_frame(days: Sequence[Day]) -> pd.DataFrame:
    """Return the band as a chart draws it: `at` (middle of the day, wall clock, epoch ms), `low`, `high`."""
    rows = [
        {
            "at": int(datetime.combine(one.day, time(12), tzinfo=UTC).timestamp() * 1000),
            "low": max(one.band.low, 0.0),
            "high": one.band.high,
        }
        for one in days
    ]
    return pd.DataFrame(rows, columns=["at", "low", "high"])


def draw_unusual(view: View[Costs], days: Sequence[Day]) -> None:
    """Name the most unusual days with what made them so, each with the way to it; nothing where all were usual."""
    unusual = [one for one in days if one.band.is_unusual]
    if not unusual:
        return
    most = sorted(unusual, key=lambda one: -abs(one.cost - one.band.expected))[:_MOST_NAMED]
    items = "".join(f"<li>{_line(view, one)}</li>" for one in sorted(most, key=lambda one: one.day))
    rest = len(unusual) - len(most)
    more = f'<div class="tr-note">{rest} more are outside of the band.</div>' if rest else ""
    st.html(f'<ul class="tr-things">{items}</ul>{more}')


def _line(view: View[Costs], one: Day) -> str:
    days = {"period": "custom", "from": one.day.isoformat(), "to": one.day.isoformat()}
    query = {name: value for name, value in view.selection.to_query().items() if name not in ("period", "from", "to")}
    link = f"costs?{urlencode({**query, **days}, doseq=True)}"
    reason = _reason(view, one)
    text = f"expected {format_estimate(max(one.band.low, 0.0))} to {format_estimate(one.band.high)}"
    name = f"{one.day.day} {one.day:%b}"
    return (
        f'<span><a href="{html.escape(link)}" target="_self">{name}</a>: {text}{html.escape(reason)}</span>'
        f'<span class="value">{format_estimate(one.cost)}</span>'
    )


def _reason(view: View[Costs], one: Day) -> str:
    """Say what the day owes its difference to, from the difference to the day before it."""
    start = datetime.combine(one.day, time(), tzinfo=view.zone)
    moments = (start.astimezone(UTC), (start + timedelta(days=1)).astimezone(UTC))
    try:
        drivers = get_drivers(view.viewer, view.selection.window(datetime.now(UTC), view.zone, moments=moments))
    except TreeringError:
        return ""  # the day is shown without a reason
    is_above = one.cost > one.band.expected
    same = [cause for cause in drivers.contributions if (cause.amount > 0) == is_above]
    if not same:
        return ""
    top = same[0]
    (amount,) = format_usd_column([top.amount])
    name = f"{top.feature} with {top.model}" if top.feature else top.model
    return f"; most of it {name} ({with_sign(amount, top.amount)} against the day before)"
