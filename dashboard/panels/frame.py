"""The frame of every page: header with controls, notes, and what is shown instead of figures when there are none."""

from __future__ import annotations

import html
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard.figures.comparison import compare, data_begin_late
from dashboard.figures.frames import BUCKET_UNITS
from dashboard.panels import filter_bar
from dashboard.panels.chips import draw_chips, draw_link
from dashboard.panels.empty import draw_empty, draw_first_call
from dashboard.panels.outlook import month_outlook
from dashboard.panels.period_bar import draw_comparison, draw_period
from dashboard.panels.states import draw_action, draw_state
from dashboard.panels.views import draw_views
from dashboard.reads.settings import reporting_zone
from dashboard.reads.viewer import Viewer, require_viewer
from dashboard.selection.filters import Selection, viewer_zone
from dashboard.selection.periods import PERIODS
from dashboard.selection.ranges import upside_down
from ingest.documents.pages import Options, Page
from ingest.errors import (
    ConfigurationError,
    DatabaseError,
    DatabaseUnavailableError,
    FunctionNotFoundError,
    InvalidArgumentError,
    PermissionDeniedError,
    SignInExpiredError,
    SignInTokenError,
    TreeringError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.reads.month import Outlook
    from dashboard.selection.filters import Window

D = TypeVar("D", bound=Page)

# The worker counts once a second: more rows than this, or rows waiting longer, mean that figures lag behind.
MANY_PENDING_ROWS: Final = 20_000
LONG_PENDING_S: Final = 30.0


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
        """Read the page's document and draw its notes; draw the empty or the error state and return None instead.

        What it is compared with stands in `previous` and in the rows, and is left out where data had not begun.
        """
        filter_bar.follow_choice(self.selection)
        draw_first_call()
        try:
            document, earlier = self._fetch(), self.earlier()
        except TreeringError as error:
            if not draw_refusal(self.key, self.selection, self.zone, error):
                draw_error(self.key, error)
            return None
        if document.totals.requests == 0 and not _has_routes(document):
            _draw_notes(document, "")
            draw_empty(self.key, self.viewer, self.selection, document.newest_event_at, self.zone)
            return None
        is_wanted = self.selection.compare != "none"
        begin = data_begin_late(document, earlier) if is_wanted else None
        since = f"data begin {_day_in_words(begin.astimezone(self.zone).date())}" if begin else ""
        _draw_notes(document, " · ".join(filter(None, (_scope(document, self.selection), since))))
        return compare(document, earlier, is_wanted=is_wanted)

    def earlier(self) -> D | None:
        """Read the document of the earlier period to compare with; None for the one that the page's own has."""
        window = self.selection.compared(datetime.now(UTC), self.zone, is_grouped=self.is_grouped)
        return self.reader(self.viewer, window) if window else None

    def outlook(self) -> Outlook | None:
        """Return the viewer's month with its forecast for what is selected; None where it cannot be read."""
        return month_outlook(self.viewer, self.selection, self.zone)

    def options(self) -> Options:
        """Return the values for the filters; none while the database cannot be read."""
        try:
            return self._fetch().options
        except TreeringError:
            return Options()

    def users(self) -> list[str] | None:
        """Return the users that the page names, for the filters; None for a viewer who has only themselves."""
        try:
            document = self._fetch()
        except TreeringError:
            return list(self.selection.user_id) or None
        if document.access == "member":
            return None
        return [row.key for name in ("top_users", "by_user") for row in getattr(document, name, ()) if row.key]

    def _fetch(self) -> D:
        now = datetime.now(UTC)
        return self.reader(self.viewer, self.selection.window(now, self.zone, is_grouped=self.is_grouped))


def open_page(key: str, title: str, reader: Callable[[Viewer, Window], D], *, is_grouped: bool = False) -> View[D]:
    """Draw a page's header and return the view to read from.

    Args:
        key: Short name of the page; the keys of its widgets begin with it.
        title: What the header says.
        reader: The one read of the page, from `dashboard.reads.pages`.
        is_grouped: Whether the read takes `group_by`.
    """
    viewer = require_viewer()
    selection = filter_bar.current_selection().without_call_filters()
    filter_bar.store_selection(selection)
    zone = chosen_zone(selection)
    now = datetime.now(UTC)
    view = View(key, viewer, selection, zone, reader, is_grouped, None)
    with draw_header(title):
        draw_period(key, selection, now.astimezone(zone).date())
        draw_comparison(key, selection, selection.moments(now, zone))
        users = view.users()
        filter_bar.draw_filters(key, selection, view.options(), users)
        draw_views(key, viewer, selection, can_share=users is not None)
        draw_link(key, selection, zone)
        is_live = filter_bar.draw_live(key)
    draw_chips(key, selection)
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
        reporting = reporting_zone()
    except ConfigurationError:  # the read that follows reports it
        reporting = "UTC"
    return viewer_zone(st.context.timezone, reporting, is_reporting_zone=selection.is_reporting_zone)


def draw_refusal(key: str, selection: Selection, zone: ZoneInfo, error: TreeringError) -> bool:
    """Say what the database cannot read, with a click that leads out; return whether this was such a case."""
    is_metadata = selection.has_metadata and isinstance(error, InvalidArgumentError) and "metadata" in str(error)
    turned = upside_down(dict(selection.limits))
    is_slow = isinstance(error, DatabaseError) and error.sqlstate == "57014"
    is_stranger = bool(selection.user_id) and isinstance(error, PermissionDeniedError)
    if turned:
        text = f"No call can match: {turned}."
        box = draw_state(f"{key}_refused", ":material/swap_vert:", "A range is upside down", text)
        draw_action(box, "Clear the ranges", f"{key}_ranges", filter_bar.clear_limits)
        return True
    if is_metadata:
        icon, title = ":material/data_object:", "Too many calls to filter by metadata"
        text = "A metadata filter reads individual calls: at most 7 days and 2 million calls."
    elif is_slow:
        icon, title = ":material/hourglass_disabled:", "The query took too long"
        text = "The database stopped it. Choose a shorter period or fewer filters."
    elif is_stranger:
        icon, title = ":material/lock:", "You can see only your own calls"
        text = "The filter includes other users."
    else:
        return False
    box = draw_state(f"{key}_refused", icon, title, text)
    buttons = box.container(horizontal=True, horizontal_alignment="center")
    if is_stranger:
        draw_action(buttons, "Clear the user filter", f"{key}_own", filter_bar.clear_filter, "user_id")
        return True
    if selection.has_metadata:
        draw_action(buttons, "Clear the metadata filter", f"{key}_any", filter_bar.clear_filter, "metadata")
    shorter = selection.shorter(zone)
    if shorter is not None:
        label = f"Show the last {shorter.phrase}"
        draw_action(buttons, label, f"{key}_shorter", filter_bar.store_selection, shorter, is_primary=True)
    return True


def draw_error(key: str, error: TreeringError) -> None:
    """Say what went wrong and what helps, with a button to try again."""
    if isinstance(error, SignInExpiredError):
        text = "Sign in again to go on; the page stays as it is."
        box = draw_state(f"{key}_error", ":material/lock_clock:", "Your sign-in has expired", text)
        box.button("Sign in again", key=f"{key}_sign_in", type="primary", icon=":material/login:", on_click=st.login)
        return
    icon, title, text = ":material/error:", "The figures could not be read", str(error)
    if isinstance(error, DatabaseUnavailableError):
        icon, title = ":material/cloud_off:", "The database cannot be reached"
    elif isinstance(error, SignInTokenError):
        icon, title = ":material/key_off:", "The database does not know who you are"
    elif isinstance(error, PermissionDeniedError):
        icon, title = ":material/lock:", "You have no access"
        text = f"{error} Ask someone with the role ops to add you: treering members add."
    elif isinstance(error, FunctionNotFoundError):
        icon, title = ":material/system_update_alt:", "The database is older than this app"
        text = "Apply the missing migrations: treering migrate."
    elif isinstance(error, ConfigurationError):
        icon, title = ":material/settings_alert:", "A setting is missing or wrong"
    draw_state(f"{key}_error", icon, title, text).button("Try again", key=f"{key}_try_again", icon=":material/refresh:")


def _has_routes(document: Page) -> bool:
    routes = getattr(document, "routes", None)
    return routes is not None and routes.requests > 0


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
                st.badge(
                    "Demo data", icon=":material/science:", color="violet", help="Generated data, not your own calls."
                )


def _lag_note(pending_rows: int) -> str:
    """Say that figures lag behind: many calls wait to be counted, or some have waited for long."""
    if pending_rows == 0:
        st.session_state.pop("pending_since", None)
        return ""
    since: float = st.session_state.setdefault("pending_since", time.monotonic())
    if pending_rows >= MANY_PENDING_ROWS:
        return f"Figures are delayed: {pending_rows:,} calls are waiting to be counted"
    if time.monotonic() - since >= LONG_PENDING_S:
        return f"{pending_rows:,} calls are waiting to be counted. Is the worker running?"
    return ""


def _scope(document: Page, selection: Selection) -> str:
    zone = ZoneInfo(document.timezone)
    first, last = document.from_time.astimezone(zone), document.to_time.astimezone(zone)
    is_days = selection.period not in ("hour", "day", "week") and not selection.frozen
    start = _day_in_words(first.date()) if is_days else f"{_day_in_words(first.date())}, {first:%H:%M}"
    if selection.period == "custom" and selection.last_day:
        end = _day_in_words(selection.last_day)
    elif PERIODS[selection.period].back:
        end = _day_in_words((last - timedelta(seconds=1)).date())
    else:
        end = f"{_day_in_words(last.date())}, {last:%H:%M}"
    bucket = BUCKET_UNITS.get(document.bucket, document.bucket)
    parts = [f"{start} to {end}", document.timezone.replace("_", " "), f"by {bucket}"]
    if document.access == "member":
        parts.append("your own calls")
    elif document.access == "tenant":
        parts.append("calls of your organization")
    return " · ".join(parts)


def _day_in_words(day: date) -> str:
    return f"{day.day} {day:%b %Y}"
