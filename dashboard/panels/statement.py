"""The statement of a month for finance, on Costs: which month, by what, as which file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.panels.cards import draw_title
from dashboard.reads.statement import declared_tags, make_file, months_offered
from ingest.costs.files import FORMATS
from ingest.costs.statement import DEFAULT_DIMENSIONS, DIMENSIONS, title_of
from ingest.costs.wording import headline_of
from ingest.errors import TreeringError

if TYPE_CHECKING:
    from datetime import date
    from zoneinfo import ZoneInfo

    from dashboard.reads.viewer import Viewer
    from dashboard.selection.filters import Selection
    from ingest.costs.files import Format


def draw_statement(viewer: Viewer, selection: Selection, zone: ZoneInfo) -> None:
    """Draw the form that writes a month's statement with the filters of the page."""
    now = datetime.now(UTC)
    months = months_offered(now, zone)
    with st.container(border=True, key="panel_costs_statement"):
        draw_title(
            "Statement for finance",
            f"A calendar month of {zone.key.replace('_', ' ')} with the filters of this page, exact to the last digit.",
        )
        left, middle, right = st.columns([2, 3, 2], gap="small", vertical_alignment="bottom")
        month: date = left.selectbox(
            "Month",
            months,
            index=1,
            format_func=lambda one: f"{one:%B %Y}{', to date' if one == months[0] else ''}",
            key="costs_statement_month",
        )
        dimensions = middle.multiselect(
            "Lines by",
            [*DIMENSIONS, *declared_tags()],
            default=list(DEFAULT_DIMENSIONS),
            format_func=title_of,
            key="costs_statement_by",
            placeholder="Month alone",
        )
        file_format: Format = right.selectbox(
            "File", list(FORMATS), format_func=lambda name: FORMATS[name].title, key="costs_statement_format"
        )
        if selection.has_metadata:
            st.caption("A statement is not broken down by metadata. Clear that filter to write one.")
        if st.button(
            "Write the statement",
            key="costs_statement_write",
            icon=":material/receipt_long:",
            disabled=selection.has_metadata,
        ):
            _write(viewer, selection, zone, month, dimensions, file_format)


def _write(
    viewer: Viewer, selection: Selection, zone: ZoneInfo, month: date, dimensions: list[str], file_format: Format
) -> None:
    window = selection.window(datetime.now(UTC), zone)
    try:
        with st.spinner("Reading the month"):
            statement, file = make_file(viewer, month, zone, dimensions, window, file_format)
    except TreeringError as error:
        st.error(f"The statement could not be written: {error}")
        return
    lines = "1 line" if len(statement.lines) == 1 else f"{len(statement.lines):,} lines"
    # A dollar sign would begin a formula.
    st.caption(f"{statement.period}: {headline_of(statement)}. {lines}. This export is noted.".replace("$", "\\$"))
    st.download_button(
        f"Save {file.name}",
        file.content,
        file_name=file.name,
        mime=file.mime,
        key="costs_statement_save",
        icon=":material/download:",
        on_click="ignore",
    )
