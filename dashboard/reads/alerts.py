"""What the Alerts page reads, and what its buttons do."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard.reads.connection import change, fetch_as, forget_windows, read_window
from dashboard.reads.viewer import Viewer  # noqa: TC001 -- st.cache_data reads the annotation
from ingest.documents.alerts import Alerts
from ingest.documents.delivery import AlertLink, DeliveryHealth

if TYPE_CHECKING:
    from datetime import datetime

    from dashboard.selection.filters import Window
    from ingest.database import Argument

__all__ = [
    "acknowledge_alert",
    "end_silence",
    "get_alerts",
    "get_delivery_health",
    "read_alert_link",
    "resend_notification",
    "silence_alerts",
    "use_alert_link",
]

# Every page shows it: more often than this would only cost.
_HEALTH_TTL: Final = timedelta(seconds=30)


def get_alerts(viewer: Viewer, window: Window) -> Alerts:
    """Read the document of the Alerts page."""
    return read_window(viewer, Alerts, "get_alerts", window)


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


def acknowledge_alert(viewer: Viewer, alert_id: int, note: str) -> None:
    """Acknowledge an alert in the viewer's name."""
    _change_alerts(viewer, "acknowledge_alert", alert_id=alert_id, note=note)


def silence_alerts(viewer: Viewer, rule_id: int, group_key: str | None, ends_at: datetime, note: str) -> None:
    """Keep a rule, or one group of it, from sending until a moment."""
    _change_alerts(
        viewer, "silence_alerts", rule_id=rule_id, group_key=group_key, note=note, ends_at=ends_at.isoformat()
    )


def end_silence(viewer: Viewer, silence_id: int) -> None:
    """End a silence now."""
    _change_alerts(viewer, "end_silence", silence_id=silence_id)


def resend_notification(viewer: Viewer, notification_id: int) -> None:
    """Put a dead message back into the outbox."""
    _change_alerts(viewer, "resend_notification", notification_id=notification_id)


def _change_alerts(viewer: Viewer, function: str, /, **arguments: Argument) -> None:
    change(viewer, function, **arguments)
    forget_windows()
