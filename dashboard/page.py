"""The frame of every page: header with controls, notes, and what is shown instead of figures when there are none."""

from __future__ import annotations

import html
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import filter_bar, queries
from dashboard.documents import Options, Page
from dashboard.filters import PERIODS, Selection, viewer_zone
from dashboard.frames import BUCKET_UNITS
from dashboard.identity import Viewer, require_viewer
from dashboard.outlook import month_outlook
from ingest.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    FunctionNotFoundError,
    PermissionDeniedError,
    TreeringError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.filters import Window
    from ingest.forecast import MonthForecast

D = TypeVar("D", bound=Page)

# The worker counts once a second: more rows than this, or rows waiting longer, mean that figures lag behind.
MANY_PENDING_ROWS: Final = 20_000
LONG_PENDING_S: Final = 30.0

_SNIPPET: Final = """from ingest import record_usage

record_usage(user_id="user_2abc", model="gpt-4o", prompt_tokens=150, completion_tokens=50, feature="chat")
"""


@dataclass(frozen=True)
class View(Generic[D]):
    """One page as one viewer sees it now."""

    key: str
    viewer: Viewer
    selection: Selection
    zone: ZoneInfo
    reader: Callable[[Viewer, Window], D]
    is_grouped: bool
    refresh_s: int | None

    def read(self) -> D | None:
        """Read the page's document and draw its notes; draw the empty or the error state and return None instead."""
        try:
            document = self._fetch()
        except TreeringError as error:
            draw_error(self.key, error)
            return None
        if document.totals.requests == 0 and not _has_routes(document):
            _draw_notes(document, "")
            _draw_empty(self.key, self.selection, document, self.zone)
            return None
        _draw_notes(document, _scope(document, self.selection))
        return document

    def outlook(self) -> MonthForecast | None:
        """Return the forecast of the viewer's month for what is selected; None without one."""
        return month_outlook(self.viewer, self.selection, self.zone, datetime.now(UTC))

    def options(self) -> Options:
        """Return the values for the filters; none while the database cannot be read."""
        try:
            return self._fetch().options
        except TreeringError:
            return Options()

    def _fetch(self) -> D:
        now = datetime.now(UTC)
        return self.reader(self.viewer, self.selection.window(now, self.zone, is_grouped=self.is_grouped))


def open_page(key: str, title: str, reader: Callable[[Viewer, Window], D], *, is_grouped: bool = False) -> View[D]:
    """Draw a page's header and return the view to read from.

    Args:
        key: Short name of the page; the keys of its widgets begin with it.
        title: What the header says.
        reader: The one read of the page, from `dashboard.queries`.
        is_grouped: Whether the read takes `group_by`.
    """
    viewer = require_viewer()
    selection = filter_bar.current_selection()
    zone = chosen_zone(selection)
    now = datetime.now(UTC)
    view = View(key, viewer, selection, zone, reader, is_grouped, None)
    with draw_header(title):
        filter_bar.draw_period(key, selection, now.astimezone(zone).date())
        filter_bar.draw_filters(key, selection, view.options())
        is_live = filter_bar.draw_live(key)
    if not is_live or not selection.is_live(now, zone):
        return view
    refresh_s = PERIODS[selection.period].refresh_s or 15
    return View(key, viewer, selection, zone, reader, is_grouped, refresh_s)


def draw_header(title: str) -> st.delta_generator.DeltaGenerator:
    """Draw a page's title and return the container for its controls, on the same line where there is room."""
    row = st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="header", gap="small"
    )
    row.title(title, anchor=False, width="content")
    return row.container(horizontal=True, vertical_alignment="center", key="controls", gap="small", width="content")


def chosen_zone(selection: Selection) -> ZoneInfo:
    """Return the time zone in which the viewer's days begin."""
    try:
        reporting = queries.reporting_zone()
    except ConfigurationError:  # the read that follows reports it
        reporting = "UTC"
    return viewer_zone(st.context.timezone, reporting, is_reporting_zone=selection.is_reporting_zone)


def draw_state(key: str, icon: str, title: str, text: str) -> st.delta_generator.DeltaGenerator:
    """Draw a box in place of figures and return it, for a button below the text."""
    box = st.container(border=True, key=f"state_{key}", horizontal_alignment="center")
    box.markdown(f"## {icon}", text_alignment="center")
    box.html(
        f'<div class="tr-state-title" role="status">{html.escape(title)}</div>'
        f'<div class="tr-state-text">{html.escape(text)}</div>'
    )
    return box


