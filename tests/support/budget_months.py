"""Simulated months of spend that land where a test wants them, judged by the database as in a worker's life."""

from __future__ import annotations

import json
import math
import random
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import psycopg

from ingest.alerts.computed import forecast_figure, period_of
from ingest.database import fetch
from ingest.documents.settings import Configuration
from ingest.forecasting.forecast import MonthForecast, forecast_month

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.documents.settings import Budget
    from tests.support.clockwork import Clockwork

LANDINGS: Final = ("0.85", "0.95", "1", "1.05")
_AMOUNT: Final = 1000
_HISTORY: Final = timedelta(days=182)
# The share of a day that is spent by each of its hours, between which it is spent evenly: an office's day.
_BY_HOUR: Final = ((0, 0.0), (6, 0.08), (12, 0.40), (18, 0.80), (24, 1.0))


@dataclass(frozen=True, slots=True)
class Told:
    """One message.

    Attributes:
        landing: Where the month lands, as a share of the budget.
        month: Its first day.
        metric: `budget_used` or `budget_forecast`.
        event: As in the outbox.
        threshold: Of which step.
    """

    landing: str
    month: date
    metric: str
    event: str
    threshold: float


def spend_by_day(seed: int, first: date, last: date) -> dict[date, float]:
    """Days of a product: quiet weekends, a drifting level, noise, and one day in sixty that costs 2.5 times as much."""
    rng, level, spend = random.Random(seed), 0.0, {}
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        level = 0.98 * level + rng.gauss(0, 0.03)
        cost = 100 * (1.0 if day.weekday() < 5 else 0.45) * math.exp(level + rng.gauss(0, 0.18))
        spend[day] = cost * (2.5 if rng.random() < 1 / 60 else 1.0)
    return spend


def spent_until(hour: float) -> float:
    """The share of a day that is spent by an hour of it."""
    for (begin, low), (end, high) in pairwise(_BY_HOUR):
        if hour <= end:
            return low + (high - low) * (hour - begin) / (end - begin)
    return 1.0


def months_of(first: date, count: int) -> list[tuple[date, date]]:
    """Beginning and end of consecutive months."""
    bounds = [first]
    for _ in range(count):
        bounds.append((bounds[-1] + timedelta(days=32)).replace(day=1))
    return list(pairwise(bounds))


def tell_months(
    service: Clockwork, superuser_url: str, seed: int, months: Sequence[tuple[date, date]], *, step_h: int
) -> list[Told]:
    """Let budgets of each landing live through months, looked at every `step_h` hours; returns all messages."""
    service.channel("https://hooks.example.com/x")
    for landing in LANDINGS:
        budget = {"name": landing, "amount": _AMOUNT, "scope": {"feature": landing}, "channels": [1]}
        service.ask("save_budget", budget=budget)
    settings = fetch(service.database, Configuration, "get_settings")
    spend = spend_by_day(seed, months[0][0] - _HISTORY, months[-1][1])
    totals = {begin: math.fsum(cost for day, cost in spend.items() if begin <= day < end) for begin, end in months}
    events = [event for begin, end in months for event in _calls(spend, begin, end, totals[begin], step_h)]
    service.record(*events)
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        for begin, end in months:
            for now in _looks(begin, end, step_h):
                _look(connection, settings, spend, totals[begin], now)
        rows = connection.execute(
            "select b.name, n.created_at, a.metric, n.event, n.payload #>> '{alert,threshold}'"
            " from observability_internal.notifications as n"
            " join observability_internal.alerts as a using (alert_id)"
            " join observability_internal.alert_rules as r on a.rule_id = r.rule_id"
            " join observability_internal.budgets as b on r.budget_id = b.budget_id order by n.notification_id"
        ).fetchall()
    return [
        # What is told in the first quarter of an hour of a month is about the one before.
        Told(name, (at - timedelta(hours=step_h / 2)).date().replace(day=1), metric, event, float(threshold))
        for name, at, metric, event, threshold in rows
    ]


def _looks(begin: date, end: date, step_h: int) -> Iterator[datetime]:
    at = datetime(begin.year, begin.month, begin.day, tzinfo=UTC) + timedelta(hours=step_h)
    while at.date() < end:
        yield at
        at += timedelta(hours=step_h)
    # Just before the end and just after it: what the month came to, and that it is over.
    yield at - timedelta(minutes=1)
    yield at


def _calls(spend: dict[date, float], begin: date, end: date, total: float, step_h: int) -> Iterator[dict[str, Any]]:
    for day in (begin + timedelta(days=number) for number in range((end - begin).days)):
        for hour in range(0, 24, step_h):
            share = spend[day] / total * (spent_until(hour + step_h) - spent_until(hour))
            at = datetime(day.year, day.month, day.day, hour, tzinfo=UTC) + timedelta(hours=step_h, minutes=-5)
            for landing in LANDINGS:
                yield {
                    "event_id": str(uuid.uuid4()), "created_at": at.isoformat(), "user_id": "u", "model": "gpt-4o",
                    "environment": "production", "feature": landing, "cost_source": "priced",
                    # A hair more than the share, so that 100 % is reached whatever the rounding.
                    "estimated_cost": f"{_AMOUNT * float(landing) * share * (1 + 1e-7):.9f}",
                }  # fmt: skip


def _look(
    connection: psycopg.Connection, settings: Configuration, spend: dict[date, float], total: float, now: datetime
) -> None:
    known = {day: cost for day, cost in spend.items() if now.date() - _HISTORY <= day < now.date()}
    known[now.date()] = spend[now.date()] * spent_until(now.hour + now.minute / 60)
    forecast = forecast_month(known, now)
    assert forecast is not None
    for budget in settings.budgets:
        figure = _figure(budget, forecast, _AMOUNT * float(budget.name) / total, now)
        (rule,) = (
            rule for rule in settings.rules if (rule.budget_id, rule.metric) == (budget.budget_id, "budget_forecast")
        )
        connection.execute(
            "select observability.record_metric_values(%s, %s, %s)", (rule.rule_id, json.dumps([figure]), now)
        )
    connection.execute("select observability.evaluate_alerts(%s)", (now,))


def _figure(budget: Budget, forecast: MonthForecast, scale: float, now: datetime) -> Any:
    # A forecast of twice the spend is twice the forecast, so one serves all landings.
    scaled = MonthForecast(
        forecast.month, forecast.spent * scale, forecast.expected * scale, forecast.low * scale, forecast.high * scale,
        None, forecast.basis,
    )  # fmt: skip
    start, _ = period_of("month", now, UTC)  # type: ignore[arg-type]
    return forecast_figure(budget, scaled, None, start=start, now=now)
