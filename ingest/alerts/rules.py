"""Alert rules and budgets as people write them, checked before the database checks them again."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ingest.alerts.conditions import Condition  # noqa: TC001 -- pydantic reads the annotations at run time
from ingest.alerts.metrics import CALL_SCOPE, METRICS, is_tag, unknown_dimensions

_MONTH_S = 31 * 24 * 3600
_QUARTER_S = 15 * 60

# With the forecast three messages a month at most, as the budgets of cloud providers begin.
BUDGET_STEPS = (Decimal("0.8"), Decimal(1))

Names = Annotated[list[Annotated[str, Field(max_length=200)]], Field(min_length=1, max_length=50)]
TagDimension = Annotated[str, Field(pattern=r"^tags\.[a-z][a-z0-9_]{0,39}$")]
Threshold = Annotated[Decimal, Field(ge=0, lt=Decimal("1e15"), allow_inf_nan=False)]
LabelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,60}$")]
Labels = Annotated[dict[LabelName, Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=20)]
RunbookUrl = Annotated[str, Field(pattern=r"^https?://\S+$", max_length=2048)]
Step = Annotated[Decimal, Field(gt=0, le=10)]


def _check_metric(value: str) -> str:
    if value not in METRICS:
        raise ValueError(f"unknown metric {value}: choose one of {', '.join(METRICS)}")
    return value


def _check_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("must be an IANA time zone like UTC or Europe/Berlin") from error
    return value


def _check_steps(value: list[Decimal]) -> list[Decimal]:
    if value != sorted(set(value)):
        raise ValueError("steps must be distinct and ascending")
    return value


MetricName = Annotated[str, AfterValidator(_check_metric)]
Zone = Annotated[str, AfterValidator(_check_zone)]
Steps = Annotated[list[Step], Field(min_length=1, max_length=10), AfterValidator(_check_steps)]


class RuleDraft(BaseModel):
    """A threshold on one metric, as `save_alert_rule` takes it.

    Attributes:
        name: Unique name.
        metric: What is measured.
        window_s: Length of the sliding window: whole minutes up to 31 days, quarters of an hour by user.
        period: A calendar day, week or month instead of the sliding window.
        timezone: IANA zone in which the calendar window begins.
        comparator: Whether values above or below the threshold breach.
        threshold: US dollars, tokens, calls, milliseconds, seconds or a fraction, as the metric says.
        critical_threshold: From here on the alert is critical.
        resolve_threshold: The value must come back past this one before the alert ends.
        for_s: How long the breach lasts before it fires.
        minimum_sample: Calls or requests needed before a breach counts; by default 20 for a share, 50 for a percentile.
        minimum_change: How far from the usual something must be, in the metric's unit; None is the metric's default.
        scope: Names by dimension (tags.plan for the tag plan); only what matches all of them is measured.
        group_by: One alert for each of its values, at most `group_limit` at once.
        group_limit: Most groups that fire at once.
        no_data: What becomes of the rule where there is nothing to measure.
        renotify_s: Reminds after so long, until somebody acknowledges; None never.
        severity: Of the first threshold.
        channels: Numbers of the channels.
        budget_id: The budget of `budget_used` and `budget_forecast`.
        is_enabled: Whether it is evaluated.
        description: What the rule is about and who cares; part of its messages.
        runbook_url: What to do when it fires; a link in its messages.
        labels: Texts by name, which routes and mute times go by.
        keep_firing_s: How long the breach must be over before the alert ends.
        cooldown_s: How long after an alert has ended its group does not fire again.
        conditions: Thresholds on other metrics that must hold as well.
        objective: Of a burn rate: the share of calls that are to be good, from 0.5 to 0.99999.
        objective_ms: Of a burn rate of latency: up to how many milliseconds a call is good.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=120)
    metric: MetricName
    window_s: int = Field(default=300, ge=60, le=_MONTH_S, multiple_of=60)
    period: Literal["day", "week", "month"] | None = None
    timezone: Zone = "UTC"
    comparator: Literal["above", "below"] = "above"
    threshold: Threshold
    critical_threshold: Threshold | None = None
    resolve_threshold: Threshold | None = None
    for_s: int = Field(default=0, ge=0, le=86_400)
    minimum_sample: int = Field(default=-1, ge=0, le=1_000_000_000)
    minimum_change: Threshold | None = None
    scope: dict[str, Names] = Field(default_factory=dict)
    group_by: (
        Literal["user_id", "tenant_id", "feature", "model", "provider", "environment", "route"] | TagDimension | None
    ) = None
    group_limit: int = Field(default=50, ge=1, le=500)
    no_data: Literal["ok", "firing", "keep"] = "keep"
    renotify_s: int | None = Field(default=None, ge=60, le=_MONTH_S)
    severity: Literal["warning", "critical"] = "warning"
    channels: list[int] = Field(default_factory=list)
    budget_id: int | None = None
    is_enabled: bool = True
    description: str | None = Field(default=None, max_length=2000)
    runbook_url: RunbookUrl | None = None
    labels: Labels = Field(default_factory=dict)
    keep_firing_s: int = Field(default=0, ge=0, le=86_400)
    cooldown_s: int = Field(default=0, ge=0, le=604_800)
    conditions: list[Condition] = Field(default_factory=list, max_length=5)
    objective: Decimal | None = Field(default=None, ge=Decimal("0.5"), le=Decimal("0.99999"))
    objective_ms: Decimal | None = Field(default=None, gt=0, lt=Decimal("1e9"))

    @model_validator(mode="before")
    @classmethod
    def _fill_sample(cls, values: Any) -> Any:
        # By the metric, so no fixed default; -1 is never left standing.
        if isinstance(values, dict) and values.get("minimum_sample") is None:
            metric = METRICS.get(str(values.get("metric")))
            return {**values, "minimum_sample": 1 if metric is None else metric.default_sample}
        return values

    @model_validator(mode="after")
    def _check_thresholds(self) -> Self:
        sign = 1 if self.comparator == "above" else -1
        highest = max(self.threshold, self.critical_threshold or self.threshold)
        most = METRICS[self.metric].unit.highest
        if most is not None and highest > most:
            raise ValueError("a rate or share is a fraction from 0 to 1")
        if self.critical_threshold is not None and sign * (self.critical_threshold - self.threshold) <= 0:
            raise ValueError("a critical threshold lies beyond the threshold")
        if self.resolve_threshold is not None and sign * (self.resolve_threshold - self.threshold) > 0:
            raise ValueError("a resolve threshold lies on the safe side of the threshold")
        return self

    @model_validator(mode="after")
    def _check_what_is_measured(self) -> Self:
        of = METRICS[self.metric].of
        if wrong := unknown_dimensions(self.scope, of.scope):
            raise ValueError(f"{self.metric} has no scope {', '.join(wrong)}")
        if self.group_by is not None and unknown_dimensions([self.group_by], of.groups):
            allowed = f"groups only by {', '.join(sorted(of.groups))}" if of.groups else "no groups"
            raise ValueError(f"{self.metric} has {allowed}")
        if of.is_budget != (self.budget_id is not None):
            raise ValueError("a budget's metric has a budget, others none")
        counted = (self.group_by or "", *self.scope)
        by_user = any(name in ("user_id", "tenant_id") or is_tag(name) for name in counted)
        if by_user and self.period is None and self.window_s % _QUARTER_S:
            raise ValueError(
                "usage by user, tenant or tag is counted per quarter of an hour: choose a window of 15 minutes "
                "or a multiple"
            )
        return self

    @model_validator(mode="after")
    def _check_comparison(self) -> Self:
        metric = METRICS[self.metric]
        if metric.is_burn != (self.objective is not None):
            raise ValueError("a burn rate has an objective, other metrics none")
        if metric.has_objective_ms != (self.objective_ms is not None):
            raise ValueError("a burn rate of latency has its limit in ms, other metrics none")
        if metric.is_burn and self.comparator == "below":
            raise ValueError("a burn rate is above a threshold")
        if self.period is not None and not metric.of.has_periods:
            raise ValueError(f"{self.metric} has a sliding window")
        if not metric.of.shortest_window_s <= self.window_s <= metric.of.longest_window_s and metric.of.has_window:
            raise ValueError(
                f"the window of {self.metric} is from {metric.of.shortest_window_s} to {metric.of.longest_window_s} s"
            )
        if self.conditions and not metric.can_have_conditions:
            raise ValueError(f"a rule on {self.metric} has no conditions")
        if any(METRICS[one.metric].of.counted != metric.of.counted for one in self.conditions):
            raise ValueError(f"the conditions of {self.metric} are about {metric.of.counted} as well")
        return self

    @model_validator(mode="after")
    def _check_behaviour(self) -> Self:
        if self.period is not None and self.comparator == "below":
            raise ValueError("a calendar window starts empty, so it cannot have a lower limit")
        if self.minimum_change is not None and not METRICS[self.metric].minimum_change:
            raise ValueError("only a rule on what is unusual has a minimum change")
        if self.no_data == "firing" and self.group_by:
            raise ValueError("a rule by group does not fire on missing data")
        return self


