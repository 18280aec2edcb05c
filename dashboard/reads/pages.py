"""The reads of the pages with figures: one document a page, for a window of time and filters."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.reads.connection import fetch_as, fetch_window, read_window
from dashboard.reads.viewer import Viewer  # noqa: TC001 -- st.cache_data reads the annotation
from dashboard.selection.filters import LONGEST_DAYS, METADATA_DAYS, Filters, Window
from ingest.documents.billing import Reconciliation
from ingest.documents.calls import Call, CallContext, Calls
from ingest.documents.month import Hours
from ingest.documents.pages import Costs, Overview, Performance, Usage
from ingest.errors import TreeringError

if TYPE_CHECKING:
    from collections.abc import Iterator

_EXPORT_PAGE: Final = 1000
# An empty page that refreshes itself asks for it each time.
_NEWEST_TTL: Final = timedelta(minutes=1)

__all__ = [
    "each_page_of_calls",
    "get_call_context",
    "get_calls",
    "get_costs",
    "get_hours",
    "get_newest_call",
    "get_one_call",
    "get_overview",
    "get_performance",
    "get_reconciliation",
    "get_usage",
    "read_newest_call",
]


def get_overview(viewer: Viewer, window: Window) -> Overview:
    """Read the document of the Overview page."""
    return read_window(viewer, Overview, "get_overview", window)


def get_usage(viewer: Viewer, window: Window) -> Usage:
    """Read the document of the Usage page."""
    return read_window(viewer, Usage, "get_usage", window)


def get_costs(viewer: Viewer, window: Window) -> Costs:
    """Read the document of the Costs page."""
    return read_window(viewer, Costs, "get_costs", window)


def get_performance(viewer: Viewer, window: Window) -> Performance:
    """Read the document of the Performance page."""
    return read_window(viewer, Performance, "get_performance", window)


def get_calls(viewer: Viewer, window: Window) -> Calls:
    """Read one page of single calls, see `Window.with_page`."""
    return read_window(viewer, Calls, "get_events", window)


def get_one_call(viewer: Viewer, moment: datetime, event_id: str) -> Call | None:
    """Read a single call by its moment and id; None where there is none that the viewer may see."""
    window = Window(moment, moment + timedelta(milliseconds=1)).with_page(200, None)
    return next((call for call in get_calls(viewer, window).events if call.event_id == event_id), None)


def get_call_context(viewer: Viewer, call: Call) -> CallContext:
    """Read how a call compares with its feature's and where in its session it stands."""
    return fetch_as(
        viewer, CallContext, "get_call_context", event_id=call.event_id, created_at=call.created_at.isoformat()
    )


def each_page_of_calls(viewer: Viewer, window: Window) -> Iterator[tuple[Call, ...]]:
    """Read all calls of a window, page by page; never from memory."""
    cursor: str | None = None
    while True:
        page = fetch_window(viewer, Calls, "get_events", window.with_page(_EXPORT_PAGE, cursor))
        yield page.events
        cursor = page.next_cursor
        if cursor is None:
            return


def get_hours(viewer: Viewer, window: Window) -> Hours:
    """Read calls and cost by weekday and hour."""
    filters = tuple(pair for pair in window.filters if pair[0] != "bucket")
    return read_window(viewer, Hours, "get_hours", replace(window, filters=filters))


def get_reconciliation(viewer: Viewer, window: Window) -> Reconciliation:
    """Read a provider's bill beside what was recorded. Analysts and ops."""
    return read_window(viewer, Reconciliation, "get_reconciliation", window)


@st.cache_data(ttl=_NEWEST_TTL, max_entries=256, show_spinner=False)
def get_newest_call(viewer: Viewer, filters: Filters) -> Call | None:
    """Read the newest call that filters leave; None where there is none or the database finds none in time."""
    try:
        return read_newest_call(viewer, filters)
    except TreeringError:
        return None


def read_newest_call(viewer: Viewer, filters: Filters) -> Call | None:
    """Read the same, never from memory, within the longest time that can be asked for."""
    now = datetime.now(UTC)
    span = timedelta(
        days=METADATA_DAYS if any(name in ("metadata", "not_metadata") for name, _ in filters) else LONGEST_DAYS
    )
    window = Window(now - span, now + timedelta(hours=1), filters).with_page(1, None)
    return next(iter(fetch_window(viewer, Calls, "get_events", window).events), None)