def draw_error(key: str, error: TreeringError) -> None:
    """Say what went wrong and what helps, with a button to try again."""
    icon, title, text = ":material/error:", "The figures could not be read", str(error)
    if isinstance(error, DatabaseUnavailableError):
        icon, title = ":material/cloud_off:", "The database cannot be reached"
    elif isinstance(error, PermissionDeniedError):
        icon, title = ":material/lock:", "You have no access"
        text = f"{error} Ask somebody with the role ops to add you: treering members add."
    elif isinstance(error, FunctionNotFoundError):
        icon, title = ":material/system_update_alt:", "The database is older than this app"
        text = "Apply the migrations that are missing: treering migrate."
    elif isinstance(error, ConfigurationError):
        icon, title = ":material/settings_alert:", "A setting is missing or wrong"
    draw_state(f"{key}_error", icon, title, text).button("Try again", key=f"{key}_try_again", icon=":material/refresh:")


def _has_routes(document: Page) -> bool:
    routes = getattr(document, "routes", None)
    return routes is not None and routes.requests > 0


def _draw_empty(key: str, selection: Selection, document: Page, zone: ZoneInfo) -> None:
    newest = document.newest_event_at
    if newest is None:
        box = draw_state(
            f"{key}_empty",
            ":material/potted_plant:",
            "No calls recorded yet",
            "Record the first one from your backend and it shows here within seconds.",
        )
        box.code(_SNIPPET, language="python", width=620, wrap_lines=True)
        return
    day = newest.astimezone(zone)
    text = f"The newest call is of {day.day} {day:%B %Y}, {day:%H:%M}."
    if selection.filter_count:
        text = "No call matches the filters. " + text
    box = draw_state(f"{key}_empty", ":material/search_off:", "Nothing in this period", text)
    buttons = box.container(horizontal=True, horizontal_alignment="center")
    if selection.filter_count:
        buttons.button("Clear filters", key=f"{key}_empty_clear", on_click=filter_bar.clear_filters)
    buttons.button(
        "Show the newest days",
        key=f"{key}_empty_newest",
        on_click=filter_bar.show_days_around,
        args=(day,),
        type="primary",
    )


def _draw_notes(document: Page, scope: str) -> None:
    behind = _lag_note(document.pending_rows)
    if not scope and not document.has_demo_data and not behind:
        return
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="notes"):
        st.html(f'<div class="tr-scope">{html.escape(scope)}</div>', width="content")
        with st.container(horizontal=True, gap="small", width="content"):
            if behind:
                st.badge(behind, icon=":material/hourglass_top:", color="orange")
            if document.has_demo_data:
                st.badge("Demo data", icon=":material/science:", color="violet", help="Generated, not yours.")


def _lag_note(pending_rows: int) -> str:
    """Say that figures lag behind: many calls wait to be counted, or some have waited for long."""
    if pending_rows == 0:
        st.session_state.pop("pending_since", None)
        return ""
    since: float = st.session_state.setdefault("pending_since", time.monotonic())
    if pending_rows >= MANY_PENDING_ROWS:
        return f"Figures lag behind: {pending_rows:,} calls wait to be counted"
    if time.monotonic() - since >= LONG_PENDING_S:
        return f"{pending_rows:,} calls wait to be counted: is the worker running?"
    return ""


def _scope(document: Page, selection: Selection) -> str:
    zone = ZoneInfo(document.timezone)
    first, last = document.from_time.astimezone(zone), document.to_time.astimezone(zone)
    is_days = selection.period in ("month", "quarter", "custom")
    start = _day_in_words(first.date()) if is_days else f"{_day_in_words(first.date())}, {first:%H:%M}"
    if selection.period == "custom" and selection.last_day:
        end = _day_in_words(selection.last_day)
    else:
        end = f"{_day_in_words(last.date())}, {last:%H:%M}"
    bucket = BUCKET_UNITS.get(document.bucket, document.bucket)
    parts = [f"{start} to {end}", document.timezone.replace("_", " "), f"by {bucket}"]
    if document.access == "member":
        parts.append("your own calls")
    return " · ".join(parts)


def _day_in_words(day: date) -> str:
    return f"{day.day} {day:%b %Y}"
