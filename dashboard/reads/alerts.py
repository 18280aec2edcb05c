"""What the Alerts page reads, and what its buttons do."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.reads.connection import change, fetch_as, forget_windows, read_window
from dashboard.reads.viewer import Viewer  # noqa: TC001 -- st.cache_data reads the annotation
from ingest.documents.alerts import AlertList
from ingest.documents.delivery import AlertLink, DeliveryHealth

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from dashboard.selection.filters import Window
    from ingest.database import Argument

__all__ = [
    "acknowledge_alerts",
    "end_silences",
    "find_alerts",
    "get_delivery_health",
    "read_alert_link",
    "resend_notification",
    "silence_alerts",
    "use_alert_link",
]

# Every page shows it: more often than this would only cost.
_HEALTH_TTL: Final = timedelta(seconds=30)


def find_alerts(viewer: Viewer, window: Window) -> AlertList:
    """Read one page of the list of alerts; the window's filters are those of `find_alerts`."""
    return read_window(viewer, AlertList, "find_alerts", window)


@st.cache_data(ttl=_HEALTH_TTL, max_entries=256, show_spinner=False)
def get_delivery_health(viewer: Viewer) -> DeliveryHealth:
    """Read which messages do not arrive; members get zeros."""
    return fetch_as(viewer, DeliveryHealth, "get_delivery_health")


def read_alert_link(viewer: Viewer, link: str) -> AlertLink:
    """Read what the link of a message would do."""
    return fetch_as(viewer, AlertLink, "read_alert_link", link=link)


def use_alert_link(viewer: Viewer, link: str, note: str) -> None:
    """Do what the link of a message says, once."""
    _change_alerts(viewer, "use_alert_link", link=link, note=note)


def acknowledge_alerts(viewer: Viewer, alert_ids: Sequence[int], note: str) -> None:
    """Acknowledge alerts in the viewer's name, at most 1,000."""
    _change_alerts(viewer, "acknowledge_selected_alerts", alert_ids=list(alert_ids), note=note)


def silence_alerts(
    viewer: Viewer, alert_ids: Sequence[int], ends_at: datetime, note: str, *, is_whole_rule: bool
) -> None:
    """Keep the groups of alerts, or their whole rules, from sending until a moment."""
    _change_alerts(
        viewer,
        "silence_selected_alerts",
        alert_ids=list(alert_ids),
        ends_at=ends_at.isoformat(),
        whole_rules=is_whole_rule,
        note=note,
    )


def end_silences(viewer: Viewer, silence_ids: Sequence[int]) -> None:
    """End silences now."""
    for silence_id in silence_ids:
        _change_alerts(viewer, "end_silence", silence_id=silence_id)


def resend_notification(viewer: Viewer, notification_id: int) -> None:
    """Put a dead message back into the outbox."""
    _change_alerts(viewer, "resend_notification", notification_id=notification_id)


def _change_alerts(viewer: Viewer, function: str, /, **arguments: Argument) -> None:
    change(viewer, function, **arguments)
    forget_windows()
