"""Reads the series of spend that anomalies and forecasts are made from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from ingest.database import fetch
from ingest.documents.series import Point, Series
from ingest.documents.words import format_estimate
from ingest.forecasting.forecast import CONFIDENCE, MonthForecast, forecast_month

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from zoneinfo import ZoneInfo

    from pydantic import JsonValue

    from ingest.database import Database
    from ingest.forecasting.period import PeriodForecast

# Half a year holds enough months for the interval.
FORECAST_HISTORY: Final = timedelta(days=182)
HOUR: Final = timedelta(hours=1)


def read_series(
    database: Database,
    from_time: datetime,
    to_time: datetime,
    scope: Mapping[str, list[str]],
    *,
    bucket: str,
    group_by: str | None = None,
    zone: ZoneInfo | None = None,
) -> list[Point]:
    """Read calls and cost by bucket; empty buckets are absent."""
    filters: dict[str, JsonValue] = {name: list(names) for name, names in scope.items()}
    filters |= {"bucket": bucket, "timezone": "UTC" if zone is None else zone.key}
    if group_by is not None:
        filters["group_by"] = group_by
    window = {"from_time": from_time.isoformat(), "to_time": to_time.isoformat()}
    return list(fetch(database, Series, "get_series", **window, filters=filters).series)


def read_forecast(
    database: Database, scope: Mapping[str, list[str]], *, now: datetime, zone: ZoneInfo
) -> MonthForecast | None:
    """Forecast the month's spend of a scope; None without any."""
    local = now.astimezone(zone)
    start = (local - FORECAST_HISTORY).replace(hour=0, minute=0, second=0, microsecond=0)
    end = hour_of(now) + HOUR
    return forecast_month(spend_by_day(read_series(database, start, end, scope, bucket="day", zone=zone), zone), local)


def spend_by_day(points: Sequence[Point], zone: ZoneInfo) -> dict[date, float]:
    """US dollars by local day."""
    return {point.bucket_start.astimezone(zone).date(): float(point.cost or 0) for point in points}


def explain_forecast(forecast: MonthForecast) -> str:
    """Say a forecast in a sentence."""
    amounts = f"{format_estimate(forecast.expected)} by the end of the month"
    if forecast.basis == "run_rate":
        return f"{amounts} at this pace; the history is too short for a forecast"
    interval = f"{format_estimate(forecast.low)} to {format_estimate(forecast.high)}"
    return f"{amounts}, {interval} with {CONFIDENCE:.0%} confidence"


def explain_period(forecast: PeriodForecast, period: str) -> str:
    """Say the forecast of a day or week in a sentence."""
    amounts = f"{format_estimate(forecast.expected)} by the end of the {period}"
    if forecast.basis == "run_rate":
        return f"{amounts} at this pace; the history is too short for a forecast"
    interval = f"{format_estimate(forecast.low)} to {format_estimate(forecast.high)}"
    return f"{amounts}, {interval} with {CONFIDENCE:.0%} confidence"


def hour_of(moment: datetime) -> datetime:
    """The beginning of the UTC hour of a moment."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
