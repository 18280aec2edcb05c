"""Ways from what is seen to less of it: a bar of a chart, a name of a legend, a row of a table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import streamlit as st

from dashboard.figures.charts import PICK
from dashboard.figures.colours import OTHER
from dashboard.panels.filter_bar import current_selection, store_selection
from ingest.documents.words import DASH

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    import altair as alt

    from dashboard.selection.filters import Selection


def draw_time_chart(chart: alt.LayerChart, key: str, title: str, zone: ZoneInfo) -> None:
    """Draw a chart over time; a click on a bucket shows the time of that bucket alone.

    Args:
        chart: With the parameter `PICK`.
        key: Of the widget.
        title: What it shows, for a screen reader.
        zone: On whose clock its times are.
    """
    st.altair_chart(chart, key=key, alt=title, on_select=lambda: take_bucket(key, zone), selection_mode=PICK)


def take_bucket(key: str, zone: ZoneInfo) -> None:
    """Choose the time of the bucket that was clicked."""
    picked: list[dict[str, Any]] = st.session_state[key]["selection"].get(PICK, [])
    if not picked:
        return
    start, end = (
        datetime.fromtimestamp(picked[0][name] / 1000, tz=UTC).replace(tzinfo=zone).astimezone(UTC)
        for name in ("at", "until")
    )
    choice = replace(current_selection(), period="custom", first_day=None, last_day=None, frozen=(start, end), grain="")
    store_selection(choice)


def narrowing_addresses(page: str, selection: Selection, names: Sequence[str]) -> list[str]:
    """Return for each name of a legend the address of the page restricted to it; empty where that is not possible."""
    return [
        ""
        if name in (OTHER, DASH)
        else f"{page}?{urlencode(selection.with_filter(selection.group, [name]).to_query(), doseq=True)}"
        for name in names
    ]
