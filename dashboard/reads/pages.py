"""The reads of the pages with figures: one document a page, for a window of time and filters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboard.reads.connection import fetch_window, read_window
from ingest.documents.billing import Reconciliation
from ingest.documents.calls import Calls
from ingest.documents.pages import Costs, Overview, Performance, Usage
from ingest.documents.series import Point, Series

if TYPE_CHECKING:
    from dashboard.reads.viewer import Viewer
    from dashboard.selection.filters import Window

__all__ = [
    "get_calls",
    "get_costs",
    "get_overview",
    "get_performance",
    "get_reconciliation",
    "get_spend_by_day",
    "get_usage",
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


def get_reconciliation(viewer: Viewer, window: Window) -> Reconciliation:
    """Read a provider's bill beside what was recorded. Analysts and ops."""
    return read_window(viewer, Reconciliation, "get_reconciliation", window)


def get_spend_by_day(viewer: Viewer, window: Window) -> tuple[Point, ...]:
    """Read what each day cost; a member's own calls alone. Not cached: the forecast made of it is.

    Args:
        viewer: Who is looking.
        window: The days; its filters give the bucket `day` and the time zone.
    """
    return fetch_window(viewer, Series, "get_series", window).series
