"""What a report is made of, and how it is read from the database."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, BaseModel, ConfigDict

from ingest.database import fetch
from ingest.documents.alerts import Alert, Alerts
from ingest.documents.pages import Costs, Row
from ingest.errors import FunctionNotFoundError
from ingest.forecasting.series import read_forecast, read_series, spend_by_day
from ingest.prices.terms import read_statement, read_terms
from ingest.reports.chart import TREND_DAYS
from ingest.savings.drivers import get_cost_drivers
from ingest.savings.ledger import realised
from ingest.savings.plan import headline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ingest.database import Database
    from ingest.documents.savings import LedgerEntry
    from ingest.forecasting.forecast import MonthForecast
    from ingest.savings.drivers import CostDrivers
    from ingest.savings.plan import Plan
    from pricing.terms import Statement

Kind = Literal["daily", "weekly", "monthly"]

MOST_MOVERS: Final = 5
MOST_TENANTS: Final = 5

# No people: what is in a mailbox cannot be erased on their request.
_DIMENSIONS: Final = {"model": "by_model", "feature": "by_feature"}
# Ignore changes below one cent.
_SMALLEST_MOVE: Final = Decimal("0.01")


class Period(BaseModel):
    """The days that a report is about.

    Attributes:
        kind: daily, weekly or monthly.
        timezone: IANA zone whose days these are.
        period_start: First day.
        period_end: First day after.
        from_time: When the first day begins.
        to_time: When the last day ends.
        names_tenants: Whether tenants, who may be people, may be named.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Kind
    timezone: str
    period_start: date
    period_end: date
    from_time: AwareDatetime
    to_time: AwareDatetime
    names_tenants: bool = False

    @classmethod
    def latest(cls, kind: Kind, timezone: str, now: datetime) -> Period:
        """The last whole day, week from Monday to Sunday, or calendar month before `now` in a zone."""
        today = now.astimezone(ZoneInfo(timezone)).date()
        if kind == "monthly":
            end = today.replace(day=1)
            start = (end - timedelta(days=1)).replace(day=1)
        else:
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


@dataclass(frozen=True, slots=True)
class Mover:
    """A model, feature or user whose spend changed.

    Attributes:
        dimension: model, feature or user.
        key: Which one.
        cost: US dollars in the period.
        previous_cost: US dollars in the period before.
    """

    dimension: str
    key: str
    cost: Decimal
    previous_cost: Decimal

    @property
    def change(self) -> Decimal:
        """How much more it cost, in US dollars."""
        return self.cost - self.previous_cost


@dataclass(frozen=True, slots=True)
class TenantSpend:
    """What tenants cost.

    Attributes:
        rows: The costliest, as `Mover` of the dimension tenant, at most five.
        count: How many tenants have calls in the period.
        is_named: Whether they may be named.
    """

    rows: Sequence[Mover] = ()
    count: int = 0
    is_named: bool = False


@dataclass(frozen=True, slots=True)
class Saving:
    """Something to change, and what it would save.

    Attributes:
        text: What to do, in a sentence.
        saved_per_month: US dollars.
    """

    text: str
    saved_per_month: Decimal


@dataclass(frozen=True, slots=True)
class SavingsFound:
    """What the plan of savings has, and what came of it.

    Attributes:
        actions: What could be saved, the most first, without what needs an evaluation and what was dismissed.
        spend_per_month: US dollars that the actions are a part of; None where nothing was examined.
        realised: US dollars that verified actions have saved in the report's period.
        realised_since_start: The same since each was made.
        verified: How many actions are verified.
    """

    actions: Sequence[Saving] = ()
    spend_per_month: Decimal | None = None
    realised: Decimal = Decimal(0)
    realised_since_start: Decimal = Decimal(0)
    verified: int = 0


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """An alert that fires now.

    Attributes:
        name: Name of the rule, with the group it is about.
        metric: What is measured.
        value: Its value when it fired.
        severity: warning or critical.
        since: When it began, written in the report's zone.
    """

    name: str
    metric: str
    value: Decimal | None
    severity: str
    since: str


