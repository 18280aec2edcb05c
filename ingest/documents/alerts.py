"""Rules, alerts, messages and back-tests, as the functions of alerting return them."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal  # noqa: TC003
from typing import Any

from pydantic import Field

from ingest.documents.document import Document


class RuleCondition(Document):
    """A further condition of a rule."""

    metric: str
    comparator: str = "above"
    threshold: Decimal


class AlertRule(Document):
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
    minimum_change: Decimal | None = None
    no_data: str = "keep"
    keep_firing_s: int = 0
    cooldown_s: int = 0
    conditions: tuple[RuleCondition, ...] = ()
    objective: Decimal | None = None
    objective_ms: Decimal | None = None
    renotify_s: int | None = None
    severity: str = "warning"
    channels: tuple[int, ...] = ()
    is_enabled: bool = True
    is_managed: bool = False
    description: str | None = None
    runbook_url: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    budget_id: int | None = None
    state: str = "ok"
    firing_groups: int = 0
    groups_over_limit: int = 0
    value: Decimal | None = None
    evaluated_at: datetime | None = None
    last_error: str | None = None
    last_error_at: datetime | None = None
    no_data_since: datetime | None = None
    silenced_until: datetime | None = None


class Alert(Document):
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
    matter: str = ""
    standing: str = ""
    current_value: Decimal | None = None
    latest_value: Decimal | None = None
    description: str | None = None
    runbook_url: str | None = None
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
    is_late: bool = False
    pending_since: datetime | None = None
    breached_until: datetime | None = None
    no_data_since: datetime | None = None
    recovering_since: datetime | None = None


class Transition(Document):
    """One change of state, with its evidence."""

    transition_id: int
    occurred_at: datetime
    rule_name: str
    metric: str | None = None
    group_key: str = ""
    from_state: str
    to_state: str
    value: Decimal | None = None
    threshold: Decimal | None = None
    severity: str | None = None
    sample_count: int | None = None
    actor: str | None = None
    note: str | None = None


class Silence(Document):
    """Until when a rule, or one group of it, sends nothing."""

    silence_id: int
    rule_id: int
    rule_name: str
    group_key: str | None = None
    ends_at: datetime
    note: str | None = None
    created_by: str | None = None


class Message(Document):
    """One message in the outbox."""

    notification_id: int
    alert_id: int | None = None
    rule_name: str | None = None
    channel_name: str | None = None
    event: str
    is_critical: bool = False
    state: str
    attempts: int = 0
    last_error: str | None = None
    created_at: datetime
    sent_at: datetime | None = None
    next_attempt_at: datetime | None = None
    can_resend: bool = False


class WrittenMessage(Document):
    """One message that `send_test_notification` has put into the outbox."""

    notification_id: int
    channel_name: str | None = None


class MessageState(WrittenMessage):
    """What became of a message, of `get_notification_states`."""

    state: str
    attempts: int = 0
    last_error: str | None = None


class Times(Document):
    """How fast people and systems answered in the period; seconds."""

    alerts: int = 0
    acknowledged: int = 0
    recovered: int = 0
    mean_time_to_acknowledge_s: float | None = None
    mean_time_to_resolve_s: float | None = None


class Alerts(Document):
    """Document of `get_alerts`."""

    access: str = "member"
    firing: tuple[Alert, ...] = ()
    history: tuple[Alert, ...] = ()
    times: Times = Times()
    transitions: tuple[Transition, ...] = ()
    silences: tuple[Silence, ...] = ()
    outbox: tuple[Message, ...] = ()
    rules: tuple[AlertRule, ...] = ()


class AlertCounts(Document):
    """How many lines of the list stand how; `firing` are all but those that are resolved."""

    firing: int = 0
    unacknowledged: int = 0
    acknowledged: int = 0
    silenced: int = 0
    resolved: int = 0


class RuleAlerts(Document):
    """The alerts of one rule together; `worst` is the one that is furthest beyond its threshold."""

    rule_id: int | None = None
    rule_name: str
    alerts: int
    unacknowledged: int = 0
    acknowledged: int = 0
    silenced: int = 0
    critical: int = 0
    severity: str = "warning"
    started_at: datetime
    newest_at: datetime
    firing_ids: tuple[int, ...] = ()
    worst: Alert
    runbook_url: str | None = None
    description: str | None = None


class AlertList(Document):
    """Document of `find_alerts`: one page of the list, by alert or by rule, and what stands around it.

    `firing_ids` are the alerts that fire among all that were found, not only on this page, at most 1,000. Alerts of one
    `matter` follow each other: they are one line of the list.
    """

    access: str = "member"
    counts: AlertCounts = AlertCounts()
    total: int = 0
    firing_now: int = 0
    alerts: tuple[Alert, ...] = ()
    by_rule: tuple[RuleAlerts, ...] = ()
    firing_ids: tuple[int, ...] = ()
    rule_names: tuple[str, ...] = ()
    group_keys: tuple[str, ...] = ()
    times: Times = Times()
    transitions: tuple[Transition, ...] = ()
    silences: tuple[Silence, ...] = ()
    outbox: tuple[Message, ...] = ()
    active_rules: int = 0
    failing: tuple[AlertRule, ...] = ()


class Firing(Document):
    """When a drafted rule would have fired, with the figure."""

    group_key: str = ""
    started_at: datetime
    resolved_at: datetime | None = None
    value: Decimal | None = None
    threshold: Decimal | None = None
    severity: str = "warning"
    sample_count: int | None = None


class BacktestPoint(Document):
    """The highest (or, for a lower limit, lowest) value of a stretch of time."""

    moment: datetime
    value: Decimal


class Backtest(Document):
    """Document of `backtest_rule`."""

    from_time: datetime
    to_time: datetime
    step_s: int
    firing_count: int = 0
    firing_s: float = 0
    firings: tuple[Firing, ...] = ()
    series: tuple[BacktestPoint, ...] = ()
