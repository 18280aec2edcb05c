"""The statement of one or more months for finance: lines by any dimensions, totals, and what the bills say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Final, Literal
from zoneinfo import ZoneInfo

from ingest.database import fetch
from ingest.documents.billing import Reconciliation
from ingest.documents.statement import StatementFigures, StatementPage
from ingest.errors import ConfigurationError, DatabaseError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ingest.database import Argument, Database

__all__ = [
    "DEFAULT_DIMENSIONS",
    "DIMENSIONS",
    "BillCheck",
    "CheckState",
    "CostStatement",
    "Line",
    "MonthFigures",
    "add_figures",
    "last_month",
    "parse_month",
    "read_statement",
    "title_of",
]

CheckState = Literal["reconciled", "differs", "partly reconciled", "not reconciled"]

DIMENSIONS: Final[Mapping[str, str]] = {
    "provider": "Provider",
    "model": "Model",
    "feature": "Feature",
    "environment": "Environment",
    "operation": "Operation",
    "status": "Status",
    "user_id": "User",
    "tenant_id": "Tenant",
}
DEFAULT_DIMENSIONS: Final = ("feature", "model")
MOST_MONTHS: Final = 12

# What a bill is not broken down by: a statement filtered by these has no bill to be compared with.
_NOT_ON_BILLS: Final = ("model", "feature", "operation", "status", "user_id", "tenant_id", "tags")
# More than the database has in a sum: nothing is rounded.
_DIGITS: Final = 1_000
_PAGE_ROWS: Final = 20_000
_ATTEMPTS: Final = 3
_QUARTER: Final = timedelta(minutes=15)
# Calls arrive within seconds; what is older than this is seldom added to.
_SETTLED_AFTER: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a statement.

    Attributes:
        month: First day of its month.
        names: Values of the statement's dimensions, in their order; an empty text is a call without one.
        figures: Its sums.
    """

    month: date
    names: tuple[str, ...]
    figures: StatementFigures


@dataclass(frozen=True, slots=True)
class BillCheck:
    """What a provider's bill of a month says. Bills are by UTC day, so the days are those of the UTC month.

    Attributes:
        provider: Whose bill.
        state: `reconciled` when every day with calls or a bill was compared and both agree within the threshold.
        days: Days that could be compared.
        other_days: Days that could not: no bill yet, or an open one.
        billed_cost: US dollars billed on the compared days; None without any.
        recorded_cost: US dollars recorded on them, fallback prices included.
        drift: Billed less recorded.
    """

    provider: str
    state: CheckState
    days: int = 0
    other_days: int = 0
    billed_cost: Decimal | None = None
    recorded_cost: Decimal | None = None
    drift: Decimal | None = None


@dataclass(frozen=True, slots=True)
class MonthFigures:
    """One month of a statement.

    Attributes:
        month: Its first day.
        from_time: When it begins in the statement's zone.
        to_time: When it ends, or until when it was read while it is under way.
        is_ended: Whether it was over when it was read.
        totals: Sums of its lines.
        checks: The bills, by provider; None where they are not compared (a filter, or a member's own calls).
    """

    month: date
    from_time: datetime
    to_time: datetime
    is_ended: bool
    totals: StatementFigures
    checks: tuple[BillCheck, ...] | None

    def state_of(self, provider: str | None) -> str:
        """What to say of a provider's bill, or of all of them; an empty text where none is compared."""
        if self.checks is None:
            return ""
        states = {check.state for check in self.checks if provider in (None, check.provider)}
        if len(states) > 1:
            return "differs" if "differs" in states else "partly reconciled"
        return next(iter(states), "not reconciled")


@dataclass(frozen=True, slots=True)
class CostStatement:
    """A statement.

    Attributes:
        dimensions: What the lines are told apart by, besides the month.
        timezone: IANA zone whose months these are.
        filters: What it is narrowed to.
        generated_at: When it was read.
        months: Oldest first.
        lines: By month, the costliest first.
        totals: Sums of all lines.
    """

    dimensions: tuple[str, ...]
    timezone: str
    filters: Mapping[str, Argument]
    generated_at: datetime
    months: tuple[MonthFigures, ...]
    lines: tuple[Line, ...]
    totals: StatementFigures

    @property
    def is_to_date(self) -> bool:
        """Whether its last month had not ended."""
        return not self.months[-1].is_ended

    @property
    def name(self) -> str:
        """Its months as part of a file's name: `2026-10` or `2026-10_2026-12`."""
        ends = dict.fromkeys((f"{self.months[0].month:%Y-%m}", f"{self.months[-1].month:%Y-%m}"))
        return "_".join(ends) + ("_to_date" if self.is_to_date else "")

    @property
    def period(self) -> str:
        """Its months in words: `October 2026`, `October to December 2026, to date`."""
        first, last = self.months[0].month, self.months[-1].month
        start = "" if first == last else f"{first:%B} to " if first.year == last.year else f"{first:%B %Y} to "
        return f"{start}{last:%B %Y}{', to date' if self.is_to_date else ''}"

    def month_of(self, line: Line) -> MonthFigures:
        """The month that a line is of."""
        return next(month for month in self.months if month.month == line.month)


