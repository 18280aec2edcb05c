"""Overview: what was spent and used, and whether it runs well."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.figures import charts, colours, frames
from dashboard.panels import cards
from dashboard.panels.bound import draw_choice
from dashboard.panels.frame import View, open_page
from dashboard.panels.narrow import draw_time_chart
from dashboard.panels.rankings import draw_top
from dashboard.panels.story import draw_story
from dashboard.reads.pages import get_overview
from ingest.documents.month import Calendar
from ingest.documents.words import format_count, format_duration, format_usd

if TYPE_CHECKING:
    from dashboard.reads.month import Outlook
    from ingest.documents.pages import Overview

TRENDS: dict[str, tuple[frames.Measure, charts.Unit]] = {
    "Spend": (frames.COST, "usd"),
    "Requests": (frames.REQUESTS, "requests"),
    "Tokens": (frames.TOKENS, "tokens"),
}
COURSES: dict[str, frames.Measure] = {
    "cost": frames.COST,
    "requests": frames.REQUESTS,
    "tokens": frames.TOKENS,
    "errors": frames.Measure(lambda p: p.errors / p.requests if p.requests else None, lambda _: "", empty=None),
    "p90": frames.duration_of(lambda p: p.latency_p90_ms),
}


def draw_figures(view: View[Overview], document: Overview, outlook_now: Outlook | None) -> None:
    """Draw what the sentences above do not say: the period's course, and whether it runs well."""
    now, before, phrase = document.totals, document.previous, view.selection.phrase
    today = outlook_now.month.today if outlook_now else Calendar()
    courses = frames.courses(document, document.series, COURSES)
    spend = replace(
        cards.spend_card(f"Spend, {phrase}", now, before),
        note=" · ".join(filter(None, (_today(today), cards.cost_note(now)))),
        course=courses["cost"],
    )
    requests = replace(cards.requests_card(now, before), course=courses["requests"])
    if document.access != "member":
        requests = replace(requests, note="by 1 user" if now.users == 1 else f"by {format_count(now.users)} users")
    tokens = replace(cards.tokens_card(now, before), course=courses["tokens"])
    errors = replace(
        cards.error_card(now.requests, now.errors, before.requests, before.errors), course=courses["errors"]
    )
    latency = cards.latency_card(
        "Latency p90",
        now.latency_ms.p90,
        before.latency_ms.p90,
        f"p50 {format_duration(now.latency_ms.p50)}",
        "90% of calls took less, to the last token",
    )
    draw = [spend, requests, tokens, errors, replace(latency, course=courses["p90"])]
    cards.draw_cards(view.key, draw, view.selection.before, is_first_wide=True)


def _today(today: Calendar) -> str:
    if today.requests is None:
        return "" if today.cost is None else f"{format_usd(today.cost)} today"
    return " · ".join(filter(None, (f"{format_usd(today.cost)} today", cards.fallback_note(today.fallback_cost))))


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
