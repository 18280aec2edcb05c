"""Overview: what was spent and used, and whether it runs well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard.figures import charts, colours, frames
from dashboard.panels import cards, outlook
from dashboard.panels.bound import draw_choice
from dashboard.panels.frame import View, open_page
from dashboard.panels.narrow import draw_time_chart
from dashboard.panels.rankings import draw_top
from dashboard.panels.story import draw_story
from dashboard.reads.pages import get_overview
from ingest.documents.month import Calendar
from ingest.documents.words import format_count, format_exact_usd, format_usd

if TYPE_CHECKING:
    from decimal import Decimal

    from dashboard.reads.month import Outlook
    from ingest.documents.pages import Overview

TRENDS: dict[str, tuple[frames.Measure, charts.Unit]] = {
    "Spend": (frames.COST, "usd"),
    "Requests": (frames.REQUESTS, "requests"),
    "Tokens": (frames.TOKENS, "tokens"),
}


def draw_figures(view: View[Overview], document: Overview, outlook_now: Outlook | None) -> None:
    """Draw the key figures."""
    now, before, phrase = document.totals, document.previous, view.selection.phrase
    today, month = (outlook_now.month.today, outlook_now.month.month) if outlook_now else (Calendar(), Calendar())
    forecast = outlook_now.forecast if outlook_now else None
    draw = [
        cards.Card(
            "Spend today",
            format_usd(today.cost),
            note=_counted(today.requests, today.fallback_cost),
            help=f"Exactly {format_exact_usd(today.cost)}, since midnight",
        ),
        cards.Card(
            "Spend this month",
            format_usd(month.cost),
            note=_joined(outlook.month_note(forecast, _counted(month.requests)), month.fallback_cost),
            help=f"Exactly {format_exact_usd(month.cost)}, since the 1st. Costs shows the basis of the forecast.",
        ),
        cards.spend_card(f"Spend, {phrase}", now, before),
        cards.requests_card(now, before),
        cards.tokens_card(now, before),
        cards.error_card(now.requests, now.errors, before.requests, before.errors),
        cards.latency_card(
            "Latency p90",
            now.latency_ms.p90,
            before.latency_ms.p90,
            "to the last token",
            "90% of calls were faster than this",
        ),
        cards.cached_card(now, before) if document.access == "member" else cards.users_card(now, before),
    ]
    cards.draw_cards(view.key, draw, view.selection.before)


def _counted(requests: int | None, fallback_cost: Decimal | None = None) -> str:
    known = "not available with a metadata filter" if requests is None else f"{format_count(requests)} requests"
    return _joined(known, fallback_cost)


def _joined(note: str, fallback_cost: Decimal | None) -> str:
    return " · ".join(filter(None, (note, cards.fallback_note(fallback_cost))))


def draw_trend(view: View[Overview], document: Overview) -> None:
    """Draw the chart of the chosen figure over time."""
    with st.container(border=True, key="panel_overview_trend"):
        head = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
        with head:
            choice = draw_choice("Trend", list(TRENDS), name="trend", key="overview_trend")
        measure, unit = TRENDS[choice]
        timeline = frames.measures_over_time(document, document.series, {choice: measure})
        chart = charts.stacked_bars(timeline, unit, colours=colours.PALETTE[:1])
        draw_time_chart(chart, "overview_trend_chart", f"{choice} over time", view.zone)


view = open_page("overview", "Overview", get_overview)


@st.fragment(run_every=view.refresh_s)
def body() -> None:
    """Read and draw; runs again by itself while live."""
    document = view.read()
    if document is None:
        return
    outlook_now = view.outlook()
    draw_story(view, document, outlook_now)
    draw_figures(view, document, outlook_now)
    draw_trend(view, document)
    draw_top("overview", document, view.selection)


body()
