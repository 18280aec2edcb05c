"""The first screen of the Overview: how much, against what, why, and what to do now."""

from __future__ import annotations

import calendar
import html
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard.figures import headline
from dashboard.figures.month_chart import COLOURS, LAST, LEGEND, growth_of, month_chart
from dashboard.figures.waterfall import is_cut, waterfall
from dashboard.panels.cards import draw_legend, draw_title, fallback_note
from dashboard.panels.savings import SPLIT_BY
from dashboard.panels.unusual import days_with_bands, unusual_sentence
from dashboard.reads.drivers import get_drivers
from dashboard.reads.month import days_of
from dashboard.reads.savings import get_savings_plan
from ingest.documents.document import LIMITED
from ingest.documents.words import format_count, format_usd
from ingest.errors import TreeringError
from ingest.savings.plan import headline as suggest

if TYPE_CHECKING:
    from dashboard.panels.frame import View
    from dashboard.reads.month import Outlook
    from ingest.documents.pages import Overview
    from ingest.savings.drivers import CostDrivers

_MOST_THINGS: Final = 3


def draw_story(view: View[Overview], document: Overview, outlook: Outlook | None) -> None:
    """Draw the headline, the month, what changed, and three things to do."""
    drivers = _drivers(view, document)
    _draw_headline(view, document, outlook, drivers)
    left, right = st.columns(2, gap="small")
    with left:
        _draw_month(outlook)
    with right:
        _draw_changes(drivers, document)
    _draw_things(view, document)


def _drivers(view: View[Overview], document: Overview) -> CostDrivers | None:
    begin, start = document.data_begin_at, document.previous_from
    if begin is not None and start is not None and begin > start:
        return None
    try:
        return get_drivers(view.viewer, view.selection.window(datetime.now(UTC), view.zone))
    except TreeringError:
        return None  # a filter that the rollups do not know, or an older database: the page stands without reasons


def _draw_headline(
    view: View[Overview], document: Overview, outlook: Outlook | None, drivers: CostDrivers | None
) -> None:
    sentences = []
    if outlook is not None:
        now = outlook.month.generated_at.astimezone(ZoneInfo(outlook.month.timezone))
        growth = growth_of(days_of(outlook.month), now, None)
        last = now.replace(day=1) - timedelta(days=1)
        earlier = (f"{last:%B}", growth.last_total) if growth.last_total is not None else None
        sentences += [
            headline.month_sentence(f"{now:%B}", outlook.month.month.cost, outlook.forecast, earlier, view.selection),
            headline.budget_sentence(outlook.month.budgets),
        ]
    sentences += [
        headline.drivers_sentence(drivers, view.selection),
        unusual_sentence(view, days_with_bands(document, outlook)),
        headline.alerts_sentence(document.firing_alerts),
    ]
    st.html(f'<p class="tr-headline">{" ".join(filter(None, sentences))}</p>')


def _draw_month(outlook: Outlook | None) -> None:
    with st.container(border=True, key="panel_overview_month", height="stretch"):
        if outlook is None or not outlook.month.series:
            draw_title("The month", "Not available with a metadata filter or without calls.")
            return
        now = outlook.month.generated_at.astimezone(ZoneInfo(outlook.month.timezone))
        growth = growth_of(days_of(outlook.month), now, outlook.forecast)
        monthly = [one for one in outlook.month.budgets if one.period == "month" and not one.scope]
        budget = float(monthly[0].amount) if monthly else None
        what = filter(None, ("every call with a known price", fallback_note(outlook.month.month.fallback_cost)))
        draw_title(f"{calendar.month_name[now.month]}, summed", " · ".join(what))
        names = [name for name in COLOURS if name != LAST or growth.last_total is not None]
        draw_legend(names, [LEGEND[name] for name in names])
        st.altair_chart(
            month_chart(growth, budget), key="overview_month_chart", alt="Spend of the month, summed by day"
        )


def _draw_changes(drivers: CostDrivers | None, document: Overview) -> None:
    with st.container(border=True, key="panel_overview_changes", height="stretch"):
        if drivers is None or not (drivers.previous_cost or drivers.cost):
            draw_title("What changed", "Nothing to compare with yet.")
            return
        length = document.to_time - document.from_time
        days = length // timedelta(days=1)
        cut = ", the axis does not begin at zero" if is_cut(drivers) else ""
        span = f"{days} days" if days > 1 else f"{round(length / timedelta(hours=1))} hours"
        draw_title("What changed", f"against the {span} before; the steps add up exactly{cut}")
        st.altair_chart(waterfall(drivers), key="overview_changes_chart", alt="From the cost before to the cost now")


def _draw_things(view: View[Overview], document: Overview) -> None:
    things = _things(view, document)[:_MOST_THINGS]
    with st.container(border=True, key="panel_overview_things"):
        draw_title("To do")
        if not things:
            st.caption("Nothing: no alert is firing, every call has a price, and no saving was found.")
            return
        items = "".join(
            f'<li><a href="{html.escape(address)}" target="_self">{html.escape(text)}</a>'
            f'<span class="value">{html.escape(value)}</span></li>'
            for text, value, address in things
        )
        st.html(f'<ol class="tr-things">{items}</ol>')


def _things(view: View[Overview], document: Overview) -> list[tuple[str, str, str]]:
    """Return what to do, the most urgent first: what it is, its size, and where."""
    found: list[tuple[str, str, str]] = []
    if document.firing_alerts:
        noun = "alert that is" if document.firing_alerts == 1 else "alerts that are"
        found.append((f"Look at the {noun} firing", str(document.firing_alerts), "alerts"))
    totals = document.totals
    without = totals.unpriced_requests + totals.fallback_requests
    if without:
        found.append(("Add prices for calls that have none", f"{format_count(without)} calls", "settings?tab=prices"))
    if document.access in LIMITED:
        return found
    filters = tuple((name, getattr(view.selection, name)) for name in SPLIT_BY if getattr(view.selection, name))
    try:
        plan = get_savings_plan(view.viewer, filters)
    except TreeringError:
        return found  # Costs says why
    savings = [one for one in plan.suggestions if not one.needs_evaluation]
    return found + [
        (suggest(one), f"{format_usd(one.saved_per_month)} a month", "costs") for one in savings[:_MOST_THINGS]
    ]
