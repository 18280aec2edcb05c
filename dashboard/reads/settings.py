"""What the Settings page reads and writes, prices aside. Reads are never cached: an editor shows what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboard.reads.connection import change, connected, fetch_as, forget_windows
from ingest.alerts.as_code import apply_changes
from ingest.alerts.sealing import SecretBox
from ingest.documents.alerts import Backtest
from ingest.documents.settings import Configuration, ReportSchedule
from ingest.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dashboard.reads.viewer import Viewer
    from ingest.alerts.as_code import Change
    from ingest.alerts.channels import ChannelTarget
    from ingest.database import JsonValue

__all__ = [
    "add_member",
    "allows_private_addresses",
    "apply_alerts",
    "backtest_rule",
    "delete_alert_mute",
    "delete_alert_route",
    "delete_alert_rule",
    "delete_budget",
    "delete_notification_channel",
    "get_configuration",
    "get_report_schedules",
    "remove_member",
    "reporting_zone",
    "save_alert_mute",
    "save_alert_route",
    "save_alert_rule",
    "save_budget",
    "save_notification_channel",
    "save_report_schedule",
    "send_test_notification",
]


def get_configuration(viewer: Viewer) -> Configuration:
    """Read members, rules and channels; everybody but ops gets their own access alone."""
    return fetch_as(viewer, Configuration, "get_settings")


def save_alert_rule(viewer: Viewer, rule: Mapping[str, JsonValue]) -> None:
    """Store a new rule, or a changed one when it carries its `rule_id`."""
    change(viewer, "save_alert_rule", rule=dict(rule))


def delete_alert_rule(viewer: Viewer, rule_id: int) -> None:
    """Remove a rule."""
    change(viewer, "delete_alert_rule", rule_id=rule_id)


def backtest_rule(viewer: Viewer, rule: Mapping[str, JsonValue], days: int = 30) -> Backtest:
    """Ask when a drafted rule would have fired; nothing is saved."""
    return fetch_as(viewer, Backtest, "backtest_rule", rule=dict(rule), days=days)


def save_budget(viewer: Viewer, budget: Mapping[str, JsonValue]) -> None:
    """Store a new budget with its rules, or a changed one when it carries its `budget_id`."""
    change(viewer, "save_budget", budget=dict(budget))


def delete_budget(viewer: Viewer, budget_id: int) -> None:
    """Remove a budget with its rules."""
    change(viewer, "delete_budget", budget_id=budget_id)


def send_test_notification(viewer: Viewer, channel_id: int) -> None:
    """Write a message marked as a test for a channel."""
    change(viewer, "send_test_notification", channel_id=channel_id)
    forget_windows()


def save_notification_channel(
    viewer: Viewer, channel: Mapping[str, JsonValue], target: ChannelTarget | None = None
) -> None:
    """Store a new channel, or a changed one when it carries its `channel_id`.

    The address leaves this process sealed with `TREERING_SECRET_KEY`; without that key the database takes it only where
    Supabase Vault keeps it.

    Args:
        viewer: Who changes it.
        channel: What is not secret.
        target: The address with its secret; None keeps the one that is stored.

    Raises:
        ConfigurationError: `TREERING_SECRET_KEY` is not a valid key.
    """
    secrets: dict[str, JsonValue] = {}
    if target is not None:
        key = load_settings().secret_key
        secrets = target.seal(SecretBox(key)) if key else target.reveal()
    change(viewer, "save_notification_channel", channel={**channel, **secrets})


def delete_notification_channel(viewer: Viewer, channel_id: int) -> None:
    """Remove a channel."""
    change(viewer, "delete_notification_channel", channel_id=channel_id)


def add_member(viewer: Viewer, user_id: str, role: str, tenant_id: str | None) -> None:
    """Give a person a role, or another one; the role tenant names its tenant."""
    change(viewer, "add_member", user_id=user_id, role=role, tenant_id=tenant_id)


def remove_member(viewer: Viewer, user_id: str) -> None:
    """Take a person's role away."""
    change(viewer, "remove_member", user_id=user_id)


def get_report_schedules(viewer: Viewer) -> list[ReportSchedule]:
    """Read when and where the reports are sent. Ops only."""
    return fetch_as(viewer, list[ReportSchedule], "get_report_schedules")


def save_report_schedule(viewer: Viewer, schedule: Mapping[str, JsonValue]) -> None:
    """Change when and where a report is sent. Ops only."""
    change(viewer, "save_report_schedule", schedule=dict(schedule))


def allows_private_addresses() -> bool:
    """Tell whether messages may go to private addresses, `TREERING_ALLOW_PRIVATE_WEBHOOKS`."""
    return load_settings().allow_private_webhooks


def apply_alerts(viewer: Viewer, changes: Sequence[Change]) -> None:
    """Make the changes of an uploaded file."""
    with connected(viewer) as database:
        apply_changes(database, changes)


def save_alert_route(viewer: Viewer, route: Mapping[str, JsonValue]) -> None:
    """Store a new route, or a changed one when it carries its `route_id`."""
    change(viewer, "save_alert_route", route=dict(route))


def delete_alert_route(viewer: Viewer, route_id: int) -> None:
    """Remove a route."""
    change(viewer, "delete_alert_route", route_id=route_id)


def save_alert_mute(viewer: Viewer, mute: Mapping[str, JsonValue]) -> None:
    """Store a new mute time, or a changed one when it carries its `mute_id`."""
    change(viewer, "save_alert_mute", mute=dict(mute))


def delete_alert_mute(viewer: Viewer, mute_id: int) -> None:
    """Remove a mute time."""
    change(viewer, "delete_alert_mute", mute_id=mute_id)


def reporting_zone() -> str:
    """Return the IANA name of the reporting zone, `TREERING_TIMEZONE`."""
    return load_settings().timezone
