"""What the app says of messages that do not arrive, and the page that the link of a message leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.figures.alert_words import moment_in_words
from dashboard.panels.cards import draw_title
from dashboard.panels.changes import change
from dashboard.reads.alerts import get_delivery_health, read_alert_link, use_alert_link
from ingest.errors import TreeringError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from dashboard.reads.viewer import Viewer
    from ingest.documents.delivery import AlertLink

# The key of a link in the address of the Alerts page.
LINK_KEY: Final = "act"
_WORDS: Final = {"acknowledge": ("Acknowledge", "acknowledged"), "silence": ("Silence for a day", "silenced")}


def draw_delivery(viewer: Viewer) -> None:
    """Say on every page which messages are overdue or dead; nothing where all arrive or it cannot be read."""
    try:
        health = get_delivery_health(viewer)
    except TreeringError:  # the page's own read reports it
        return
    said = health.describe()
    if said is not None:
        st.warning(f"{said[0].upper()}{said[1:]}. See Messages on the Alerts page.", icon=":material/mail_off:")


def draw_silent_rules(viewer: Viewer) -> None:
    """Name the rules that send to nobody."""
    try:
        names = get_delivery_health(viewer).silent_rules
    except TreeringError:
        return
    if names:
        shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        st.info(f"No message is sent for: {shown}. Choose channels in Settings.", icon=":material/notifications_off:")


def draw_link(viewer: Viewer, zone: ZoneInfo) -> None:
    """Draw what the link of a message would do, with the button that does it; nothing without a link."""
    link = st.query_params.get(LINK_KEY)
    if not link:
        return
    try:
        about = read_alert_link(viewer, link)
    except TreeringError as error:
        st.error(f"The link does nothing: {error}", icon=":material/link_off:")
        return
    do, done = _WORDS[about.action]
    with st.container(border=True, key="panel_alert_link"):
        draw_title(f"{do}: {_subject(about)}", _state(about, zone))
        if about.used_at is not None:
            st.info(f"The link was used by {about.used_by} at {moment_in_words(about.used_at, zone)}.")
        elif about.is_expired:
            st.info("The link has expired. Ops can still acknowledge and silence below.")
        elif about.action == "acknowledge" and not about.unacknowledged:
            st.info("Nothing is left to acknowledge.")
        else:
            note = st.text_input("Note", key="alert_link_note", max_chars=500, placeholder="Optional")
            st.button(
                do,
                key="alert_link_use",
                type="primary",
                on_click=change,
                args=(lambda: use_alert_link(viewer, link, note or ""), f"{about.rule_name} {done}"),
            )


def _subject(about: AlertLink) -> str:
    if about.group_key:
        return f"{about.rule_name}, {about.group_key}"
    return f"{about.rule_name}, {about.alerts:,} groups" if about.alerts > 1 else about.rule_name


def _state(about: AlertLink, zone: ZoneInfo) -> str:
    firing = f"{about.firing:,} of {about.alerts:,} still firing" if about.alerts > 1 else "firing"
    state = firing if about.firing else "no longer firing"
    return f"{about.severity.capitalize()}, {state}, since {moment_in_words(about.started_at, zone)}"
