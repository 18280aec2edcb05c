"""Costs: where the money goes and how certain the sums are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.figures import charts, frames
from dashboard.panels import cards, checks, contract, outlook, tables
from dashboard.panels.call_links import draw_calls_link
from dashboard.panels.filter_bar import draw_group
from dashboard.panels.frame import View, open_page
from dashboard.reads.pages import get_costs
from ingest.documents.words import format_change, format_usd

if TYPE_CHECKING:
    from ingest.documents.pages import Costs


def draw_figures(view: View[Costs], document: Costs) -> None:
    """Draw the key figures."""
    now, before = document.totals, document.previous
    per_call, per_call_before = cards.cost_per_call(now), cards.cost_per_call(before)
    per_million = now.cost / now.total_tokens * 1_000_000 if now.cost is not None and now.total_tokens else None
    draw = [
        cards.spend_card("Spend", now, before),
        cards.Card(
            "Cost per request",
            format_usd(per_call),
            format_change(per_call, per_call_before),
            "average",
            colour="inverse",
        ),
        cards.Card("Cost per million tokens", format_usd(per_million), note="prompt and completion together"),
        cards.priced_card(now),
    ]
    cards.draw_cards(view.key, draw, view.selection.short)


def draw_trend(view: View[Costs], document: Costs) -> None:
    """Draw the cost over time, split by the chosen dimension."""
    with st.container(border=True, key="panel_costs_trend"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            cards.draw_title("Spend over time")
            draw_group("costs", view.selection, is_user_shown=document.access != "member")
        timeline = frames.groups_over_time(document, document.series, frames.COST)
        sums = frames.costs_by_key(document.series)
        values = [format_usd(sums[name]) for name in timeline.series]
        cards.draw_legend(timeline.series, charts.colours_of(timeline.series), values)
        st.altair_chart(charts.stacked_bars(timeline, "usd"), key="costs_trend_chart", alt="Spend over time")


def draw_table(view: View[Costs], document: Costs) -> None:
    """Draw one ranking at a time."""
    by = {
        "Model": document.by_model,
        "Feature": document.by_feature,
        "User": document.by_user,
        "Provider": document.by_provider,
        "Environment": document.by_environment,
    }
    if document.access == "member":
        del by["User"]
    with st.container(border=True, key="panel_costs_table"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            name = st.segmented_control(
                "Table", list(by), default="Model", required=True, key="costs_by", label_visibility="collapsed"
            )
            tables.draw_download("costs", f"costs-by-{name.lower()}", by[name])
        chosen = tables.draw_costs("costs", name, by[name])
        draw_calls_link("costs", view.selection, name, by[name], chosen)


view = open_page("costs", "Costs", get_costs, is_grouped=True)


@st.fragment(run_every=view.refresh_s)
def body() -> None:
    """Read and draw; runs again by itself while live."""
    document = view.read()
    if document is not None:
        draw_figures(view, document)
        checks.draw_repriced(document.repriced, view.zone)
        draw_trend(view, document)
        outlook.draw_month(view.outlook())
        if document.access != "member":
            contract.draw_contract(view.viewer, datetime.now(UTC))
        checks.draw_checks(view.viewer, view.selection, document)
        draw_table(view, document)


body()
