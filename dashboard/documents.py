"""The documents that the read functions of the database return, checked at the border and typed from there on.

Sums of money arrive as text and become `Decimal`; times become aware UTC `datetime`. Keys that a newer database adds
are ignored, so that an older app goes on working.
"""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 -- pydantic reads the annotations at run time
from decimal import Decimal  # noqa: TC003

from pydantic import BaseModel, ConfigDict, Field


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Quantiles(_Document):
    """Percentiles in milliseconds; None where nothing was measured."""

    count: int = 0
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None


class Totals(_Document):
    """The sums of one period. `cost` is US dollars, None where nothing was priced."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    errors: int = 0
    cancelled: int = 0
    cost: Decimal | None = None
    fallback_cost: Decimal | None = None
    provider_reported_cost: Decimal | None = None
    unpriced_requests: int = 0
    estimated_requests: int = 0
    fallback_requests: int = 0
    users: int = 0
    latency_ms: Quantiles = Quantiles()
    time_to_first_token_ms: Quantiles = Quantiles()


class Options(_Document):
    """The values that occur in the data, for the filters."""

    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    error_types: tuple[str, ...] = ()


class Row(_Document):
    """One line of a ranking. `is_other` marks the sum of all that did not fit, `keys` how many these are."""

    key: str | None = None
    is_other: bool = False
    keys: int | None = None
    requests: int = 0
    total_tokens: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    errors: int = 0
    cost: Decimal | None = None
    previous_cost: Decimal | None = None


class SpeedRow(_Document):
    """Speed and errors of one model, feature or route; milliseconds."""

    key: str | None = None
    is_other: bool = False
    method: str | None = None
    requests: int = 0
    errors: int = 0
    latency_p50_ms: float | None = None
    latency_p90_ms: float | None = None
    latency_p99_ms: float | None = None
    time_to_first_token_p50_ms: float | None = None
    time_to_first_token_p90_ms: float | None = None


class Point(_Document):
    """One time bucket of one line; each page fills the fields that it draws."""

    bucket_start: datetime
    key: str | None = None
    is_other: bool = False
    requests: int = 0
    total_tokens: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    errors: int = 0
    cost: Decimal | None = None
    latency_p50_ms: float | None = None
    latency_p90_ms: float | None = None
    latency_p99_ms: float | None = None
    time_to_first_token_p50_ms: float | None = None
    time_to_first_token_p90_ms: float | None = None
    time_to_first_token_p99_ms: float | None = None


class Calendar(_Document):
    """The viewer's day or month so far, whatever period is chosen; None where a filter by metadata is set."""

    requests: int | None = None
    total_tokens: int | None = None
    cost: Decimal | None = None


class Page(_Document):
    """What every page's document has in common."""

    access: str
    from_time: datetime
    to_time: datetime
    bucket: str
    timezone: str
    generated_at: datetime
    newest_event_at: datetime | None = None
    pending_rows: int = 0
    has_demo_data: bool = False
    options: Options = Options()
    totals: Totals = Totals()
    previous: Totals = Totals()


class Overview(Page):
    """Document of `get_overview`."""

    today: Calendar = Calendar()
    month: Calendar = Calendar()
    series: tuple[Point, ...] = ()
    top_models: tuple[Row, ...] = ()
    top_features: tuple[Row, ...] = ()
    top_users: tuple[Row, ...] = ()
    firing_alerts: int = 0


class Usage(Page):
    """Document of `get_usage`."""

    series: tuple[Point, ...] = ()
    by_model: tuple[Row, ...] = ()
    by_feature: tuple[Row, ...] = ()
    by_user: tuple[Row, ...] = ()
    by_operation: tuple[Row, ...] = ()
    by_status: tuple[Row, ...] = ()


class Costs(Page):
    """Document of `get_costs`."""

    series: tuple[Point, ...] = ()
    by_model: tuple[Row, ...] = ()
    by_feature: tuple[Row, ...] = ()
    by_provider: tuple[Row, ...] = ()
    by_environment: tuple[Row, ...] = ()
    by_user: tuple[Row, ...] = ()


class ErrorRow(_Document):
    """How often one kind of error occurred."""

    error_type: str | None = None
    requests: int = 0


class Routes(_Document):
    """Speed of the backend's own HTTP routes."""

    requests: int = 0
    errors: int = 0
    latency_ms: Quantiles = Quantiles()
    series: tuple[Point, ...] = ()
    by_route: tuple[SpeedRow, ...] = ()


class Performance(Page):
    """Document of `get_performance`."""

    series: tuple[Point, ...] = ()
    by_model: tuple[SpeedRow, ...] = ()
    by_feature: tuple[SpeedRow, ...] = ()
    errors_by_type: tuple[ErrorRow, ...] = ()
    routes: Routes = Routes()


class AlertRule(_Document):
    """A threshold on one metric over a sliding window."""

    rule_id: int
    name: str
    metric: str
    window_s: int
    threshold: Decimal
    scope: dict[str, list[str]] = Field(default_factory=dict)
    for_s: int = 0
    minimum_sample: int = 1
    severity: str = "warning"
    channels: tuple[int, ...] = ()
    is_enabled: bool = True


class Alert(_Document):
    """One breach, firing or resolved, with the figure that caused it."""

    alert_id: int
    rule_id: int | None = None
    rule_name: str
    metric: str
    state: str
    value: Decimal | None = None
    threshold: Decimal | None = None
    sample_count: int | None = None
    severity: str = "warning"
    window_start: datetime | None = None
    window_end: datetime | None = None
    started_at: datetime
    resolved_at: datetime | None = None


class Notification(_Document):
    """One message in the outbox."""

    notification_id: int
    alert_id: int | None = None
    channel_name: str | None = None
    event: str
    state: str
    attempts: int = 0
    last_error: str | None = None
    created_at: datetime
    sent_at: datetime | None = None


class Alerts(_Document):
    """Document of `get_alerts`."""

    firing: tuple[Alert, ...] = ()
    history: tuple[Alert, ...] = ()
    outbox: tuple[Notification, ...] = ()
    rules: tuple[AlertRule, ...] = ()


class Member(_Document):
    """A person with a role: member, analyst or ops."""

    user_id: str
    role: str
    added_at: datetime | None = None
    added_by: str | None = None


class Channel(_Document):
    """Where messages go. The address itself is write-only; only its host comes back."""

    channel_id: int
    name: str
    kind: str = "webhook"
    target_hint: str | None = None
    is_enabled: bool = True


class Configuration(_Document):
    """Document of `get_settings`. For anybody but ops only `access` is filled."""

    access: str
    members: tuple[Member, ...] = ()
    rules: tuple[AlertRule, ...] = ()
    channels: tuple[Channel, ...] = ()


class BillTotals(_Document):
    """Bill and record over the days that have a bill. `drift` is the bill less the record, US dollars."""

    days: int = 0
    days_without_bill: int = 0
    billed_cost: Decimal | None = None
    recorded_cost: Decimal | None = None
    drift: Decimal | None = None
    drift_fraction: Decimal | None = None
    fetched_at: datetime | None = None


class DriftCause(_Document):
    """What could explain a part of the drift. `amount` is that part in US dollars, None where it cannot be told."""

    cause: str
    requests: int | None = None
    amount: Decimal | None = None
    details: object = None


class Reconciliation(_Document):
    """Document of `get_reconciliation`: the provider's bill beside what was recorded."""

    provider: str
    from_day: date
    to_day: date
    totals: BillTotals = BillTotals()
    explanations: tuple[DriftCause, ...] = ()
