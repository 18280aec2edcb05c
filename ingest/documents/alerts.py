"""The documents of the Alerts and Settings pages, in the manner of `ingest.documents.pages`."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal  # noqa: TC003
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class AlertRule(_Document):
    """A threshold on one metric over a window, and where it stands."""

    rule_id: int
    name: str
    metric: str
    window_s: int
    period: str | None = None
    timezone: str = "UTC"
    comparator: str = "above"
    threshold: Decimal
    critical_threshold: Decimal | None = None
    resolve_threshold: Decimal | None = None
    steps: tuple[Decimal, ...] | None = None
    scope: dict[str, list[str]] = Field(default_factory=dict)
    group_by: str | None = None
    group_limit: int = 50
    for_s: int = 0
    minimum_sample: int = 1
    no_data: str = "ok"
    renotify_s: int | None = None
    severity: str = "warning"
    channels: tuple[int, ...] = ()
    is_enabled: bool = True
    is_managed: bool = False
    budget_id: int | None = None
    state: str = "ok"
    firing_groups: int = 0
    groups_over_limit: int = 0
    value: Decimal | None = None
    evaluated_at: datetime | None = None
    last_error: str | None = None
    last_error_at: datetime | None = None
    silenced_until: datetime | None = None


class Alert(_Document):
    """One breach, firing or resolved, with the figure that caused it."""

    alert_id: int
    rule_id: int | None = None
    rule_name: str
    metric: str
    comparator: str = "above"
    scope: dict[str, list[str]] = Field(default_factory=dict)
    group_by: str | None = None
    group_key: str = ""
    state: str
    value: Decimal | None = None
    current_value: Decimal | None = None
    threshold: Decimal | None = None
    sample_count: int | None = None
    severity: str = "warning"
    window_start: datetime | None = None
    window_end: datetime | None = None
    evidence: dict[str, Any] = Field(default_factory=dict)
    started_at: datetime
    resolved_at: datetime | None = None
    resolution: str | None = None
    resolved_value: Decimal | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledge_note: str | None = None
    silenced_until: datetime | None = None


class Transition(_Document):
    """One change of state, with its evidence."""

    transition_id: int
    occurred_at: datetime
    rule_name: str
    group_key: str = ""
    from_state: str
    to_state: str
    value: Decimal | None = None
    threshold: Decimal | None = None
    severity: str | None = None
    sample_count: int | None = None
    actor: str | None = None
    note: str | None = None


class Silence(_Document):
    """Until when a rule, or one group of it, sends nothing."""

    silence_id: int
    rule_id: int
    rule_name: str
    group_key: str | None = None
    ends_at: datetime
    note: str | None = None
    created_by: str | None = None


class Notification(_Document):
    """One message in the outbox."""

    notification_id: int
    alert_id: int | None = None
    rule_name: str | None = None
    channel_name: str | None = None
    event: str
    state: str
    attempts: int = 0
    last_error: str | None = None
    created_at: datetime
    sent_at: datetime | None = None
    next_attempt_at: datetime | None = None
    can_resend: bool = False


class Times(_Document):
    """How fast people and systems answered in the period; seconds."""

    alerts: int = 0
    acknowledged: int = 0
    recovered: int = 0
    mean_time_to_acknowledge_s: float | None = None
    mean_time_to_resolve_s: float | None = None


class Alerts(_Document):
    """Document of `get_alerts`."""

    access: str = "member"
    firing: tuple[Alert, ...] = ()
    history: tuple[Alert, ...] = ()
    times: Times = Times()
    transitions: tuple[Transition, ...] = ()
    silences: tuple[Silence, ...] = ()
    outbox: tuple[Notification, ...] = ()
    rules: tuple[AlertRule, ...] = ()


class Member(_Document):
    """A person with a role: member, analyst or ops."""

    user_id: str
    role: str
    added_at: datetime | None = None
    added_by: str | None = None


class Channel(_Document):
    """Where messages go. The address itself is write-only; only its host or kind of service comes back."""

    channel_id: int
    name: str
    kind: str = "webhook"
    target_hint: str | None = None
    max_per_minute: int = 60
    is_enabled: bool = True


class Budget(_Document):
    """US dollars per calendar period; `used` and `forecast` are shares of the amount."""

    budget_id: int
    name: str
    amount: Decimal
    period: str = "month"
    timezone: str = "UTC"
    scope: dict[str, list[str]] = Field(default_factory=dict)
    steps: tuple[Decimal, ...] = ()
    forecast_step: Decimal | None = None
    channels: tuple[int, ...] = ()
    is_enabled: bool = True
    used: Decimal | None = None
    forecast: Decimal | None = None


class Configuration(_Document):
    """Document of `get_settings`. For anybody but ops only `access` is filled."""

    access: str
    members: tuple[Member, ...] = ()
    rules: tuple[AlertRule, ...] = ()
    budgets: tuple[Budget, ...] = ()
    channels: tuple[Channel, ...] = ()
    dimensions: dict[str, list[str]] = Field(default_factory=dict)
    has_vault: bool = False


class Firing(_Document):
    """When a drafted rule would have fired, with the figure."""

    group_key: str = ""
    started_at: datetime
    resolved_at: datetime | None = None
    value: Decimal | None = None
    threshold: Decimal | None = None
    severity: str = "warning"
    sample_count: int | None = None


class BacktestPoint(_Document):
    """The highest (or, for a lower limit, lowest) value of a stretch of time."""

    moment: datetime
    value: Decimal


class Backtest(_Document):
    """Document of `backtest_rule`."""

    from_time: datetime
    to_time: datetime
    step_s: int
    firing_count: int = 0
    firing_s: float = 0
    firings: tuple[Firing, ...] = ()
    series: tuple[BacktestPoint, ...] = ()


class ReportSchedule(_Document):
    """When and where a report leaves."""

    kind: str
    is_enabled: bool = False
    local_hour: int = 8
    timezone: str = "UTC"
    channels: tuple[int, ...] = ()


class ReportSchedules(_Document):
    """Answer of `get_report_schedules`."""

    schedules: tuple[ReportSchedule, ...] = ()
