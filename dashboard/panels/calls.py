"""The Calls page: where the viewer is among the pages of calls, the table, and one call's details."""

from __future__ import annotations

import html
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.figures.call_table import ORDER_OF, call_columns, call_frame, table_height
from dashboard.panels.call_details import draw_details
from dashboard.panels.empty import draw_empty, draw_first_call
from dashboard.panels.filter_bar import current_selection, follow_choice, store_selection
from dashboard.panels.frame import draw_error, draw_refusal
from dashboard.panels.tables import MOST_EXPORTED, write_calls
from dashboard.reads.pages import each_page_of_calls, get_calls, get_one_call
from dashboard.reads.statement import note_calls
from dashboard.selection.filters import ORDERS
from ingest.documents.pages import Options
from ingest.errors import TreeringError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from streamlit.delta_generator import DeltaGenerator

    from dashboard.reads.viewer import Viewer
    from dashboard.selection.filters import Selection
    from ingest.documents.calls import Call, Calls

SIZES: Final = (50, 100, 200)
_PLACE: Final = "calls_place"
_TABLE: Final = "calls_table"
# Parameter of the address that names the open call.
_CALL: Final = "call"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the viewer is.

    Attributes:
        selection: What was chosen when this place was entered; another choice starts over.
        size: Calls on a page.
        cursors: The way here from the newest page, one cursor a page.
        held: The page as it was drawn, kept while it is not the newest or a call is open, so that nothing moves.
        opened: Id of the call whose details are shown.
        turn: Counts the pages drawn, so that each table begins without a chosen row.
    """

    selection: Selection
    size: int = SIZES[0]
    cursors: tuple[str, ...] = ()
    held: Calls | None = None
    opened: str | None = None
    turn: int = 0

    def at(self, cursors: tuple[str, ...]) -> Place:
        """Return the place at another page."""
        return replace(self, cursors=cursors, held=None, opened=None, turn=self.turn + 1)


@dataclass(frozen=True, slots=True)
class Explorer:
    """The page as one viewer sees it now."""

    viewer: Viewer
    selection: Selection
    zone: ZoneInfo

    def place(self) -> Place:
        """Return where the viewer is; another choice of period or filters leads back to the newest page."""
        place: Place | None = st.session_state.get(_PLACE)
        if place is None:
            place = Place(self.selection)
        elif place.selection != self.selection:
            st.query_params.pop(_CALL, None)
            place = replace(place.at(()), selection=self.selection)
        st.session_state[_PLACE] = place
        return place

    def read(self) -> Calls:
        """Return the page of calls at this place."""
        place = self.place()
        if place.held is not None:
            return place.held
        window = self.selection.calls_window(datetime.now(UTC), self.zone)
        cursor = place.cursors[-1] if place.cursors else None
        document = get_calls(self.viewer, window.with_page(place.size, cursor))
        if place.cursors:
            st.session_state[_PLACE] = replace(place, held=document)
        return document

    def choices(self) -> tuple[Options, list[str] | None]:
        """Return the values for the filters and the users on the page; None for a member's own calls."""
        try:
            document = self.read()
        except TreeringError:
            return Options(), list(self.selection.user_id) or None
        users = None if document.access == "member" else sorted({call.user_id for call in document.events})
        return document.options, users

    def draw(self) -> None:
        """Draw the table with its controls and, beside it, the chosen call; or why there is nothing to draw."""
        follow_choice(self.selection)
        draw_first_call()
        try:
            document = self.read()
        except TreeringError as error:
            if not draw_refusal("calls", self.selection, self.zone, error):
                draw_error("calls", error)
            return
        place = self.place()
        if not document.events and not place.cursors:
            draw_empty("calls", self.viewer, self.selection, document.newest_event_at, self.zone)
            return
        opened = self._opened(place, document)
        left, *right = st.columns([3, 2] if opened else 1, gap="small")
        with left, st.container(border=True, key="panel_calls_table"):
            self._draw_bar(place, document)
            self._draw_table(place, document)
            self._draw_foot(place, document)
        if opened:
            with right[0], st.container(border=True, key="panel_calls_details"):
                draw_details(
                    self.viewer, self.selection, self.zone, opened, close_call, is_member=document.access == "member"
                )

    def _opened(self, place: Place, document: Calls) -> Call | None:
        """Return the call whose details are shown: one of the page, or the one that a shared link names."""
        asked = st.query_params.get(_CALL, "")
        moment, _, event_id = asked.partition("_")
        wanted = place.opened or event_id
        found = next((call for call in document.events if call.event_id == wanted), None)
        if found is not None or not wanted or place.opened:
            return found
        try:
            return get_one_call(self.viewer, datetime.fromisoformat(moment), event_id)
        except (ValueError, TreeringError):
            return None  # an address is free text, and the call may be somebody else's

    def _draw_bar(self, place: Place, document: Calls) -> None:
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.html(f'<div class="tr-scope">{html.escape(self._scope(place, document))}</div>', width="content")
            with st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
                if document.has_demo_data:
                    st.badge(
                        "Demo data",
                        icon=":material/science:",
                        color="violet",
                        help="Generated data, not your own calls.",
                    )
                if document.events:
                    self._draw_export()
                st.session_state["calls_order"] = self.selection.order
                st.selectbox(
                    "Order",
                    list(ORDERS),
                    format_func=ORDERS.__getitem__,
                    key="calls_order",
                    label_visibility="collapsed",
                    width=155,
                    on_change=lambda: _order_by(st.session_state["calls_order"]),
                )

    def _draw_foot(self, place: Place, document: Calls) -> None:
        with st.container(
            horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="calls_foot"
        ):
            self._draw_turns(place, document)
            st.session_state["calls_size"] = place.size
            st.selectbox(
                "Calls per page",
                SIZES,
                format_func=lambda size: f"{size} per page",
                key="calls_size",
                label_visibility="collapsed",
                width=125,
                on_change=_take_size,
            )

    def _draw_export(self) -> None:
        """Draw the way to a file of all calls of the period, which is written while it is watched."""
        with st.popover("CSV", icon=":material/download:", type="tertiary", key="calls_csv"):
            st.caption(f"All calls that match, {ORDERS[self.selection.order].lower()}, at most {MOST_EXPORTED:,}.")
            if not st.button("Write the file", key="calls_csv_write", type="primary"):
                return
            bar = st.progress(0.0, text="Reading")
            window = self.selection.calls_window(datetime.now(UTC), self.zone)
            try:
                written, count = write_calls(each_page_of_calls(self.viewer, window), lambda read: _report(bar, read))
                note_calls(self.viewer, window, count)
            except TreeringError as error:
                st.error(f"The file could not be written: {error}")
                return
            bar.progress(1.0, text=f"{count:,} calls")
            st.download_button(
                "Save",
                written,
                file_name="treering-calls.csv",
                mime="text/csv",
                key="calls_csv_calls",
                icon=":material/download:",
                on_click="ignore",
            )

    def _draw_turns(self, place: Place, document: Calls) -> None:
        is_first = not place.cursors
        first, back, on = (
            ("Newest", "Newer", "Older") if self.selection.order == "newest" else ("First", "Back", "Next")
        )
        turns = (
            ("newest", ":material/first_page:", first, (), is_first),
            ("newer", ":material/chevron_left:", back, place.cursors[:-1], is_first),
            (
                *("older", ":material/chevron_right:", on),
                (*place.cursors, document.next_cursor or ""),
                document.next_cursor is None,
            ),
        )
        with st.container(horizontal=True, gap="xsmall", width="content", key="calls_turns"):
            for name, icon, label, cursors, is_disabled in turns:
                st.button(
                    label,
                    key=f"calls_{name}",
                    icon=icon,
                    icon_position="right" if name == "older" else "left",
                    disabled=is_disabled,
                    on_click=_turn_to,
                    args=(cursors,),
                )

    def _draw_table(self, place: Place, document: Calls) -> None:
        if not document.events:
            st.caption("There are no older calls." if self.selection.order == "newest" else "There are no more calls.")
            return
        ids = [call.event_id for call in document.events]
        key = f"{_TABLE}_{place.turn}"
        st.dataframe(
            call_frame(document.events, is_member=document.access == "member"),
            key=key,
            hide_index=True,
            height=table_height(len(ids)),
            column_config=call_columns(document.events, self.zone),
            placeholder="—",
            # A header is chosen, not sorted by: Streamlit would sort the calls of this page alone.
            selection_mode=["single-row", "single-column"],
            on_select=lambda: _open_chosen(key, document),
        )
        if place.opened is None:
            st.caption(
                "Select a row (on the keyboard: Shift+Space) to see the full record of a call and how its cost was "
                "calculated. Select the head of Cost, Prompt, Completion or Latency to order all calls of the period "
                "by it."
            )

    def _scope(self, place: Place, document: Calls) -> str:
        parts = [ORDERS[self.selection.order] if not place.cursors else f"Page {len(place.cursors) + 1}"]
        if self.selection.order != "newest":
            parts.append("of all calls of the period")
        elif document.events:
            last, first = (document.events[end].created_at.astimezone(self.zone) for end in (0, -1))
            until = f"{last:%H:%M:%S}" if last.date() == first.date() else f"{last.day} {last:%b}, {last:%H:%M}"
            parts.append(f"{first.day} {first:%b %Y}, {first:%H:%M:%S} to {until}")
        parts.append(self.zone.key.replace("_", " "))
        if document.access == "member":
            parts.append("your own calls")
        elif document.access == "tenant":
            parts.append("calls of your organization")
        if place.held is not None:
            parts.append("paused")
        return " · ".join(parts)


