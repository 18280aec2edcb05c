"""The one table of what alert rules measure: names, units, what they are measured of, where they are shown.

A new metric is one row here, one name and one branch in `supabase/migrations/…_metric_kinds.sql`, and one test.
Messages, the app's forms, reports, thresholds and back-tests follow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal

from ingest.documents.words import DASH, format_duration, format_number, format_share, format_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Page = Literal["costs", "usage", "performance", "alerts"]


class Unit(Enum):
    """In what a metric is measured, how its thresholds are typed and how its values are written.

    Attributes:
        typed: What stands beside the field of a threshold.
        factor: How many of what is typed are one of what is stored.
        highest: The highest threshold that makes sense; None where there is none.
        write: Writes a value for people.
    """

    USD = ("US$", 1, None, format_usd)
    TOKENS = ("tokens", 1, None, format_number)
    CALLS = ("calls", 1, None, format_number)
    REQUESTS = ("requests", 1, None, format_number)
    MILLISECONDS = ("ms", 1, None, lambda value: format_duration(float(value)))
    SECONDS = ("s", 1, None, lambda value: format_duration(float(value) * 1000))
    SHARE = ("%", 100, Decimal(1), lambda value: format_share(value, 1))
    RATIO = ("%", 100, None, lambda value: format_share(value, 1))
    MESSAGES = ("messages", 1, None, format_number)
    BURN = (
        "\N{MULTIPLICATION SIGN} the budget",
        1,
        None,
        lambda value: f"{format_number(value)}\N{MULTIPLICATION SIGN}",
    )
    SCORE = ("", 1, None, format_number)

    def __init__(self, typed: str, factor: int, highest: Decimal | None, write: Callable[[Decimal], str]) -> None:
        self.typed = typed
        self.factor = factor
        self.highest = highest
        self.write = write


@dataclass(frozen=True, slots=True)
class Subject:
    """What metrics are measured of.

    Attributes:
        counted: What the sample counts; empty where there is none.
        scope: Dimensions that a rule may be narrowed to.
        groups: Dimensions by which a rule may have an alert each.
        shortest_window_s: The shortest window that makes sense, in seconds.
        longest_window_s: The longest one.
        has_window: Whether a rule's window says anything: a state has none.
        has_periods: Whether a calendar day, week or month may be the window.
        is_budget: Whether a budget keeps the rule.
    """

    counted: str
    scope: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    shortest_window_s: int = 60
    longest_window_s: int = 2_678_400
    has_window: bool = True
    has_periods: bool = True
    is_budget: bool = False


_TAG: Final = re.compile(r"tags\.[a-z][a-z0-9_]{0,39}")
CALL_SCOPE: Final = frozenset(
    {"provider", "model", "feature", "environment", "operation", "status", "user_id", "tenant_id"}
)
ROUTE_SCOPE: Final = frozenset({"route", "method", "environment"})

CALLS: Final = Subject(
    "calls", CALL_SCOPE, frozenset({"user_id", "tenant_id", "feature", "model", "provider", "environment"})
)
# Users come and go, so nobody is told that one makes fewer calls.
CALLS_BUT_USERS: Final = Subject("calls", CALL_SCOPE, frozenset({"feature", "model", "provider", "environment"}))
LATENCIES: Final = Subject("calls", CALL_SCOPE, frozenset({"feature", "model"}))
ROUTES: Final = Subject("requests", ROUTE_SCOPE, frozenset({"route", "environment"}))
# Beyond a week a window would reach into the one that it is compared with.
WEEKLY_CALLS: Final = replace(CALLS, longest_window_s=604_800, has_periods=False)
WEEKLY_ROUTES: Final = replace(ROUTES, longest_window_s=604_800, has_periods=False)
# The short window of a burn rate is a twelfth of the long one.
BURN_CALLS: Final = replace(WEEKLY_CALLS, shortest_window_s=720)
BURN_ROUTES: Final = replace(WEEKLY_ROUTES, shortest_window_s=720)
# A bill has whole days, so no shorter window, and is not broken down by model, feature or person.
BILL: Final = Subject("days", frozenset({"provider", "environment"}), shortest_window_s=172_800, has_periods=False)
PIPELINE: Final = Subject("", has_window=False, has_periods=False)
# Found once a day, when the day before was judged.
SAVINGS: Final = Subject("suggestions", shortest_window_s=86_400, has_periods=False)
BUDGET: Final = Subject("calls", CALL_SCOPE, is_budget=True)


@dataclass(frozen=True, slots=True)
class Metric:
    """What a rule measures.

    Attributes:
        name: As the database calls it.
        label: As people read it.
        unit: In what it is measured.
        of: What it is measured of.
        page: Page of the app that shows it.
        default: What the form of a new rule offers as the threshold, as typed; a budget's rules have no form.
        minimum_change: Of what is unusual: how far from the usual it must be where the rule does not say, as in the
            database; empty for all others.
    """

    name: str
    label: str
    unit: Unit = field(kw_only=True)
    of: Subject = field(kw_only=True)
    page: Page = field(kw_only=True)
    default: str = field(default="", kw_only=True)
    minimum_change: str = field(default="", kw_only=True)

    @property
    def is_burn(self) -> bool:
        """Whether it compares with an objective."""
        return self.unit is Unit.BURN

    @property
    def has_objective_ms(self) -> bool:
        """Whether its objective is about a duration."""
        return self.is_burn and "latency" in self.name

    @property
    def can_have_conditions(self) -> bool:
        """Whether a rule on it may have further conditions: only what is measured of calls or requests."""
        return self.of.counted in ("calls", "requests") and not self.of.is_budget and self.unit is not Unit.SCORE

    @property
    def can_be_condition(self) -> bool:
        """Whether it may be a further condition of a rule."""
        return self.of in (CALLS, ROUTES) and self.unit is not Unit.SCORE

    @property
    def default_sample(self) -> int:
        """Calls that a rule needs where it names no number: one failure among few is no rate.

        The slowest of few calls is no percentile. The database has the same numbers.
        """
        name = self.name.removesuffix(_WEEKLY)
        if self.is_burn or METRICS[name].unit is Unit.SHARE:
            return 20
        return 50 if METRICS[name].unit is Unit.MILLISECONDS else 1


def _quantiles(name: str, label: str, of: Subject) -> Iterable[Metric]:
    for quantile in (50, 90, 99):
        yield Metric(
            f"p{quantile}_{name}",
            f"{label} p{quantile}",
            unit=Unit.MILLISECONDS,
            of=of,
            page="performance",
            default="10000",
        )


def _unusual() -> Iterable[Metric]:
    for name, label, of, change in (
        ("anomaly", "Unusual spend", CALLS, "1"),
        ("anomaly_tokens", "Unusual tokens", CALLS, "10000"),
        ("anomaly_requests", "Unusually many calls", CALLS, "20"),
        ("anomaly_requests_below", "Unusually few calls", CALLS_BUT_USERS, "20"),
        ("anomaly_errors", "Unusual errors", CALLS, "5"),
        ("anomaly_latency_ms", "Unusual latency", LATENCIES, "500"),
    ):
        yield Metric(name, label, unit=Unit.SCORE, of=of, page="alerts", default="1", minimum_change=change)


_WEEKLY: Final = "_vs_last_week"


def _weekly(*metrics: tuple[str, str, Subject, Page]) -> Iterable[Metric]:
    for name, label, of, page in metrics:
        yield Metric(f"{name}{_WEEKLY}", f"{label} against last week", unit=Unit.RATIO, of=of, page=page, default="150")


_TABLE: Final = (
    Metric("spend", "Spend", unit=Unit.USD, of=CALLS, page="costs", default="50"),
    Metric("tokens", "Tokens", unit=Unit.TOKENS, of=CALLS, page="usage", default="1000000"),
    Metric("requests", "Calls", unit=Unit.CALLS, of=CALLS, page="usage", default="1000"),
    Metric("error_rate", "Error rate", unit=Unit.SHARE, of=CALLS, page="performance", default="5"),
    Metric("route_requests", "Route requests", unit=Unit.REQUESTS, of=ROUTES, page="performance", default="1000"),
    Metric("route_error_rate", "Route error rate", unit=Unit.SHARE, of=ROUTES, page="performance", default="5"),
    Metric("unpriced_share", "Share of calls without a price", unit=Unit.SHARE, of=CALLS, page="costs", default="5"),
    Metric(
        "estimated_share", "Share of calls with estimated tokens", unit=Unit.SHARE, of=CALLS, page="usage", default="5"
    ),
    Metric("provider_drift", "Difference from the bill", unit=Unit.RATIO, of=BILL, page="costs", default="5"),
    Metric("pipeline_lag_s", "Pipeline lag", unit=Unit.SECONDS, of=PIPELINE, page="alerts", default="120"),
    Metric("new_saving", "New saving a month", unit=Unit.USD, of=SAVINGS, page="costs", default="20"),
    Metric(
        "undelivered_messages",
        "Messages overdue or dead",
        unit=Unit.MESSAGES,
        of=PIPELINE,
        page="alerts",
        default="0",
    ),
    Metric("budget_used", "Budget used", unit=Unit.RATIO, of=BUDGET, page="costs"),
    Metric("budget_forecast", "Budget forecast", unit=Unit.RATIO, of=BUDGET, page="costs"),
    *_unusual(),
    *_quantiles("latency_ms", "Latency", CALLS),
    *_quantiles("time_to_first_token_ms", "Time to first token", CALLS),
    *_quantiles("route_latency_ms", "Route latency", ROUTES),
    *_quantiles("route_time_to_first_byte_ms", "Route time to first byte", ROUTES),
    *_weekly(
        ("spend", "Spend", WEEKLY_CALLS, "costs"),
        ("tokens", "Tokens", WEEKLY_CALLS, "usage"),
        ("requests", "Calls", WEEKLY_CALLS, "usage"),
        ("error_rate", "Error rate", WEEKLY_CALLS, "performance"),
        ("p50_latency_ms", "Latency p50", WEEKLY_CALLS, "performance"),
        ("p90_latency_ms", "Latency p90", WEEKLY_CALLS, "performance"),
        ("p99_latency_ms", "Latency p99", WEEKLY_CALLS, "performance"),
        ("route_requests", "Route requests", WEEKLY_ROUTES, "performance"),
    ),
    *(
        Metric(name, label, unit=Unit.BURN, of=of, page="performance", default="14.4")
        for name, label, of in (
            ("error_burn_rate", "Burn rate of errors", BURN_CALLS),
            ("latency_burn_rate", "Burn rate of slow calls", BURN_CALLS),
            ("route_error_burn_rate", "Burn rate of route errors", BURN_ROUTES),
            ("route_latency_burn_rate", "Burn rate of slow requests", BURN_ROUTES),
        )
    ),
)
METRICS: Final[dict[str, Metric]] = {metric.name: metric for metric in _TABLE}


def metric_named(name: str) -> Metric:
    """Return a metric; one that only a newer database knows is a plain number of calls under its own name."""
    return METRICS.get(name) or Metric(name, name, unit=Unit.SCORE, of=CALLS, page="alerts")


def format_metric(name: str, value: Decimal | None) -> str:
    """Write a metric's value with its unit, the same in messages, reports and the app; a dash for unknown."""
    return DASH if value is None else metric_named(name).unit.write(value)


def is_tag(dimension: str) -> bool:
    """Tell whether a dimension is a tag: tags.<name>."""
    return _TAG.fullmatch(dimension) is not None


def unknown_dimensions(names: Iterable[str], known: frozenset[str]) -> list[str]:
    """Return the names that are not known dimensions, sorted; tags are known wherever tenants are."""
    return sorted(name for name in names if name not in known and not ("tenant_id" in known and is_tag(name)))
