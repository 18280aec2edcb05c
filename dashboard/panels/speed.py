"""The parts of the Performance page: the calls of models, and the backend's own routes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.figures import charts, colours, frames
from dashboard.panels import cards, tables
from dashboard.panels.bound import draw_choice
from dashboard.panels.call_links import draw_calls_link
from dashboard.panels.narrow import draw_time_chart, narrowing_addresses
from dashboard.panels.rankings import draw_errors
from dashboard.selection.filters import NOT
from ingest.documents.words import format_count, format_duration, format_share

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from streamlit.delta_generator import DeltaGenerator

    from dashboard.selection.filters import Selection
    from ingest.documents.pages import Performance, SpeedRow
    from ingest.documents.series import Point

_PERCENTILES: Final = {
    "p50": frames.duration_of(lambda p: p.latency_p50_ms),
    "p90": frames.duration_of(lambda p: p.latency_p90_ms),
    "p99": frames.duration_of(lambda p: p.latency_p99_ms),
}
_FIRST_TOKEN: Final = {
    "p50": frames.duration_of(lambda p: p.time_to_first_token_p50_ms),
    "p90": frames.duration_of(lambda p: p.time_to_first_token_p90_ms),
    "p99": frames.duration_of(lambda p: p.time_to_first_token_p99_ms),
}
_ERROR_RATE: Final = {
    "Error rate": frames.Measure(
        lambda p: p.errors / p.requests * 100 if p.requests else None,
        lambda p: f"{format_share(p.errors, p.requests)} ({format_count(p.errors)} of {format_count(p.requests)})",
        empty=None,
    )
}
_OUTCOMES: Final = {
    "Succeeded": frames.count_of(lambda p: p.requests - p.errors),
    "Failed": frames.count_of(lambda p: p.errors),
}
_OUTCOME_COLOURS: Final = (colours.PALETTE[1], colours.ERROR_COLOUR)


def draw_calls(page: str, document: Performance, selection: Selection, zone: ZoneInfo) -> None:
    """Draw latency, time to first token, throughput and errors of the model calls."""
    now, before = document.totals, document.previous
    first, first_before = now.time_to_first_token_ms, before.time_to_first_token_ms
    note = f"{format_count(now.latency_ms.count)} measured"
    cards.draw_cards(
        page,
        [
            cards.latency_card("Latency p50", now.latency_ms.p50, before.latency_ms.p50, note, "Half were faster"),
            cards.latency_card(
                "Latency p99",
                now.latency_ms.p99,
                before.latency_ms.p99,
                f"p90 {format_duration(now.latency_ms.p90)}",
                "99 of 100 were faster",
            ),
            cards.latency_card(
                "First token p50",
                first.p50,
                first_before.p50,
                f"p90 {format_duration(first.p90)}",
                "From the request to the first token of a stream",
            ),
            cards.error_card(now.requests, now.errors, before.requests, before.errors),
        ],
        selection.before,
    )
    with _draw_lines(document, page, "latency", "Latency", "to the last token", _PERCENTILES, document.series, zone):
        _draw_models(document.by_model, selection)
    left, right = st.columns(2, gap="small")
    with left:
        _draw_lines(
            document, page, "first", "Time to first token", "streamed calls", _FIRST_TOKEN, document.series, zone
        )
    with right:
        _draw_outcomes(document, page, "Throughput", document.series, zone)
    _draw_table(page, {"Model": document.by_model, "Feature": document.by_feature}, selection)
    left, right = st.columns(2, gap="small")
    with left:
        _draw_error_rate(document, page, document.series, zone)
    with right:
        draw_errors(page, document.errors_by_type, selection)


def draw_routes(page: str, document: Performance, selection: Selection, zone: ZoneInfo) -> None:
    """Draw latency, throughput and errors of the backend's routes."""
    routes = document.routes
    if any(name.removeprefix(NOT) != "environment" for name, _ in selection.asked()):
        st.caption("A route serves calls of many kinds: of the filters only the environment counts here.")
    if routes.requests == 0:
        with st.container(border=True, key=f"panel_{page}_no_routes"):
            cards.draw_title(
                "No routes measured in this period", "Add the middleware to measure each request to your backend:"
            )
            st.code("app.add_middleware(PerformanceMiddleware, sample_rate=1.0)", language="python")
        return
    cards.draw_cards(
        page,
        [
            cards.Card("Requests", format_count(routes.requests), note="to the backend's routes"),
            cards.Card("Latency p50", format_duration(routes.latency_ms.p50), note="to the last byte"),
            cards.Card(
                "Latency p99",
                format_duration(routes.latency_ms.p99),
                note=f"p90 {format_duration(routes.latency_ms.p90)}",
            ),
            cards.error_card(routes.requests, routes.errors, 0, 0),
        ],
    )
    left, right = st.columns(2, gap="small")
    with left:
        _draw_lines(document, page, "route_latency", "Latency", "to the last byte", _PERCENTILES, routes.series, zone)
    with right:
        _draw_outcomes(document, page, "Throughput", routes.series, zone)
    with st.container(border=True, key=f"panel_{page}_routes_table"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            cards.draw_title("Slowest routes")
            tables.draw_download(page, "routes", routes.by_route)
        tables.draw_speed(f"{page}_routes", "Route", routes.by_route, selection, is_route=True)


def _draw_lines(
    document: Performance,
    page: str,
    name: str,
    title: str,
    subtitle: str,
    measures: dict[str, frames.Measure],
    points: Sequence[Point],
    zone: ZoneInfo,
) -> DeltaGenerator:
    """Draw a panel with lines; return the place between its legend and the chart."""
    with st.container(border=True, key=f"panel_{page}_{name}", height="stretch"):
        cards.draw_title(title, subtitle)
        timeline = frames.measures_over_time(document, points, measures)
        cards.draw_legend(timeline.series, colours.PALETTE[: len(timeline.series)])
        between = st.container(gap=None)
        chart = charts.lines(timeline, "ms", colours=colours.PALETTE[: len(timeline.series)])
        draw_time_chart(chart, f"{page}_{name}_chart", f"{title} over time, {subtitle}", zone)
    return between


def _draw_models(rows: Sequence[SpeedRow], selection: Selection) -> None:
    """Draw the p99 of each model, whose name leaves its calls alone."""
    shown = [row for row in rows if row.key and not row.is_other]
    if not shown:
        return
    names = [row.key or "" for row in shown]
    cards.draw_legend(
        names,
        [""] * len(names),
        [f"p99 {format_duration(row.latency_p99_ms)}" for row in shown],
        narrowing_addresses("performance", replace(selection, group="model"), names),
    )


def _draw_outcomes(document: Performance, page: str, title: str, points: Sequence[Point], zone: ZoneInfo) -> None:
    with st.container(border=True, key=f"panel_{page}_outcomes", height="stretch"):
        cards.draw_title(title, "by outcome")
        timeline = frames.measures_over_time(document, points, _OUTCOMES)
        totals = frames.totals_by_series(timeline)
        values = [format_count(round(totals[name])) for name in timeline.series]
        cards.draw_legend(timeline.series, _OUTCOME_COLOURS, values)
        chart = charts.stacked_bars(timeline, "requests", colours=_OUTCOME_COLOURS)
        draw_time_chart(chart, f"{page}_outcomes_chart", f"{title} over time", zone)


def _draw_error_rate(document: Performance, page: str, points: Sequence[Point], zone: ZoneInfo) -> None:
    with st.container(border=True, key=f"panel_{page}_error_rate", height="stretch"):
        cards.draw_title("Error rate", "share of calls that failed")
        timeline = frames.measures_over_time(document, points, _ERROR_RATE)
        chart = charts.stacked_bars(timeline, "percent", colours=[colours.ERROR_COLOUR], height=200)
        draw_time_chart(chart, f"{page}_error_rate_chart", "Error rate over time", zone)


def _draw_table(page: str, by: dict[str, tuple[SpeedRow, ...]], selection: Selection) -> None:
    with st.container(border=True, key=f"panel_{page}_table"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            name = draw_choice("Table", list(by), name="table", key=f"{page}_by")
            tables.draw_download(page, f"performance-by-{name.lower()}", by[name])
        chosen = tables.draw_speed(page, name, by[name], selection)
        draw_calls_link(page, selection, name, by[name], chosen)
