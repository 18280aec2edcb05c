"""The list of the Customers page: who is shown, in which order, the table with its points, cards on a phone, a file."""

from __future__ import annotations

import html
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.figures.entity_table import (
    ORDER_OF,
    card_note,
    counted,
    counted_requests,
    entity_columns,
    entity_frame,
    noun_of,
    table_height,
    title_of,
)
from dashboard.panels.cards import Bar, draw_bars, share_of
from dashboard.panels.entity_links import choose, current_choice, entity_address
from dashboard.panels.session_links import PAGE as SESSION_PAGE
from dashboard.panels.session_links import session_address, session_query
from dashboard.panels.tables import MOST_EXPORTED, write_calls
from dashboard.reads.entities import each_page_of_entities, note_entities
from dashboard.selection.entity_choice import PAGE_SIZE, SESSION, TENANT, USER
from dashboard.selection.filters import TAG
from ingest.documents.words import format_count, format_usd, format_usd_column
from ingest.errors import TreeringError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

    from streamlit.delta_generator import DeltaGenerator

    from dashboard.reads.viewer import Viewer
    from dashboard.selection.entity_choice import EntityChoice
    from dashboard.selection.filters import Selection, Window
    from ingest.documents.entities import Entities
    from ingest.documents.pages import Options

_TABLE: Final = "customers_table"


def tabs_of(options: Options, access: str) -> dict[str, str]:
    """Return what rows can be by: a product without tenants sees no customers, and a member no other users."""
    tabs = {TENANT: "Customers"} if options.tenants else {}
    if access != "member":
        tabs[USER] = "Users"
    return tabs | {TAG + name: f"Tag {name}" for name in options.tags} | {SESSION: "Sessions"}


def draw_list(viewer: Viewer, document: Entities, selection: Selection, window: Window, zone: ZoneInfo) -> None:
    """Draw the controls and one page of rows.

    Args:
        viewer: Who is looking.
        document: What was read.
        selection: The period and the filters, for links.
        window: The same as it was asked for, for the file of all rows.
        zone: Zone in which times are written.
    """
    choice = replace(current_choice(), by=document.group_by)
    with st.container(border=True, key="panel_customers_list"):
        with st.container(
            horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="customers_bar"
        ):
            draw_tabs(tabs_of(document.options, document.access), choice)
            _draw_controls(viewer, document, choice, window)
        st.html(f'<div class="tr-scope">{html.escape(_scope(document, choice))}</div>')
        if not document.rows:
            _draw_nothing(document, choice)
            return
        _draw_cards(document, selection, zone)
        _draw_table(document, choice, zone)
        _draw_turns(choice, document.matched.rows)


def draw_tabs(tabs: Mapping[str, str], choice: EntityChoice) -> None:
    """Draw what the rows are by."""
    st.session_state["customers_by"] = choice.by if choice.by in tabs else next(iter(tabs))
    st.segmented_control(
        "Rows by",
        list(tabs),
        format_func=lambda by: tabs[by],
        required=True,
        key="customers_by",
        label_visibility="collapsed",
        on_change=lambda: choose(current_choice().changed(by=st.session_state["customers_by"], search="")),
    )


def _draw_controls(viewer: Viewer, document: Entities, choice: EntityChoice, window: Window) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
        st.session_state["customers_search"] = choice.search
        st.text_input(
            f"Search a {noun_of(choice.by)}",
            key="customers_search",
            placeholder=f"Search a {noun_of(choice.by)}",
            label_visibility="collapsed",
            max_chars=200,
            width=200,
            on_change=lambda: choose(current_choice().changed(search=st.session_state["customers_search"].strip())),
        )
        st.session_state["customers_sort"] = choice.sort
        st.selectbox(
            "Order by",
            list(choice.sorts),
            format_func=lambda name: f"By {_lower(choice.sorts[name])}",
            key="customers_sort",
            label_visibility="collapsed",
            width=185,
            on_change=lambda: _sort(st.session_state["customers_sort"]),
        )
        is_up = choice.is_ascending
        st.button(
            "Smallest first" if is_up else "Largest first",
            key="customers_direction",
            icon=":material/arrow_upward:" if is_up else ":material/arrow_downward:",
            help="Turn the order round",
            on_click=_change,
            kwargs={"is_ascending": not is_up},
        )
        if document.matched.rows:
            _draw_export(viewer, document, choice, window)


def _draw_export(viewer: Viewer, document: Entities, choice: EntityChoice, window: Window) -> None:
    with st.popover("CSV", icon=":material/download:", type="tertiary", key="customers_csv"):
        st.caption(f"All {counted(document.matched.rows, choice.by)}, in this order and with every digit.")
        if not st.button("Write the file", key="customers_csv_write", type="primary"):
            return
        bar = st.progress(0.0, text="Reading")
        whole = max(document.matched.rows, 1)
        try:
            written, count = write_calls(
                each_page_of_entities(viewer, window, choice), lambda read: _report(bar, read, whole)
            )
            note_entities(viewer, window, choice, count)
        except TreeringError as error:
            st.error(f"The file could not be written: {error}")
            return
        bar.progress(1.0, text=f"{count:,} rows{', the most that a file has' if count >= MOST_EXPORTED else ''}")
        st.download_button(
            "Save",
            written,
            file_name=f"treering-{noun_of(choice.by)}s.csv",
            mime="text/csv",
            key="customers_csv_save",
            icon=":material/download:",
            on_click="ignore",
        )


