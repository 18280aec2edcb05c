"""The editor of the statements that leave by themselves, under Settings → Reports, and what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard.panels.cards import draw_title
from dashboard.panels.changes import attempt
from dashboard.reads.settings import reporting_zone
from dashboard.reads.statement import declared_tags, get_statement_schedule, save_statement_schedule
from ingest.costs.files import FORMATS
from ingest.costs.statement import DIMENSIONS, title_of
from ingest.errors import FunctionNotFoundError, TreeringError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

    from dashboard.reads.viewer import Viewer
    from ingest.documents.statement import StatementDelivery, StatementSchedule

_KEY = "settings_statements"
_MOST_GRACE_DAYS = 28


def draw_statements(viewer: Viewer, channels: Mapping[int, str]) -> None:
    """Draw the schedule of statements and the newest deliveries.

    Args:
        viewer: Who is looking; ops.
        channels: Names of the channels by their numbers.
    """
    with st.container(border=True, key=_KEY):
        draw_title(
            "Statement for finance", "Each month's statement, handed out once to each target after its month ended."
        )
        try:
            schedule = get_statement_schedule(viewer)
        except FunctionNotFoundError:
            st.caption("The database is older than this app: apply the migrations with `treering migrate`.")
            return
        except TreeringError as error:
            st.caption(f"This could not be read: {error}")
            return
        _draw_form(viewer, schedule, channels)
        _draw_deliveries(schedule.deliveries)


def _draw_form(viewer: Viewer, schedule: StatementSchedule, channels: Mapping[int, str]) -> None:
    with st.form(f"{_KEY}_form", border=False):
        is_enabled = st.toggle("Enabled", value=schedule.is_enabled, key=f"{_KEY}_enabled")
        left, right = st.columns(2, gap="small")
        with left:
            chosen = _draw_targets(schedule, channels)
        with right:
            form = _draw_what(schedule)
        is_saved = st.form_submit_button("Save", type="primary", key=f"{_KEY}_save")
    if not is_saved:
        return
    changed = {"is_enabled": is_enabled, **chosen, **form}
    if is_enabled and not (changed["formats"] and (changed["channels"] or changed["to_folder"])):
        st.error("Choose at least one file, and a channel or the folder.")
        return
    if attempt(lambda: save_statement_schedule(viewer, changed), "Statement schedule saved"):
        st.rerun()


def _draw_targets(schedule: StatementSchedule, channels: Mapping[int, str]) -> dict[str, JsonValue]:
    """Draw where statements go to and when."""
    chosen = st.multiselect(
        "Channels",
        list(channels),
        default=[number for number in schedule.channels if number in channels],
        format_func=channels.__getitem__,
        key=f"{_KEY}_channels",
        placeholder="Choose recipients" if channels else "Add a channel first",
        help="The files are attached to e-mails; other channels get the sums and the names of the files.",
    )
    days = st.number_input(
        "Days after the month's end",
        0,
        _MOST_GRACE_DAYS,
        schedule.grace_days,
        key=f"{_KEY}_days",
        help="Late calls and bills that arrive within these days are in the statement.",
    )
    to_folder = st.toggle(
        "Also to the folder",
        value=schedule.to_folder,
        key=f"{_KEY}_folder",
        help="A folder or bucket that `TREERING_STATEMENT_URL` names to the worker; without it nothing goes there.",
    )
    return {"channels": list(chosen), "grace_days": int(days), "to_folder": to_folder}


def _draw_what(schedule: StatementSchedule) -> dict[str, JsonValue]:
    """Draw what statements hold, and as which files."""
    formats = st.multiselect(
        "Files",
        list(FORMATS),
        default=[name for name in FORMATS if name in schedule.formats],
        format_func=lambda name: FORMATS[name].title,
        key=f"{_KEY}_formats",
    )
    dimensions = st.multiselect(
        "Lines by",
        list(dict.fromkeys([*DIMENSIONS, *declared_tags(), *schedule.dimensions])),
        default=list(schedule.dimensions),
        format_func=title_of,
        key=f"{_KEY}_by",
        placeholder="Month alone",
    )
    zones = list(dict.fromkeys((schedule.timezone, reporting_zone(), "UTC")))
    zone = st.selectbox("Time zone", zones, key=f"{_KEY}_zone", accept_new_options=True)
    return {
        "formats": [str(name) for name in formats],
        "dimensions": list(dimensions),
        "timezone": zone or schedule.timezone,
    }


def _draw_deliveries(deliveries: Sequence[StatementDelivery]) -> None:
    if not deliveries:
        st.caption("No statement has left by itself yet.")
        return
    st.dataframe(
        [_row(one) for one in deliveries],
        key=f"{_KEY}_table",
        hide_index=True,
        column_config={
            "Month": st.column_config.DateColumn(format="MMM YYYY"),
            "Handed out": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm", timezone=reporting_zone()),
            "Next attempt": st.column_config.DatetimeColumn(format="D MMM, HH:mm", timezone=reporting_zone()),
            "Attempts": st.column_config.NumberColumn(format="localized"),
        },
        placeholder="—",
    )


def _row(delivery: StatementDelivery) -> dict[str, object]:
    return {
        "Month": delivery.month,
        "To": delivery.place,
        "Handed out": delivery.done_at,
        "Attempts": delivery.attempts,
        "Last error": delivery.error,
        "Next attempt": delivery.next_attempt_at,
        "Files": ", ".join(file.name for file in delivery.files),
    }
