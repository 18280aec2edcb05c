"""Costs: where the money goes and how certain the sums are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.figures import charts, colours, frames
from dashboard.panels import cards, checks, contract, outlook, tables
from dashboard.panels.bound import draw_choice
from dashboard.panels.call_links import draw_calls_link, rankings_by_tenant
from dashboard.panels.filter_bar import draw_group
from dashboard.panels.frame import View, open_page
from dashboard.panels.narrow import draw_time_chart, narrowing_addresses
from dashboard.panels.shape import draw_shape
from dashboard.panels.statement import draw_statement
from dashboard.panels.unusual import band_frame, days_with_bands, draw_unusual
from dashboard.reads.pages import get_costs
from ingest.documents.document import LIMITED
from ingest.documents.words import format_change, format_exact_usd, format_usd, format_usd_column, sum_of

if TYPE_CHECKING:
    from ingest.documents.pages import Costs


def draw_figures(view: View[Costs], document: Costs) -> None:
    """Draw the key figures."""
    now, before = document.totals, document.previous
    per_call, per_call_before = cards.cost_per_call(now), cards.cost_per_call(before)
    per_million, per_million_before = cards.cost_per_million(now), cards.cost_per_million(before)
    draw = [
        cards.spend_card("Spend", now, before),
        cards.Card(
            "Cost per request",
            format_usd(per_call),
            format_change(per_call, per_call_before),
            "of those with a price",
            colour="inverse",
        ),
        cards.Card(
            "Cost per million tokens",
            format_usd(per_million),
            format_change(per_million, per_million_before),
            "of models with a price, prompt and completion",
            "Cost and tokens of the models, features and other dimensions of which every call has a price",
            "inverse",
        ),
        cards.priced_card(now),
    ]
    cards.draw_cards(view.key, draw, view.selection.before)


def draw_trend(view: View[Costs], document: Costs) -> None:
    """Draw the cost over time, split by the chosen dimension or beside the tokens."""
    with st.container(border=True, key="panel_costs_trend"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            trend = draw_choice("Trend", ["Spend over time", "With tokens"], name="trend", key="costs_trend")
            draw_group("costs", view.selection, document.options, is_user_shown=document.access != "member")
        if trend == "With tokens":
            points = frames.summed(document.series)
            cost = frames.measures_over_time(document, points, {"Spend": frames.COST})
            tokens = frames.measures_over_time(document, points, {"Tokens": frames.TOKENS})
            cards.draw_legend(["Spend", "Tokens"], [colours.PALETTE[0], colours.PALETTE[2]])
            chart = charts.cost_and_tokens(cost, tokens)
            draw_time_chart(chart, "costs_tokens_chart", "Spend and tokens over time", view.zone)
            return
        timeline = frames.groups_over_time(document, document.series, frames.COST)
        if (earlier := view.earlier()) is not None:
            timeline = frames.with_ghost(timeline, earlier, earlier.series, frames.COST)
        sums = frames.costs_by_key(document.series)
        amounts = [sums[name] for name in timeline.series]
        values = format_usd_column(amounts, sum_of(amounts))
        shown = colours.colours_of(timeline.series, document.options.names_of(view.selection.group))
        cards.draw_legend(
            timeline.series,
            shown,
            values,
            narrowing_addresses("costs", view.selection, timeline.series),
            [format_exact_usd(amount) for amount in amounts],
        )
        days = days_with_bands(document, view.outlook()) if document.bucket == "day" else []
        chart = charts.stacked_bars(timeline, "usd", colours=shown, band=band_frame(days))
        draw_time_chart(chart, "costs_trend_chart", "Spend over time", view.zone)
        if days:
            st.caption("The grey band holds 19 of 20 usual days, as forecast from the day before.")
        draw_unusual(view, days)


def draw_table(view: View[Costs], document: Costs) -> None:
    """Draw one ranking at a time."""
    by = {
        "Model": document.by_model,
        "Feature": document.by_feature,
        "User": document.by_user,
        "Provider": document.by_provider,
        "Environment": document.by_environment,
    }
    by |= rankings_by_tenant(document)
    if document.access == "member":
        del by["User"]
    with st.container(border=True, key="panel_costs_table"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            name = draw_choice("Table", list(by), name="table", key="costs_by")
            tables.draw_download("costs", f"costs-by-{name.lower()}", by[name])
        chosen = tables.draw_costs("costs", name, by[name], view.selection)
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
        if (month := view.outlook()) is not None:
            outlook.draw_month(month.forecast, month.month.budgets)
        draw_shape(view, document)
        if document.access not in LIMITED:
            contract.draw_contract(view.viewer, datetime.now(UTC))
        checks.draw_checks(view.viewer, view.selection, document)
        draw_table(view, document)


body()
draw_statement(view.viewer, view.selection, view.zone)