def _draw_nothing(document: Entities, choice: EntityChoice) -> None:
    if choice.search:
        st.caption(f"No {noun_of(choice.by)} has “{choice.search}” in its name.")
        st.button("Clear the search", key="customers_clear", on_click=_change, kwargs={"search": ""})
    else:
        st.caption(f"There are no more than {counted(document.matched.rows, choice.by)}.")
        st.button("First page", key="customers_first_again", on_click=_change)


def _draw_cards(document: Entities, selection: Selection, zone: ZoneInfo) -> None:
    """Draw what a phone shows in place of the table; the style sheet shows one of both."""
    by, whole = document.group_by, document.totals.cost
    texts = format_usd_column([row.cost for row in document.rows])
    bars = [
        Bar(
            title_of(row.key, by),
            text,
            share_of(row.cost, whole),
            is_other=not row.key,
            address=_address(selection, by, row.key),
            note=card_note(row, whole, zone),
        )
        for row, text in zip(document.rows, texts, strict=True)
    ]
    with st.container(key="narrow_customers"):
        draw_bars(bars, (noun_of(by).capitalize(), "Cost"))


def _draw_table(document: Entities, choice: EntityChoice, zone: ZoneInfo) -> None:
    # Each list has a table of its own, so that it begins without a chosen row.
    turn = st.session_state.get("customers_turn", 0)
    key = f"{_TABLE}_{turn}"
    frame = entity_frame(document)
    columns = entity_columns(document, zone)
    with st.container(key="wide_customers"):
        st.dataframe(
            frame,
            key=key,
            hide_index=True,
            height=table_height(len(frame)),
            row_height=35,
            column_config={name: columns[name] for name in frame.columns},
            placeholder="—",
            # A header is chosen, not sorted by: Streamlit would sort the rows of this page alone.
            selection_mode=["single-row", "single-column"],
            on_select=lambda: _take_choice(key, document),
        )
        what, rows = "Select a row (on the keyboard: Shift+Space) to open it", document.matched.rows
        order = f", the head of a column to order all {counted(rows, choice.by)} by it" if rows > 1 else ""
        st.caption(f"{what}{order}.")
    if opened := st.session_state.pop("customers_session", None):
        st.switch_page(SESSION_PAGE, query_params=session_query(opened))


def _take_choice(key: str, document: Entities) -> None:
    chosen = st.session_state[key].selection
    heads = [ORDER_OF[name] for name in getattr(chosen, "columns", ()) if name in ORDER_OF]
    rows: list[int] = chosen.rows
    st.session_state["customers_turn"] = st.session_state.get("customers_turn", 0) + 1
    if heads:
        _sort(heads[0])
        return
    row = document.rows[rows[0]] if rows and rows[0] < len(document.rows) else None
    if row is None:
        return
    if document.group_by != SESSION:
        choose(replace(current_choice(), by=document.group_by, of=row.key))
    elif row.key:
        st.session_state["customers_session"] = row.key


def _draw_turns(choice: EntityChoice, count: int) -> None:
    last = max(-(-count // PAGE_SIZE) - 1, 0)
    if not last:
        return
    turns = (
        ("first", ":material/first_page:", "First", 0, choice.page == 0),
        ("back", ":material/chevron_left:", "Back", choice.page - 1, choice.page == 0),
        ("next", ":material/chevron_right:", "Next", choice.page + 1, choice.page >= last),
        ("last", ":material/last_page:", "Last", last, choice.page >= last),
    )
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="customers_turns"
    ):
        first = choice.page * PAGE_SIZE
        shown = f"{first + 1:,} to {min(first + PAGE_SIZE, count):,} of {count:,}"
        st.html(f'<div class="tr-scope">{shown}</div>', width="content")
        with st.container(horizontal=True, gap="xsmall", width="content"):
            for name, icon, label, page, is_disabled in turns:
                st.button(
                    label,
                    key=f"customers_{name}",
                    icon=icon,
                    icon_position="right" if name in ("next", "last") else "left",
                    disabled=is_disabled,
                    on_click=_turn_to,
                    args=(page,),
                )


def _scope(document: Entities, choice: EntityChoice) -> str:
    matched, totals = document.matched, document.totals
    parts = [counted(matched.rows, choice.by), format_usd(matched.cost), counted_requests(matched.requests)]
    if choice.search:
        parts.append(f"of {format_usd(totals.cost)} in all")
    elif totals.fallback_cost:
        parts.append(f"+ {format_usd(totals.fallback_cost)} at fallback price")
    if totals.unpriced_requests and not choice.search:
        parts.append(f"{format_count(totals.unpriced_requests)} unpriced")
    return " · ".join(parts)


def _address(selection: Selection, by: str, key: str) -> str:
    if by != SESSION:
        return entity_address(selection, by, key)
    return session_address(key) if key else ""


def _report(bar: DeltaGenerator, read: int, whole: int) -> None:
    bar.progress(min(read / whole, 1.0), text=f"{read:,} rows read")


def _change(**choices: object) -> None:
    choose(current_choice().changed(**choices))


def _sort(name: str) -> None:
    choose(current_choice().sorted_by(name))


def _turn_to(page: int) -> None:
    choose(replace(current_choice(), page=page, of=None))


def _lower(label: str) -> str:
    return label[:1].lower() + label[1:]
