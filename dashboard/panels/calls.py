"""The Calls page: where the viewer is among the pages of calls, the table, and one call's details."""

from __future__ import annotations

import html
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.figures.call_prices import explain_call
from dashboard.figures.call_table import call_columns, call_frame, facts_of, table_height
from dashboard.panels import filter_bar
from dashboard.panels.cards import draw_title
from dashboard.panels.frame import draw_action, draw_empty, draw_error, draw_refusal
from dashboard.panels.tables import draw_download
from dashboard.reads.pages import get_calls
from dashboard.reads.prices import get_prices
from ingest.documents.pages import Options
from ingest.errors import PermissionDeniedError, TreeringError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from dashboard.reads.viewer import Viewer
    from dashboard.selection.filters import Selection
    from ingest.documents.calls import Call, Calls

SIZES: Final = (50, 100, 200)
_PLACE: Final = "calls_place"
_TABLE: Final = "calls_table"


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
            place = replace(place.at(()), selection=self.selection)
        st.session_state[_PLACE] = place
        return place

    def read(self) -> Calls:
        """Return the page of calls at this place."""
        place = self.place()
        if place.held is not None:
            return place.held
        window = self.selection.window(datetime.now(UTC), self.zone)
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
        try:
            document = self.read()
        except TreeringError as error:
            if not draw_refusal("calls", self.selection, self.zone, error):
                draw_error("calls", error)
            return
        place = self.place()
        if not document.events and not place.cursors:
            draw_empty("calls", self.selection, document.newest_event_at, self.zone)
            return
        opened = next((call for call in document.events if call.event_id == place.opened), None)
        left, *right = st.columns([3, 2] if opened else 1, gap="small")
        with left, st.container(border=True, key="panel_calls_table"):
            self._draw_bar(place, document)
            self._draw_table(place, document)
        if opened:
            with right[0], st.container(border=True, key="panel_calls_details"):
                self._draw_details(opened, is_member=document.access == "member")

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
                    draw_download("calls", "calls", document.events)
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
                self._draw_turns(place, document)

    def _draw_turns(self, place: Place, document: Calls) -> None:
        is_first = not place.cursors
        turns = (
            ("newest", ":material/first_page:", "Newest", (), is_first),
            ("newer", ":material/chevron_left:", "Newer", place.cursors[:-1], is_first),
            (
                *("older", ":material/chevron_right:", "Older"),
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
            st.caption("There are no older calls.")
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
            selection_mode="single-row",
            on_select=lambda: _open_chosen(key, document),
        )
        if place.opened is None:
            st.caption("Select a row to see the full record of a call and how its cost was calculated.")

    def _draw_details(self, call: Call, *, is_member: bool) -> None:
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            draw_title(call.model, f"{call.operation} by {call.user_id}")
            st.button("Close", key="calls_close", icon=":material/close:", type="tertiary", on_click=_close)
        self._draw_related_calls(call, is_member=is_member)
        facts = facts_of(call, self.zone)
        _draw_facts("Cost", facts.pop("Cost"))
        self._draw_price(call)
        if call.metadata:
            _draw_heading("Metadata")
            st.json(call.metadata, expanded=2)
        for heading, lines in facts.items():
            _draw_facts(heading, lines)

    def _draw_price(self, call: Call) -> None:
        known: tuple[str, list[tuple[str, str]], list[str]] | None = st.session_state.get("calls_price")
        if known is None or known[0] != call.event_id:
            try:
                book = get_prices(self.viewer).book
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

    def _draw_related_calls(self, call: Call, *, is_member: bool) -> None:
        """Draw links to related calls. A session is looked up among its user's calls, which an index knows."""
        chosen = self.selection
        ways = {}
        if call.session_id:
            ways["Whole session"] = chosen.without_filters().with_filter("session_id", [call.session_id])
            if not is_member:
                ways["Whole session"] = ways["Whole session"].with_filter("user_id", [call.user_id])
        if not is_member:
            ways["All calls by this user"] = chosen.without_filters().with_filter("user_id", [call.user_id])
        if call.error_type:
            ways["All calls with this error"] = chosen.without_filters().with_filter("error_type", [call.error_type])
        if not ways:
            return
        box = st.container(horizontal=True, gap="small", key="calls_ways")
        for number, (label, selection) in enumerate(ways.items()):
            draw_action(box, label, f"calls_way_{number}", filter_bar.store_selection, selection)

    def _scope(self, place: Place, document: Calls) -> str:
        parts = ["Newest first" if not place.cursors else f"Page {len(place.cursors) + 1}"]
        if document.events:
            last, first = (document.events[end].created_at.astimezone(self.zone) for end in (0, -1))
            until = f"{last:%H:%M:%S}" if last.date() == first.date() else f"{last.day} {last:%b}, {last:%H:%M}"
            parts.append(f"{first.day} {first:%b %Y}, {first:%H:%M:%S} to {until}")
        parts.append(self.zone.key.replace("_", " "))
        if document.access == "member":
            parts.append("your own calls")
        if place.held is not None:
            parts.append("paused")
        return " · ".join(parts)


def _draw_heading(text: str) -> None:
    st.html(f'<div class="tr-heading" role="heading" aria-level="3">{html.escape(text)}</div>')


def _draw_facts(heading: str, lines: list[tuple[str, str]]) -> None:
    if lines:
        items = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in lines)
        _draw_heading(heading)
        st.html(f'<dl class="tr-list">{items}</dl>')


def _turn_to(cursors: tuple[str, ...]) -> None:
    st.session_state[_PLACE] = st.session_state[_PLACE].at(cursors)


def _take_size() -> None:
    place: Place = st.session_state[_PLACE]
    st.session_state[_PLACE] = replace(place.at(()), size=st.session_state["calls_size"])


def _open_chosen(key: str, document: Calls) -> None:
    place: Place = st.session_state[_PLACE]
    rows: list[int] = st.session_state[key].selection.rows
    if not rows or rows[0] >= len(document.events):
        st.session_state[_PLACE] = replace(place, opened=None, held=document if place.cursors else None)
        return
    st.session_state[_PLACE] = replace(place, opened=document.events[rows[0]].event_id, held=document)


def _close() -> None:
    place: Place = st.session_state[_PLACE]
    held = place.held if place.cursors else None
    st.session_state[_PLACE] = replace(place, opened=None, held=held, turn=place.turn + 1)
