"""Everything about one call: what it cost and why, how that compares, and the ways to related calls."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.figures.call_prices import explain_call
from dashboard.figures.call_table import facts_of
from dashboard.figures.call_words import describe_cost, describe_session
from dashboard.panels.call_links import PAGE, calls_query
from dashboard.panels.cards import draw_title
from dashboard.panels.filter_bar import store_selection
from dashboard.panels.session_links import draw_session_link
from dashboard.panels.states import draw_action
from dashboard.reads.pages import get_call_context
from dashboard.reads.prices import get_prices
from ingest.errors import PermissionDeniedError, TreeringError

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

    from dashboard.reads.viewer import Viewer
    from dashboard.selection.filters import Selection
    from ingest.documents.calls import Call


def draw_details(
    viewer: Viewer,
    selection: Selection,
    zone: ZoneInfo,
    call: Call,
    close: Callable[[], None],
    *,
    is_member: bool,
    is_in_session: bool = False,
) -> None:
    """Draw a call with a button that closes it.

    Args:
        viewer: Who is looking.
        selection: What is chosen, where the ways to related calls begin.
        zone: In which times are written.
        call: The call.
        close: What the button does.
        is_member: Whether the viewer sees their own calls alone.
        is_in_session: Whether this is the page of its session, from which ways lead to the page of calls.
    """
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        draw_title(call.model, f"{call.operation} by {call.user_id}")
        st.button("Close", key="calls_close", icon=":material/close:", type="tertiary", on_click=close)
    _draw_comparison(viewer, call, is_in_session=is_in_session)
    _draw_related_calls(selection, call, is_member=is_member, is_in_session=is_in_session)
    facts = facts_of(call, zone)
    _draw_facts("Cost", facts.pop("Cost"))
    _draw_price(viewer, call)
    if call.metadata:
        _draw_heading("Metadata")
        st.json(call.metadata, expanded=2)
    for heading, lines in facts.items():
        _draw_facts(heading, lines)


def _draw_comparison(viewer: Viewer, call: Call, *, is_in_session: bool) -> None:
    """Say how the call compares, and where in its session it stands unless that is in sight; read once for a call."""
    known: tuple[tuple[str, bool], str] | None = st.session_state.get("calls_context")
    key = (call.event_id, is_in_session)
    if known is None or known[0] != key:
        try:
            context = get_call_context(viewer, call)
        except TreeringError:
            context = None  # the call itself is what matters
        place = "" if is_in_session else describe_session(call, context)
        known = (key, " ".join(filter(None, (describe_cost(call, context), place))))
        st.session_state["calls_context"] = known
    if known[1]:
        st.html(f'<p class="tr-sentence">{html.escape(known[1])}</p>')


def _draw_price(viewer: Viewer, call: Call) -> None:
    known: tuple[str, list[tuple[str, str]], list[str]] | None = st.session_state.get("calls_price")
    if known is None or known[0] != call.event_id:
        try:
            book = get_prices(viewer).book
        except PermissionDeniedError:
            known = (call.event_id, [], ["Only analysts and ops can see prices."])
        except TreeringError as error:
            known = (call.event_id, [], [f"The prices could not be read: {error}"])
        else:
            known = (call.event_id, *explain_call(book, call))
        st.session_state["calls_price"] = known
    _, parts, steps = known
    _draw_facts("Cost components", parts)
    _draw_heading("Why this price")
    st.html(f'<ol class="tr-steps">{"".join(f"<li>{html.escape(step)}</li>" for step in steps)}</ol>')


def _draw_related_calls(chosen: Selection, call: Call, *, is_member: bool, is_in_session: bool) -> None:
    """Draw links to the call's session and to related calls."""
    ways = {}
    if not is_member:
        ways["All calls by this user"] = chosen.without_filters().with_filter("user_id", [call.user_id])
    if call.error_type:
        ways["All calls with this error"] = chosen.without_filters().with_filter("error_type", [call.error_type])
    has_session = bool(call.session_id) and not is_in_session
    if not ways and not has_session:
        return
    box = st.container(horizontal=True, vertical_alignment="center", gap="small", key="calls_ways")
    if has_session:
        with box:
            draw_session_link(call.session_id or "")
    for number, (label, selection) in enumerate(ways.items()):
        if is_in_session:
            box.page_link(PAGE, label=label, icon=":material/receipt_long:", query_params=calls_query(selection))
        else:
            draw_action(box, label, f"calls_way_{number}", store_selection, selection)


def _draw_heading(text: str) -> None:
    st.html(f'<div class="tr-heading" role="heading" aria-level="3">{html.escape(text)}</div>')


def _draw_facts(heading: str, lines: list[tuple[str, str]]) -> None:
    if lines:
        items = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in lines)
        _draw_heading(heading)
        st.html(f'<dl class="tr-list">{items}</dl>')