@dataclass(frozen=True, slots=True)
class Figures:
    """What a report is made of.

    Attributes:
        kind: daily, weekly or monthly.
        period_start: First day of the period.
        period_end: First day after it.
        timezone: IANA zone whose days these are.
        cost: US dollars in the period, without `fallback_cost`; None where nothing has a price of its own.
        previous_cost: The same of the period before.
        requests: Calls in the period.
        previous_requests: Calls in the period before.
        errors: Failed calls in the period.
        unpriced_requests: Calls whose cost is not known.
        fallback_cost: US dollars of calls priced as the fallback model; None or 0 for none.
        movers: Who changed most, see `find_movers`.
        tenants: The costliest tenants.
        forecast: Of the running month; None without any spend.
        savings: What could be saved, and what was.
        alerts: What fires now.
        spend: US dollars by local day, for the trend.
        drivers: Why the period was dearer or cheaper than the one before; None but in the monthly report.
        contract: The UTC month so far by contract, up to the end of the period; None without terms.
    """

    kind: Kind
    period_start: date
    period_end: date
    timezone: str
    cost: Decimal | None
    previous_cost: Decimal | None
    requests: int
    previous_requests: int
    errors: int = 0
    unpriced_requests: int = 0
    fallback_cost: Decimal | None = None
    movers: Sequence[Mover] = ()
    tenants: TenantSpend = TenantSpend()
    forecast: MonthForecast | None = None
    savings: SavingsFound = SavingsFound()
    alerts: Sequence[OpenAlert] = ()
    spend: Mapping[date, float] = field(default_factory=dict)
    drivers: CostDrivers | None = None
    contract: Statement | None = None


def as_savings(plan: Plan, entries: Iterable[LedgerEntry], due: Period) -> SavingsFound:
    """Return plan and ledger in the form of a report, without what needs an evaluation before it is money."""
    known = tuple(entries)
    dismissed = {entry.suggestion_key for entry in known if entry.state == "dismissed"}
    return SavingsFound(
        actions=[
            Saving(headline(one), one.saved_per_month)
            for one in plan.suggestions
            if not one.needs_evaluation and one.key not in dismissed
        ],
        spend_per_month=plan.spend_per_month if plan.days else None,
        realised=realised(known, since=due.period_start, today=due.period_end),
        realised_since_start=realised(known, since=None, today=due.period_end),
        verified=sum(entry.state == "verified" for entry in known),
    )


def find_movers(rows: Mapping[str, Sequence[Mover]]) -> list[Mover]:
    """Choose whose spend changed most, of all dimensions, the largest change first."""
    moved = [mover for movers in rows.values() for mover in movers if abs(mover.change) >= _SMALLEST_MOVE]
    return sorted(moved, key=lambda mover: (-abs(mover.change), mover.dimension, mover.key))[:MOST_MOVERS]


def read_figures(database: Database, due: Period, *, now: datetime, savings: SavingsFound) -> Figures:
    """Read what a report is made of."""
    zone = ZoneInfo(due.timezone)
    period = {"from_time": due.from_time.isoformat(), "to_time": due.to_time.isoformat()}
    costs = fetch(database, Costs, "get_costs", **period, filters={"timezone": due.timezone})
    start = (due.to_time.astimezone(zone) - timedelta(days=TREND_DAYS)).replace(hour=0, minute=0)
    points = read_series(database, start, due.to_time, {}, bucket="day", zone=zone)
    firing = fetch(database, Alerts, "get_alerts", **period).firing
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
        fallback_cost=costs.totals.fallback_cost,
        movers=find_movers({name: _movers(name, getattr(costs, rows)) for name, rows in _DIMENSIONS.items()}),
        tenants=_tenants(costs.by_tenant, is_named=due.names_tenants),
        forecast=read_forecast(database, {}, now=now, zone=zone),
        savings=savings,
        alerts=[open_alert(alert, zone) for alert in firing],
        spend=spend_by_day(points, zone),
        drivers=get_cost_drivers(database, due.from_time, due.to_time) if due.kind == "monthly" else None,
        contract=_read_contract(database, due),
    )


def _read_contract(database: Database, due: Period) -> Statement | None:
    try:
        terms = [stored.term for stored in read_terms(database).terms]
    except FunctionNotFoundError:  # A database older than contracts.
        return None
    last = due.period_end - timedelta(days=1)
    return read_statement(database, last.replace(day=1), due.period_end, terms) if terms else None


def _movers(dimension: str, rows: Sequence[Row]) -> list[Mover]:
    return [
        Mover(dimension, row.key, row.cost or Decimal(0), row.previous_cost or Decimal(0)) for row in rows if row.key
    ]


def _tenants(rows: Sequence[Row], *, is_named: bool) -> TenantSpend:
    """Choose the costliest tenants; calls without a tenant are of none."""
    count = sum((row.keys or 0) if row.is_other else bool(row.key) for row in rows)
    spent = sorted(_movers("tenant", [row for row in rows if not row.is_other]), key=lambda one: (-one.cost, one.key))
    return TenantSpend([one for one in spent if one.cost > 0][:MOST_TENANTS], count, is_named)


def open_alert(alert: Alert, zone: ZoneInfo) -> OpenAlert:
    """What a report says of an alert; people stay unnamed, as in all of it."""
    group = "a user" if alert.group_by == "user_id" else alert.group_key
    name = f"{alert.rule_name} [{group}]" if group else alert.rule_name
    since = f"{alert.started_at.astimezone(zone):%Y-%m-%d %H:%M}"
    return OpenAlert(name, alert.metric, alert.value, alert.severity, since)
