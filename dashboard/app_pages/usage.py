"""Usage: how many calls and tokens, by whom and for what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard.figures import charts, colours, frames
from dashboard.panels import cards, tables
from dashboard.panels.bound import draw_choice
from dashboard.panels.call_links import draw_calls_link, rankings_by_tenant
from dashboard.panels.filter_bar import draw_group
from dashboard.panels.frame import View, open_page
from dashboard.panels.narrow import draw_time_chart, narrowing_addresses
from dashboard.reads.pages import get_usage
from ingest.documents.words import format_change, format_count, format_share

if TYPE_CHECKING:
    from ingest.documents.pages import Usage

TRENDS: dict[str, tuple[frames.Measure, charts.Unit]] = {
    "Tokens": (frames.TOKENS, "tokens"),
    "Requests": (frames.REQUESTS, "requests"),
}


def draw_figures(view: View[Usage], document: Usage) -> None:
    """Draw the key figures."""
    now, before = document.totals, document.previous
    prompt = cards.Card(
        "Prompt tokens",
        format_count(now.prompt_tokens),
        format_change(now.prompt_tokens, before.prompt_tokens),
        f"{format_share(now.cached_tokens, now.prompt_tokens)} cached",
        f"Exactly {now.prompt_tokens:,}, {now.cached_tokens:,} of them cached",
    )
    completion = cards.Card(
        "Completion tokens",
        format_count(now.completion_tokens),
        format_change(now.completion_tokens, before.completion_tokens),
        f"{format_share(now.reasoning_tokens, now.completion_tokens)} reasoning",
        f"Exactly {now.completion_tokens:,}, {now.reasoning_tokens:,} of them reasoning",
    )
    users = cards.cached_card(now, before) if document.access == "member" else cards.users_card(now, before)
    cards.draw_cards(view.key, [cards.requests_card(now, before), prompt, completion, users], view.selection.before)


def draw_trend(view: View[Usage], document: Usage) -> None:
    """Draw tokens or requests over time, split by the chosen dimension."""
    with st.container(border=True, key="panel_usage_trend"):
        head = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
        with head:
            choice = draw_choice("Trend", list(TRENDS), name="trend", key="usage_trend")
            draw_group("usage", view.selection, document.options, is_user_shown=document.access != "member")
        measure, unit = TRENDS[choice]
        timeline = frames.groups_over_time(document, document.series, measure)
        if (earlier := view.earlier()) is not None:
            timeline = frames.with_ghost(timeline, earlier, earlier.series, measure)
        totals = frames.totals_by_series(timeline)
        values = [format_count(round(totals[name])) for name in timeline.series]
        shown = colours.colours_of(timeline.series, document.options.names_of(view.selection.group))
        cards.draw_legend(timeline.series, shown, values, narrowing_addresses("usage", view.selection, timeline.series))
        chart = charts.stacked_bars(timeline, unit, colours=shown)
        draw_time_chart(chart, "usage_trend_chart", f"{choice} over time", view.zone)


def draw_table(view: View[Usage], document: Usage) -> None:
    """Draw one ranking at a time."""
    by = {
        "Model": document.by_model,
        "Feature": document.by_feature,
        "User": document.by_user,
        "Operation": document.by_operation,
        "Status": document.by_status,
    }
    by |= rankings_by_tenant(document)
    if document.access == "member":
        del by["User"]
    with st.container(border=True, key="panel_usage_table"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            name = draw_choice("Table", list(by), name="table", key="usage_by")
            tables.draw_download("usage", f"usage-by-{name.lower()}", by[name])
        chosen = tables.draw_usage("usage", name, by[name], view.selection)
        draw_calls_link("usage", view.selection, name, by[name], chosen)


view = open_page("usage", "Usage", get_usage, is_grouped=True)


@st.fragment(run_every=view.refresh_s)
def body() -> None:
    """Read and draw; runs again by itself while live."""
    document = view.read()
    if document is not None:
        draw_figures(view, document)
        draw_trend(view, document)
        draw_table(view, document)


body()
