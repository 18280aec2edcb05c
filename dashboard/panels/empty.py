"""A page without calls: how to record the first one, which is waited for, or the way to the newest one that matches."""

from __future__ import annotations

import html
import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.panels import filter_bar
from dashboard.panels.call_links import PAGE
from dashboard.panels.states import draw_action, draw_state
from dashboard.reads.connection import forget_windows
from dashboard.reads.pages import get_newest_call, read_newest_call
from dashboard.selection.filters import METADATA_DAYS
from ingest.documents.names import visible_name
from ingest.documents.words import format_usd
from ingest.errors import TreeringError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from dashboard.reads.viewer import Viewer
    from dashboard.selection.filters import Selection
    from ingest.documents.calls import Call

_SNIPPET: Final = """from ingest import record_usage

record_usage(user_id="user_2abc", model="gpt-4o", prompt_tokens=150, completion_tokens=50, feature="chat")
"""
_POLL_S: Final = 2
_FIRST: Final = "first_call"
_IS_NEW: Final = "first_call_is_new"
_SHOWN_AT: Final = "first_call_shown_at"


def draw_empty(key: str, viewer: Viewer, selection: Selection, newest: datetime | None, zone: ZoneInfo) -> None:
    """Say that there is nothing to show: the first call to record, or the way to the newest one.

    Args:
        key: Short name of the page.
        viewer: Who is looking.
        selection: What is chosen.
        newest: When the newest call of all was made; None before the first one.
        zone: In which times are written.
    """
    if newest is None:
        _draw_start(key, viewer)
        return
    match = get_newest_call(viewer, selection.call_filters()) if selection.filter_count else None
    moment = (match.created_at if match else newest).astimezone(zone)
    when = f"{moment.day} {moment:%B %Y} at {moment:%H:%M}"
    if match:
        begin = selection.moments(datetime.now(UTC), zone)[0].astimezone(zone)
        span = f"since {begin.day} {begin:%B %Y}" if moment < begin else "in this period"
        text = f"The filters match nothing {span}. The newest matching call was on {when}."
    else:
        text = f"The most recent call was on {when}."
        if selection.filter_count:
            of = f" of the last {METADATA_DAYS} days" if selection.has_metadata else ""
            text = f"No call{of} matches the filters. {text}"
    box = draw_state(f"{key}_empty", ":material/search_off:", "Nothing in this period", text)
    buttons = box.container(horizontal=True, horizontal_alignment="center")
    if selection.filter_count:
        draw_action(buttons, "Clear filters", f"{key}_empty_clear", filter_bar.clear_filters, is_primary=match is None)
        if match is None:  # another period would be as empty
            return
    label = f"Show {moment.day} {moment:%b}, {moment:%H:%M}" if match else "Show the most recent days"
    draw_action(buttons, label, f"{key}_empty_newest", filter_bar.show_days_around, moment, is_primary=True)


def draw_first_call() -> None:
    """Draw that the first call has arrived, with the way to it, until somebody has seen it."""
    call: Call | None = st.session_state.get(_FIRST)
    if call is None:
        return
    if st.session_state.pop(_IS_NEW, False):
        st.balloons()
    tokens = f"{call.prompt_tokens + call.completion_tokens:,} tokens"
    facts = (visible_name(call.model), tokens, format_usd(call.estimated_cost), visible_name(call.user_id))
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="first_call", gap="small"
    ):
        st.html(
            '<div class="tr-title" role="status">The first call arrived</div>'
            f'<div class="tr-facts">{html.escape(" · ".join(facts))}</div>'
        )
        with st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
            st.page_link(
                PAGE,
                label="Open the call",
                icon=":material/receipt_long:",
                query_params={"call": f"{call.created_at.isoformat()}_{call.event_id}"},
            )
            if st.button("Done", key="first_call_done", type="tertiary", on_click=st.session_state.pop, args=(_FIRST,)):
                st.rerun()


def _draw_start(key: str, viewer: Viewer) -> None:
    box = draw_state(
        f"{key}_empty",
        ":material/potted_plant:",
        "No calls recorded yet",
        "Record the first one from your backend and it appears here within seconds.",
    )
    box.code(_SNIPPET, language="python", width=620, wrap_lines=True)
    with box:
        _wait_for_call(viewer)


@st.fragment(run_every=_POLL_S)
def _wait_for_call(viewer: Viewer) -> None:
    """Look for the first call; once it is there, the whole page runs again."""
    try:
        call = read_newest_call(viewer, ())
    except TreeringError:  # the page's own read reports it
        call = None
    if call is None:
        st.html('<div class="tr-waiting" role="status">Waiting for the first call</div>')
        return
    now = time.monotonic()
    if now - st.session_state.get(_SHOWN_AT, -math.inf) < _POLL_S:
        # It is stored and not counted yet: the page that ran for it is empty still, and runs again at the next look.
        st.html('<div class="tr-waiting" role="status">The first call is being counted</div>')
        return
    st.session_state[_SHOWN_AT] = now
    if st.session_state.get(_FIRST) != call:
        st.session_state[_FIRST], st.session_state[_IS_NEW] = call, True
    forget_windows()
    st.rerun()
