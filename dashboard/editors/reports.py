"""The editor of report schedules in Settings: when and where the daily and the weekly report are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.editors.exports import draw_exports
from dashboard.editors.statements import draw_statements
from dashboard.panels.cards import draw_title
from dashboard.panels.changes import attempt
from dashboard.panels.chooser import Entry, draw_chooser, open_list
from dashboard.reads.settings import get_report_schedules, reporting_zone, save_report_schedule
from ingest.errors import FunctionNotFoundError, TreeringError

if TYPE_CHECKING:
    from dashboard.reads.viewer import Viewer
    from ingest.documents.settings import Channel, ReportSchedule

_TITLES: Final = {
    "daily": ("Daily report", "Covers the previous day. Sent every day."),
    "weekly": ("Weekly report", "Covers the week up to Sunday. Sent on Mondays."),
    "monthly": ("Monthly report", "Covers the calendar month before. Sent on the 1st."),
}


def draw_reports(viewer: Viewer, channels: tuple[Channel, ...]) -> None:
    """Draw the schedule of each report."""
    st.caption(
        "Reports show spend and its change, the biggest changes, the month's forecast, savings and open alerts. E-mail "
        "includes a chart of the trend. Users are not named, tenants only where you say so. `treering report` shows a "
        "report or sends one now."
    )
    try:
        schedules = get_report_schedules(viewer)
    except FunctionNotFoundError:
        st.caption("The database is older than this app: apply the migrations with `treering migrate`.")
        return
    except TreeringError as error:
        st.caption(f"This could not be read: {error}")
        return
    names = {channel.channel_id: channel.name for channel in channels}
    left, right = open_list("report")
    with left:
        entries = [
            Entry(index, _title(one)[0], _describe(one, names), () if one.is_enabled else (("gray", "Off"),))
            for index, one in enumerate(schedules)
        ]
        number = draw_chooser("report", entries, "")
    with right:
        if number is not None:
            _draw_form(viewer, schedules[number], names)
    draw_statements(viewer, names)
    draw_exports(viewer)


def _title(schedule: ReportSchedule) -> tuple[str, str]:
    return _TITLES.get(schedule.kind, (schedule.kind, ""))


def _describe(schedule: ReportSchedule, names: dict[int, str]) -> str:
    if not schedule.is_enabled:
        return _title(schedule)[1]
    to = ", ".join(names.get(number, "a deleted channel") for number in schedule.channels)
    return f"From {schedule.local_hour:02d}:00 {schedule.timezone} to {to}"


def _draw_form(viewer: Viewer, schedule: ReportSchedule, channels: dict[int, str]) -> None:
    key = f"settings_report_{schedule.kind}"
    title, facts = _title(schedule)
    zones = list(dict.fromkeys((schedule.timezone, reporting_zone(), "UTC")))
    draw_title(title, facts)
    with st.form(f"{key}_form", border=False):
        is_enabled = st.toggle("Enabled", value=schedule.is_enabled, key=f"{key}_enabled")
        chosen = st.multiselect(
            "Channels",
            list(channels),
            default=[number for number in schedule.channels if number in channels],
            format_func=lambda number: channels[number],
            key=f"{key}_channels",
            placeholder="Choose recipients" if channels else "Add a channel first",
        )
        names_tenants = st.toggle(
            "Name tenants",
            value=schedule.names_tenants,
            key=f"{key}_tenants",
            help="Off: the report says how much of the spend the costliest tenants are, without their names. What is "
            "in a mailbox cannot be erased.",
        )
        left, right = st.columns(2, gap="small")
        hour = left.selectbox(
            "Send from",
            range(24),
            index=schedule.local_hour,
            format_func=lambda hour: f"{hour:02d}:00",
            key=f"{key}_hour",
        )
        zone = right.selectbox(
            "Time zone",
            zones,
            key=f"{key}_zone",
            accept_new_options=True,
            help="An IANA name such as Europe/Berlin. The report's days start at midnight in this zone.",
        )
        is_saved = st.form_submit_button("Save", type="primary", key=f"{key}_save")
    if not is_saved:
        return
    if is_enabled and not chosen:
        st.error("Choose at least one channel.")
        return
    is_done = attempt(
        lambda: save_report_schedule(
            viewer,
            {
                "kind": schedule.kind,
                "is_enabled": is_enabled,
                "local_hour": hour,
                "timezone": zone or schedule.timezone,
                "channels": list(chosen),
                "names_tenants": names_tenants,
            },
        ),
        f"{title} saved",
    )
    if is_done:
        st.rerun()
