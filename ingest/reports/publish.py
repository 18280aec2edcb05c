"""The worker's job that writes reports: reads the figures, draws the trend, puts the report into the outbox once."""

from __future__ import annotations

import base64
import logging
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from ingest.alerts.computed import read_forecast, read_series, spend_by_day
from ingest.notices import Notices
from ingest.prices.in_force import Prices
from ingest.reports.chart import TREND_DAYS, draw_trend
from ingest.reports.text import IMAGE_NAME, Figures, Kind, Mover, OpenAlert, Saving, find_movers, write_report
from pricing.savings import Evidence, headline, suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import JsonValue

    from ingest.database import Database
    from ingest.settings import Settings

logger = logging.getLogger(__name__)

# No people: what is in a mailbox cannot be erased on their request.
_DIMENSIONS = {"model": "by_model", "feature": "by_feature"}
_SAVINGS_HISTORY = timedelta(days=30)


class Period(BaseModel):
    """The days that a report is about.

    Attributes:
        kind: daily or weekly.
        timezone: IANA zone whose days these are.
        period_start: First day.
        period_end: First day after.
        from_time: When the first day begins.
        to_time: When the last day ends.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Kind
    timezone: str
    period_start: date
    period_end: date
    from_time: AwareDatetime
    to_time: AwareDatetime

    @classmethod
    def latest(cls, kind: Kind, timezone: str, now: datetime) -> Period:
        """The last whole day, or the last week from Monday to Sunday, before `now` in a zone."""
        today = now.astimezone(ZoneInfo(timezone)).date()
        end = today if kind == "daily" else today - timedelta(days=today.weekday())
        start = end - timedelta(days=1 if kind == "daily" else 7)

        def begin(day: date) -> datetime:
            return datetime.combine(day, time.min, ZoneInfo(timezone))

        return cls(
            kind=kind,
            timezone=timezone,
            period_start=start,
            period_end=end,
            from_time=begin(start),
            to_time=begin(end),
        )


class _Totals(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    requests: int = 0
    errors: int = 0
    unpriced_requests: int = 0
    cost: Decimal | None = None


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str | None = None
    cost: Decimal | None = None
    previous_cost: Decimal | None = None


class _Costs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    totals: _Totals
    previous: _Totals
    by_model: list[_Row] = Field(default_factory=list)
    by_feature: list[_Row] = Field(default_factory=list)


class _Alert(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    rule_name: str
    metric: str
    severity: str
    value: Decimal | None = None
    group_by: str | None = None
    group_key: str = ""
    started_at: AwareDatetime


_periods = TypeAdapter(list[Period])


def publish_due_reports(
    database: Database,
    worker: str,
    *,
    now: datetime | None = None,
    savings: Callable[[], Sequence[Saving]] = tuple,
    dashboard_url: str | None = None,
) -> int:
    """Write each report whose hour has come into the outbox, once.

    Args:
        database: Opened as service_role.
        worker: Name of this worker.
        now: The time; None is now.
        savings: Finds what could be saved; a report goes out without it where that fails.
        dashboard_url: Address of the dashboard, for the link.

    Returns:
        How many messages were put into the outbox.
    """
    moment = now or datetime.now(UTC)
    messages = 0
    for due in _periods.validate_python(database.call("get_due_reports", as_of=moment.isoformat())):
        count = database.call(
            "publish_report",
            kind=due.kind,
            period_start=due.period_start.isoformat(),
            period_end=due.period_end.isoformat(),
            message=make_message(
                read_figures(database, due, now=moment, savings=_attempt(savings)), dashboard_url=dashboard_url
            ),
            worker=worker,
        )
        assert isinstance(count, int)
        messages += count
    return messages


def make_message(figures: Figures, *, dashboard_url: str | None = None) -> dict[str, JsonValue]:
    """Write a report as the outbox takes it: title, text, html and the picture in base64 (None without any spend)."""
    known = [day for day in figures.spend if day < figures.period_end]
    image = None
    if known:
        first = max(min(known), figures.period_end - timedelta(days=TREND_DAYS))
        image = draw_trend(figures.spend, first=first, period_start=figures.period_start, period_end=figures.period_end)
    report = write_report(figures, link=dashboard_url, has_image=image is not None)
    return {
        "title": report.title,
        "text": report.text,
        "html": report.html,
        "image": None if image is None else base64.b64encode(image).decode(),
    }


def preview_page(message: Mapping[str, JsonValue]) -> str:
    """The HTML of a message as a page that needs no mail to show its picture."""
    page = str(message["html"])
    if message["image"]:
        page = page.replace(f"cid:{IMAGE_NAME}", f"data:image/png;base64,{message['image']}")
    return page


def read_figures(database: Database, due: Period, *, now: datetime, savings: Sequence[Saving]) -> Figures:
    """Read what a report is made of."""
    zone = ZoneInfo(due.timezone)
    period = {"from_time": due.from_time.isoformat(), "to_time": due.to_time.isoformat()}
    costs = _Costs.model_validate(database.call("get_costs", **period, filters={"timezone": due.timezone}))
    start = (due.to_time.astimezone(zone) - timedelta(days=TREND_DAYS)).replace(hour=0, minute=0)
    points = read_series(database, start, due.to_time, {}, bucket="day", zone=zone)
    alerts = database.call("get_alerts", **period)
    assert isinstance(alerts, dict)
    firing = TypeAdapter(list[_Alert]).validate_python(alerts.get("firing") or [])
    return Figures(
        kind=due.kind,
        period_start=due.period_start,
        period_end=due.period_end,
        timezone=due.timezone,
        cost=costs.totals.cost,
        previous_cost=costs.previous.cost,
        requests=costs.totals.requests,
        previous_requests=costs.previous.requests,
        errors=costs.totals.errors,
        unpriced_requests=costs.totals.unpriced_requests,
        movers=find_movers({name: _movers(name, getattr(costs, rows)) for name, rows in _DIMENSIONS.items()}),
        forecast=read_forecast(database, {}, now=now, zone=zone),
        savings=savings,
        alerts=[_open_alert(alert, zone) for alert in firing],
        spend=spend_by_day(points, zone),
    )


def _movers(dimension: str, rows: Sequence[_Row]) -> list[Mover]:
    return [
        Mover(dimension, row.key, row.cost or Decimal(0), row.previous_cost or Decimal(0)) for row in rows if row.key
    ]


def _open_alert(alert: _Alert, zone: ZoneInfo) -> OpenAlert:
    group = "a user" if alert.group_by == "user_id" else alert.group_key
    name = f"{alert.rule_name} [{group}]" if group else alert.rule_name
    since = f"{alert.started_at.astimezone(zone):%Y-%m-%d %H:%M}"
    return OpenAlert(name, alert.metric, alert.value, alert.severity, since)


def find_savings(database: Database, settings: Settings, now: datetime) -> list[Saving]:
    """What the last 30 days say could be saved, at the prices in force.

    Args:
        database: Opened as service_role.
        settings: Say which model a deployment is of.
        now: End of the days looked at.
    """
    prices = Prices(Notices(), deployments=settings.deployments, region=settings.region)
    prices.refresh(database)
    evidence = database.call("get_savings_evidence", from_time=now - _SAVINGS_HISTORY, to_time=now, filters={})
    found = suggest(Evidence.model_validate(evidence), prices.book)
    return [Saving(headline(suggestion), suggestion.saved_per_month) for suggestion in found]


def _attempt(savings: Callable[[], Sequence[Saving]]) -> Sequence[Saving]:
    try:
        return savings()
    except Exception as error:  # noqa: BLE001 -- a report without suggestions is better than none
        logger.warning("no suggestions in the report: %s", error)
        return ()
