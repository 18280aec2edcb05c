"""Unusual days on Costs and Overview: the band that each day was expected in, and what made the others so."""

from __future__ import annotations

import html
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final
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
    from ingest.documents.pages import Costs, Overview, Page
    from ingest.savings.drivers import Contribution

_MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Day:
    """A complete day with the band that it was expected in."""

    day: date
    cost: float
    band: DayBand


def days_with_bands(document: Page, outlook: Outlook | None) -> list[Day]:
    """Return the complete days of a page's period, those that something can be expected of."""
    if outlook is None or not outlook.month.series:
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
    most = _most_unusual(days, _MOST_NAMED)
    if not most:
        return
    items = "".join(f"<li>{_line(view, one)}</li>" for one in sorted(most, key=lambda one: one.day))
    rest = sum(one.band.is_unusual for one in days) - len(most)
    more = f'<div class="tr-note">{rest} more are outside of the band.</div>' if rest else ""
    st.html(f'<ul class="tr-things">{items}</ul>{more}')


def unusual_sentence(view: View[Overview], days: Sequence[Day]) -> str:
    """Name the most unusual day of the period, what it was expected to cost and what made it so, as HTML.

    Nothing where all days were usual. Every number is a link.
    """
    most = _most_unusual(days, 1)
    if not most:
        return ""
    one = most[0]
    text = (
        f"{one.day:%A}, {one.day.day} {one.day:%B}, stands out: {_link('costs', format_estimate(one.cost), view, one)} "
        f"where {_link('costs', _expected(one), view, one, compare='weekdays')} was expected"
    )
    if (cause := _cause(view, one)) is not None:
        filters = {"model": [cause.model]} | ({"feature": [cause.feature]} if cause.feature else {})
        text += f", most of it {html.escape(_name(cause))} ({_link('usage', _amount(cause), view, one, **filters)})"
    rest = sum(one.band.is_unusual for one in days) - 1
    if rest:
        others = "1 other day does" if rest == 1 else f"{rest} other days do"
        text += f"; {_link('costs', others, view)}, too"
    return f"{text}."


def _most_unusual(days: Sequence[Day], most: int) -> list[Day]:
    unusual = [one for one in days if one.band.is_unusual]
    return sorted(unusual, key=lambda one: -abs(one.cost - one.band.expected))[:most]


def _link(page: str, text: str, view: View[Any], one: Day | None = None, **changes: str | list[str]) -> str:
    """Link a text to a page as it is chosen, of one day if one is named."""
    query = view.selection.to_query() | changes
    if one is not None:
        query = {name: value for name, value in query.items() if name not in ("period", "from", "to", "grain")}
        query |= {"period": "custom", "from": one.day.isoformat(), "to": one.day.isoformat()}
    address = f"{page}?{urlencode(query, doseq=True)}" if query else page
    return f'<a href="{html.escape(address)}" target="_self">{html.escape(text)}</a>'


def _line(view: View[Costs], one: Day) -> str:
    cause = _cause(view, one)
    reason = f"; most of it {_name(cause)} ({_amount(cause)} against the day before)" if cause else ""
    return (
        f"<span>{_link('costs', f'{one.day.day} {one.day:%b}', view, one)}: expected {_expected(one)}"
        f'{html.escape(reason)}</span><span class="value">{format_estimate(one.cost)}</span>'
    )


def _expected(one: Day) -> str:
    return f"{format_estimate(max(one.band.low, 0.0))} to {format_estimate(one.band.high)}"


def _name(cause: Contribution) -> str:
    return f"{cause.feature} with {cause.model}" if cause.feature else cause.model


def _amount(cause: Contribution) -> str:
    (amount,) = format_usd_column([cause.amount])
    return with_sign(amount, cause.amount)


def _cause(view: View[Any], one: Day) -> Contribution | None:
    """Return what the day owes its difference to, from the difference to the day before it; None for unknown."""
    start = datetime.combine(one.day, time(), tzinfo=view.zone)
    moments = (start.astimezone(UTC), (start + timedelta(days=1)).astimezone(UTC))
    try:
        drivers = get_drivers(view.viewer, view.selection.window(datetime.now(UTC), view.zone, moments=moments))
    except TreeringError:
        return None  # the day is shown without a reason
    is_above = one.cost > one.band.expected
    return next((cause for cause in drivers.contributions if (cause.amount > 0) == is_above), None)
