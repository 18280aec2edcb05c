"""What the Alerts page reads, and what its buttons do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboard.reads.connection import change, forget_windows, read_window
from ingest.documents.alerts import Alerts

if TYPE_CHECKING:
    from datetime import datetime

    from dashboard.reads.viewer import Viewer
    from dashboard.selection.filters import Window
    from ingest.database import Argument

__all__ = ["acknowledge_alert", "end_silence", "get_alerts", "resend_notification", "silence_alerts"]


def get_alerts(viewer: Viewer, window: Window) -> Alerts:
    """Read the document of the Alerts page."""
    return read_window(viewer, Alerts, "get_alerts", window)


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