def _report(bar: DeltaGenerator, read: int) -> None:
    bar.progress(min(read / MOST_EXPORTED, 1.0), text=f"{read:,} calls read")


def _order_by(order: str) -> None:
    store_selection(replace(current_selection(), order=order))


def _turn_to(cursors: tuple[str, ...]) -> None:
    st.session_state[_PLACE] = st.session_state[_PLACE].at(cursors)


def _take_size() -> None:
    place: Place = st.session_state[_PLACE]
    st.session_state[_PLACE] = replace(place.at(()), size=st.session_state["calls_size"])


def _open_chosen(key: str, document: Calls) -> None:
    place: Place = st.session_state[_PLACE]
    chosen = st.session_state[key].selection
    rows: list[int] = chosen.rows
    if heads := [ORDER_OF[name] for name in getattr(chosen, "columns", ()) if name in ORDER_OF]:
        st.session_state[_PLACE] = place.at(())
        _order_by(heads[0])
        return
    st.query_params.pop(_CALL, None)
    if not rows or rows[0] >= len(document.events):
        st.session_state[_PLACE] = replace(place, opened=None, held=document if place.cursors else None)
        return
    opened = document.events[rows[0]]
    st.query_params[_CALL] = f"{opened.created_at.isoformat()}_{opened.event_id}"
    st.session_state[_PLACE] = replace(place, opened=opened.event_id, held=document)


def close_call() -> None:
    """Close the details of the open call."""
    place: Place = st.session_state[_PLACE]
    held = place.held if place.cursors else None
    st.query_params.pop(_CALL, None)
    st.session_state[_PLACE] = replace(place, opened=None, held=held, turn=place.turn + 1)
