"""The page of one customer, user or tag value: figures, spend over time, what it is spent on, calls and sessions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import streamlit as st

from dashboard.figures import charts, colours, frames
from dashboard.figures.comparison import compare
from dashboard.figures.entity_table import moment_words, noun_of, title_of
from dashboard.panels import cards
from dashboard.panels.call_links import calls_address, calls_query
from dashboard.panels.entity_links import PAGES, choose, current_choice
from dashboard.panels.entity_view import entity_window, only_of
from dashboard.panels.filter_bar import store_selection
from dashboard.panels.narrow import draw_time_chart
from dashboard.panels.rankings import cost_bars
from dashboard.panels.session_links import session_address
from dashboard.panels.unread import draw_unread
from dashboard.reads.entities import get_entities
from dashboard.reads.pages import get_calls, get_costs
from dashboard.selection.entity_choice import SESSION, EntityChoice
from ingest.documents.names import plain_markdown, visible_name
from ingest.documents.words import DASH, format_count, format_exact_usd, format_usd, format_usd_column
from ingest.errors import TreeringError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dashboard.panels.entity_view import EntityView
    from dashboard.selection.filters import Selection
    from ingest.documents.entities import Entities, Entity
    from ingest.documents.pages import Costs, Row

_SHOWN: Final = 8
_PRICED: Final = "The cost of each is that of the calls with a price of their own."


def draw_entity_head(choice: EntityChoice, selection: Selection) -> None:
    """Draw whose page this is, the way back and the ways to its other figures."""
    name = title_of(choice.of or "", choice.by)
    only = only_of(selection, choice).without_call_filters()
    with st.container(
        horizontal=True,
        horizontal_alignment="distribute",
        vertical_alignment="center",
        key="customer_head",
        gap="small",
    ):
        with st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
            st.button(
                "All",
                key="customer_back",
                icon=":material/arrow_back:",
                help="Back to the list",
                on_click=lambda: choose(replace(current_choice(), of=None)),
            )
            cards.draw_title(name, noun_of(choice.by).capitalize())
        with st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
            query = calls_query(only)
            for page, label, icon in (
                ("calls", "Calls", ":material/receipt_long:"),
                ("costs", "Costs", ":material/payments:"),
                ("usage", "Usage", ":material/bar_chart:"),
            ):
                told = f"{label} of {plain_markdown(name)}"
                st.page_link(PAGES / f"{page}.py", label=label, icon=icon, query_params=query, help=told)
            st.button(
                "Filter by it",
                key="customer_only",
                type="tertiary",
                icon=":material/filter_alt:",
                help="Keeps every page to these calls until the filter is removed",
                on_click=store_selection,
                args=(only,),
            )


def draw_entity(view: EntityView, found: Entities, choice: EntityChoice) -> None:
    """Draw the figures of the open row.

    Args:
        view: The page.
        found: The row alone, with its totals.
        choice: Which it is.
    """
    row = next((one for one in found.rows if one.key == choice.of), None)
    only = only_of(view.selection, choice)
    if row is not None:
        _draw_figures(view, found, row)
    try:
        document, ghost = _costs(view, only)
    except TreeringError as error:
        draw_unread(error)
        return
    _draw_trend(view, document, ghost)
    left, right = st.columns(2, gap="small")
    with left:
        _draw_ranking("Features", "feature", document.by_feature, only)
    with right:
        _draw_ranking("Models", "model", document.by_model, only)
    left, right = st.columns(2, gap="small")
    with left, st.container(border=True, key="panel_customer_calls", height="stretch"):
        _draw_calls(view, only)
    with right, st.container(border=True, key="panel_customer_sessions", height="stretch"):
        _draw_sessions(view, only)


def _costs(view: EntityView, only: Selection) -> tuple[Costs, Costs | None]:
    by_model = replace(only, group="model")
    now = datetime.now(UTC)
    document = get_costs(view.viewer, by_model.window(now, view.zone, is_grouped=True))
    window = by_model.compared(now, view.zone, is_grouped=True)
    earlier = get_costs(view.viewer, window) if window is not None else None
    return compare(document, earlier, is_wanted=only.compare != "none"), earlier


def _draw_figures(view: EntityView, found: Entities, row: Entity) -> None:
    first, last_moment = (moment.astimezone(view.zone) for moment in (found.from_time, found.to_time))
    days = ((last_moment - timedelta(microseconds=1)).date() - first.date()).days + 1
    active = f"{_counted(row.active_days, 'active day')} of {days:,}" if row.active_days else ""
    last = f"last call about {moment_words(row.last_seen_at, view.zone)}" if row.last_seen_at else ""
    per_call = f"{format_usd(row.cost_per_request)} each" if row.cost_per_request is not None else ""
    requests = cards.requests_card(found.totals, found.previous)
    draw = [
        cards.spend_card(f"Spend, {view.selection.phrase}", found.totals, found.previous),
        replace(requests, note=" · ".join(filter(None, (per_call, last))), help=f"{requests.help}. {_PRICED}"),
        cards.Card(
            "Per active day",
            format_usd(row.cost_per_day),
            note=active,
            help=f"Exactly {format_exact_usd(row.cost_per_day)}: the spend by the days on which there was a call",
        ),
        cards.Card(
            "Per session",
            format_usd(row.cost_per_session),
            note="not counted" if row.sessions is None else _counted(row.sessions, "session"),
            help="The cost of the calls in sessions by the number of these. Sessions are counted in single calls: "
            "not beyond 250,000 of a period, nor where some are archived.",
        ),
    ]
    cards.draw_cards(view.key, draw, view.selection.before)


def _draw_trend(view: EntityView, document: Costs, earlier: Costs | None) -> None:
    with st.container(border=True, key="panel_customer_trend"):
        cards.draw_title("Spend over time, by model")
        timeline = frames.groups_over_time(document, document.series, frames.COST)
        if earlier is not None:
            timeline = frames.with_ghost(timeline, earlier, earlier.series, frames.COST)
        sums = frames.costs_by_key(document.series)
        shown = colours.colours_of(timeline.series, document.options.names_of("model"))
        cards.draw_legend(timeline.series, shown, format_usd_column([sums[name] for name in timeline.series]))
        chart = charts.stacked_bars(timeline, "usd", colours=shown)
        draw_time_chart(chart, "customer_trend_chart", "Spend over time", view.zone)


def _draw_ranking(title: str, name: str, rows: Sequence[Row], only: Selection) -> None:
    with st.container(border=True, key=f"panel_customer_{name}", height="stretch"):
        cards.draw_title(title)
        bars = [
            replace(bar, address=calls_address(only, **{name: row.key})) if row.key and not row.is_other else bar
            for bar, row in zip(cost_bars(rows), rows, strict=True)
        ]
        cards.draw_bars(bars, (title.removesuffix("s"), "Cost, share"))


def _draw_calls(view: EntityView, only: Selection) -> None:
    cards.draw_title("Most expensive calls")
    window = replace(only, order="cost").calls_window(datetime.now(UTC), view.zone)
    try:
        calls = get_calls(view.viewer, window.with_page(_SHOWN, None)).events
    except TreeringError as error:
        draw_unread(error)
        return
    if not calls:
        st.caption("No call of this period has a price, or its calls are archived.")
        return
    most = max(call.estimated_cost or 0 for call in calls)
    bars = [
        cards.Bar(
            visible_name(call.model),
            format_usd(call.estimated_cost),
            cards.share_of(call.estimated_cost, most),
            address="calls?" + urlencode({"call": f"{call.created_at.isoformat()}_{call.event_id}"}),
            note=f"{moment_words(call.created_at, view.zone)} · {visible_name(call.feature or DASH)} · "
            f"{format_count(call.prompt_tokens + call.completion_tokens)} tokens",
        )
        for call in calls
    ]
    cards.draw_bars(bars, ("Call", "Cost"))


def _draw_sessions(view: EntityView, only: Selection) -> None:
    cards.draw_title("Most expensive sessions")
    try:
        found = get_entities(view.viewer, entity_window(only), EntityChoice(by=SESSION))
    except TreeringError as error:
        draw_unread(error)
        return
    rows = [row for row in found.rows if row.key][:_SHOWN]
    if not rows:
        st.caption("None of these calls belongs to a session, or they are archived.")
        return
    most = max(row.cost or 0 for row in rows)
    bars = [
        cards.Bar(
            visible_name(row.key),
            text,
            cards.share_of(row.cost, most),
            address=session_address(row.key),
            note=f"{moment_words(row.last_seen_at, view.zone) if row.last_seen_at else DASH} · "
            f"{_counted(row.requests, 'request')}",
        )
        for row, text in zip(rows, format_usd_column([row.cost for row in rows]), strict=True)
    ]
    cards.draw_bars(bars, ("Session", "Cost"))
    if found.matched.rows > len(rows):
        st.button(
            "All sessions",
            key="customer_sessions",
            type="tertiary",
            icon=":material/forum:",
            help="Filters by it and lists its sessions",
            on_click=_show_sessions,
            args=(only,),
        )


def _show_sessions(only: Selection) -> None:
    store_selection(only)
    choose(EntityChoice(by=SESSION))


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