def parse_month(text: str) -> date:
    """Read a month as people write it, `2026-10`; returns its first day.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError:
        raise ConfigurationError(f"not a month: {text!r}; write 2026-10") from None


def title_of(dimension: str) -> str:
    """Return what a dimension is called; `tags.plan` is the tag plan."""
    return DIMENSIONS.get(dimension) or f"Tag {dimension.removeprefix('tags.')}"


def last_month(now: datetime, timezone: str) -> date:
    """The first day of the last month that has ended in a zone."""
    return (now.astimezone(ZoneInfo(timezone)).date().replace(day=1) - timedelta(days=1)).replace(day=1)


def read_statement(
    database: Database,
    first: date,
    last: date | None = None,
    *,
    timezone: str = "UTC",
    dimensions: Sequence[str] = DEFAULT_DIMENSIONS,
    filters: Mapping[str, Argument] | None = None,
    threshold: Decimal = Decimal("0.01"),
) -> CostStatement:
    """Read the statement of months.

    Args:
        database: Opened as whoever asks: people and tenants get their own calls without the bills, analysts all.
        first: First day of the first month.
        last: First day of the last month; None is the first.
        timezone: IANA zone whose months count.
        dimensions: What lines are told apart by, see `DIMENSIONS`; `tags.plan` is the tag plan.
        filters: As for the pages: model, feature, …, each a text or a list of texts, and `not` with what is left out.
        threshold: The fraction of a bill up to which bill and record agree.

    Raises:
        ConfigurationError: The months are none, more than a year, or still to come.
        InvalidArgumentError: A dimension, a filter or the zone is wrong.
    """
    months = _months(first, last or first)
    pages = {month: _read_month(database, month, timezone, dimensions, filters or {}) for month in months}
    found = []
    for month, read in pages.items():
        head = read[0]
        if head.from_time > head.generated_at:
            raise ConfigurationError(f"{month:%Y-%m} has not begun")
        is_ended = month_bounds(month, timezone)[1] <= head.generated_at
        until = head.to_time if is_ended else min(head.to_time, head.generated_at)
        checks = _check_bills(database, month, head, filters or {}, threshold, is_ended=is_ended)
        found.append(MonthFigures(month, head.from_time, until, is_ended, head.totals, checks))
    return CostStatement(
        dimensions=tuple(dimensions),
        timezone=timezone,
        filters=dict(filters or {}),
        generated_at=max(read[0].generated_at for read in pages.values()),
        months=tuple(found),
        lines=tuple(line for month, read in pages.items() for line in _lines(month, read, dimensions)),
        totals=add_figures(month.totals for month in found),
    )


def month_bounds(month: date, timezone: str) -> tuple[datetime, datetime]:
    """When a month begins and ends in a zone."""
    zone = ZoneInfo(timezone)
    ends = (month, _next(month))
    start, end = (datetime.combine(day, time.min, zone) for day in ends)
    return start, end


def add_figures(parts: Iterable[StatementFigures]) -> StatementFigures:
    """Add up figures: an unknown cost adds nothing to a known one, an unknown fee makes the sum unknown."""
    with localcontext(prec=_DIGITS):
        return _add(list(parts))


def _add(figures: Sequence[StatementFigures]) -> StatementFigures:
    sums: dict[str, int | Decimal | None] = {
        name: sum((getattr(one, name) for one in figures), Decimal(0) if name.endswith("cost") else 0)
        for name in StatementFigures.model_fields
        if name not in ("cost", "fees")
    }
    known = [one.cost for one in figures if one.cost is not None and one.certain_requests]
    has_calls = any(one.requests for one in figures)
    sums["cost"] = sum(known, Decimal(0)) if known or not has_calls else None
    fees = [one.fees for one in figures]
    sums["fees"] = None if None in fees else sum((fee for fee in fees if fee is not None), Decimal(0))
    return StatementFigures.model_validate(sums)


def _months(first: date, last: date) -> list[date]:
    months = [first]
    while months[-1] < last and len(months) <= MOST_MONTHS:
        months.append(_next(months[-1]))
    if last < first or len(months) > MOST_MONTHS or first.day != 1 or last.day != 1:
        raise ConfigurationError(f"a statement is of 1 to {MOST_MONTHS} months, the first one first")
    return months


def _next(month: date) -> date:
    return (month + timedelta(days=31)).replace(day=1)


def _read_month(
    database: Database, month: date, timezone: str, dimensions: Sequence[str], filters: Mapping[str, Argument]
) -> list[StatementPage]:
    """Read all pages of a month as they were at one moment."""
    try:
        start, end = month_bounds(month, timezone)
    except (KeyError, ValueError):
        raise InvalidArgumentError(f"unknown time zone {timezone}") from None
    for _ in range(_ATTEMPTS):
        pages = list(_read_pages(database, start, end, dimensions, {**filters, "timezone": timezone}))
        heads = {(page.row_count, page.totals) for page in pages}
        if len(heads) == 1 and sum(len(page.rows) for page in pages) == pages[0].row_count:
            return pages
        # Something was added between two pages. Of a month under way the last minutes are left out then.
        settled = pages[0].generated_at - _SETTLED_AFTER
        midnight = settled.replace(hour=0, minute=0, second=0, microsecond=0)
        end = max(min(end, midnight + (settled - midnight) // _QUARTER * _QUARTER), start + _QUARTER)
    raise DatabaseError(f"{month:%Y-%m} changed each time it was read: try again in a minute")


def _read_pages(
    database: Database, start: datetime, end: datetime, dimensions: Sequence[str], filters: Mapping[str, Argument]
) -> Iterator[StatementPage]:
    count, first_row = 1, 0
    while first_row < count:
        page = fetch(
            database,
            StatementPage,
            "get_statement",
            from_time=start,
            to_time=end,
            dimensions=list(dimensions),
            filters=dict(filters),
            first_row=first_row,
            row_limit=_PAGE_ROWS,
        )
        yield page
        count, first_row = page.row_count, first_row + _PAGE_ROWS


def _lines(month: date, pages: Sequence[StatementPage], dimensions: Sequence[str]) -> Iterator[Line]:
    for page in pages:
        for row in page.rows:
            apart = {"user_id": row.user_id or "", "tenant_id": row.tenant_id or ""}
            keys = iter(row.keys)
            yield Line(month, tuple(apart[name] if name in apart else next(keys) for name in dimensions), row)


def _check_bills(
    database: Database,
    month: date,
    page: StatementPage,
    filters: Mapping[str, Argument],
    threshold: Decimal,
    *,
    is_ended: bool,
) -> tuple[BillCheck, ...] | None:
    left_out = filters.get("not")
    unwanted = left_out if isinstance(left_out, dict) else {}
    if page.access in ("member", "tenant") or any(filters.get(name) or unwanted.get(name) for name in _NOT_ON_BILLS):
        return None
    environment, no_environment = filters.get("environment"), unwanted.get("environment")
    wanted: dict[str, Argument] = {"environment": environment} if environment else {}
    if no_environment:
        wanted["not"] = {"environment": no_environment}
    checks = [_check_bill(database, month, one.provider, wanted, threshold) for one in page.providers]
    if not is_ended:  # days are still to come, whose bill nobody has
        checks = [replace(one, state="partly reconciled") if one.state == "reconciled" else one for one in checks]
    return tuple(checks)


def _check_bill(
    database: Database, month: date, provider: str, wanted: Mapping[str, Argument], threshold: Decimal
) -> BillCheck:
    start, end = month_bounds(month, "UTC")
    found = fetch(
        database,
        Reconciliation,
        "get_reconciliation",
        from_time=start,
        to_time=end,
        filters={**wanted, "provider": provider},
    )
    totals = found.totals
    state: CheckState = "not reconciled"
    if totals.days:
        state = "partly reconciled" if totals.days_without_bill else "reconciled"
        if found.is_over(threshold):
            state = "differs"
    return BillCheck(
        provider, state, totals.days, totals.days_without_bill, totals.billed_cost, totals.recorded_cost, totals.drift
    )