class BudgetDraft(BaseModel):
    """An amount per calendar period, as `save_budget` takes it.

    Attributes:
        name: Unique name.
        amount: US dollars per period.
        period: Calendar day, week or month.
        timezone: IANA zone in which it begins.
        scope: Names by dimension of calls.
        steps: Fractions of the amount; each that is reached tells once.
        forecast_step: Tells when this fraction is expected by the end of the period; None never.
        channels: Numbers of the channels.
        is_enabled: Whether it is watched.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=100)
    amount: Decimal = Field(gt=0, lt=Decimal("1e12"), allow_inf_nan=False)
    period: Literal["day", "week", "month"] = "month"
    timezone: Zone = "UTC"
    scope: dict[str, Names] = Field(default_factory=dict)
    steps: Steps = Field(default_factory=lambda: list(BUDGET_STEPS))
    forecast_step: Step | None = Decimal(1)
    channels: list[int] = Field(default_factory=list)
    is_enabled: bool = True

    @model_validator(mode="after")
    def _check_scope(self) -> Self:
        if wrong := unknown_dimensions(self.scope, CALL_SCOPE):
            raise ValueError(f"a budget has no scope {', '.join(wrong)}")
        return self


def preset_rules(timezone: str = "UTC", channels: list[int] | None = None) -> list[RuleDraft]:
    """Rules that make sense for most products, to start from.

    Args:
        timezone: IANA zone of calendar days.
        channels: Channels that all of them send to.
    """
    hour, production = 3600, {"environment": ["production"]}
    chosen: list[dict[str, object]] = [
        {"name": "High error rate", "metric": "error_rate", "window_s": 300, "threshold": "0.1", "scope": production,
         "critical_threshold": "0.3", "resolve_threshold": "0.05", "for_s": 60},
        {"name": "Slow responses", "metric": "p99_latency_ms", "window_s": 900, "threshold": "30000",
         "resolve_threshold": "20000", "scope": production, "for_s": 300},
        {"name": "Slow first tokens", "metric": "p90_time_to_first_token_ms", "window_s": 900, "threshold": "5000",
         "resolve_threshold": "3500", "scope": production, "for_s": 300},
        {"name": "Daily spend", "metric": "spend", "period": "day", "window_s": 24 * hour, "threshold": "100",
         "critical_threshold": "250", "renotify_s": 6 * hour},
        {"name": "High spend by one user", "metric": "spend", "window_s": 24 * hour, "threshold": "20",
         "critical_threshold": "100", "group_by": "user_id", "group_limit": 20},
        {"name": "Unusual spend", "metric": "anomaly", "window_s": hour, "threshold": "1"},
        {"name": "Unusual spend by one user", "metric": "anomaly", "window_s": hour, "threshold": "1",
         "minimum_change": "10", "group_by": "user_id", "group_limit": 20},
        {"name": "Calls without a price", "metric": "unpriced_share", "window_s": hour, "threshold": "0.05"},
        {"name": "Estimated token counts", "metric": "estimated_share", "window_s": 24 * hour, "threshold": "0.2",
         "minimum_sample": 50},
        {"name": "Pipeline lag", "metric": "pipeline_lag_s", "window_s": 60, "threshold": "120",
         "critical_threshold": "900", "for_s": 60},
    ]  # fmt: skip
    return [RuleDraft.model_validate({**rule, "timezone": timezone, "channels": channels or []}) for rule in chosen]
