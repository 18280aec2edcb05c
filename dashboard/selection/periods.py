"""Periods: those that end now, those of the calendar, and the earlier period that one is compared with. Pure.

Days, weeks (from Monday), months and quarters are those of the viewer's time zone.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

# A period that ends now is read at full steps, so that viewers and refreshes within a step share one cached answer.
STEP_S: Final = 5


@dataclass(frozen=True, slots=True)
class Period:
    """A choice of the period selector: `label` on the control, `phrase` in sentences.

    Attributes:
        label: On the control.
        phrase: After "the last" for one that ends now, by itself for one of the calendar.
        length: About how long it is.
        refresh_s: Seconds between live refreshes, 0 where nothing new can come.
        unit: day, week, month or quarter of the calendar; empty for others.
        back: How many units ago it began.
    """

    label: str
    phrase: str
    length: timedelta
    refresh_s: int
    unit: str = ""
    back: int = 0


ROLLING: Final = ("hour", "day", "week", "month", "quarter")
CALENDAR: Final = (
    "today",
    "yesterday",
    "this_week",
    "last_week",
    "this_month",
    "last_month",
    "this_quarter",
    "last_quarter",
)
PERIODS: Final[dict[str, Period]] = {
    "hour": Period("1h", "hour", timedelta(hours=1), 5),
    "day": Period("24h", "24 hours", timedelta(days=1), 5),
    "week": Period("7d", "7 days", timedelta(days=7), 15),
    "month": Period("30d", "30 days", timedelta(days=30), 30),
    "quarter": Period("90d", "90 days", timedelta(days=90), 60),
    "today": Period("Today", "today", timedelta(days=1), 5, "day"),
    "yesterday": Period("Yesterday", "yesterday", timedelta(days=1), 0, "day", 1),
    "this_week": Period("This week", "this week", timedelta(days=7), 15, "week"),
    "last_week": Period("Last week", "last week", timedelta(days=7), 0, "week", 1),
    "this_month": Period("This month", "this month", timedelta(days=31), 30, "month"),
    "last_month": Period("Last month", "last month", timedelta(days=31), 0, "month", 1),
    "this_quarter": Period("This quarter", "this quarter", timedelta(days=92), 60, "quarter"),
    "last_quarter": Period("Last quarter", "last quarter", timedelta(days=92), 0, "quarter", 1),
    "custom": Period("Custom", "days", timedelta(days=7), 0),
}
COMPARISONS: Final = {
    "before": "Period before",
    "weekdays": "Same weekdays",
    "month": "A month earlier",
    "year": "A year earlier",
    "none": "Nothing",
}
GRAINS: Final = {"": "Automatic", "minute": "Minute", "hour": "Hour", "day": "Day", "week": "Week", "month": "Month"}
_HOURLY_UP_TO: Final = timedelta(days=3)
_DAILY_UP_TO: Final = timedelta(hours=200)
# Buckets that a chart can show; the database refuses more than 2,000.
_FINEST_GRAIN_OF: Final = {"minute": timedelta(hours=6), "hour": timedelta(days=31), "day": timedelta(days=400)}


def moments_of(period: str, now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the first moment of a period and the one after it, aware UTC.

    Args:
        period: A name in `PERIODS` but custom.
        now: The present, aware; one that reaches it ends at the next full `STEP_S` seconds.
        zone: Whose days and months.
    """
    chosen, end = PERIODS[period], ceil(now.astimezone(UTC), STEP_S)
    if chosen.unit:
        today = now.astimezone(zone).date()
        start = unit_start(today, chosen.unit, -chosen.back)
        until = midnight(unit_start(today, chosen.unit, 1 - chosen.back), zone)
        return midnight(start, zone), min(until, end) if chosen.back == 0 else until
    start_at = end - chosen.length
    if period == "hour":
        return floor(start_at, 60), end
    if period == "day":
        return floor(start_at, 900), end
    if period in ("month", "quarter"):
        return midnight((start_at + timedelta(days=1)).astimezone(zone).date(), zone), end
    return floor(start_at, 3600), end


def compared_moments(
    period: str, comparison: str, moments: tuple[datetime, datetime], zone: ZoneInfo, days: int = 0
) -> tuple[datetime, datetime] | None:
    """Return the earlier period to compare with; None for the equal length directly before, which a page reads anyway.

    Args:
        period: A name in `PERIODS`.
        comparison: A name in `COMPARISONS` but none.
        moments: The period's own moments.
        zone: On whose clock a day is moved.
        days: How many days have been chosen, the last of which may not be over yet; 0 for any other period.
    """
    start, end = (moment.astimezone(zone) for moment in moments)
    unit = PERIODS[period].unit
    if comparison == "weekdays":
        weeks = max(1, -(-(end - start) // timedelta(days=7)))
        return _moved(start, -7 * weeks), _moved(end, -7 * weeks)
    if comparison in ("month", "year"):
        months = 1 if comparison == "month" else 12
        return _months_earlier(start, months), _months_earlier(end, months)
    if days and end.date() < start.date() + timedelta(days=days):
        # As much of the days before as there is of these.
        return _moved(start, -days), _moved(end, -days)
    if not unit:
        return None
    before = unit_start(start.date(), unit, -1)
    if PERIODS[period].back:
        return midnight(before, zone), midnight(unit_start(start.date(), unit, 0), zone)
    # As much of the unit before as there is of this one, and never more than it has.
    whole = midnight(start.date(), zone)
    until = _moved(end, (before - start.date()).days)
    return midnight(before, zone), min(until, whole)


def can_show(grain: str, moments: tuple[datetime, datetime]) -> bool:
    """Whether a chart of this length can be drawn by a grain."""
    return grain in GRAINS and moments[1] - moments[0] <= _FINEST_GRAIN_OF.get(grain, timedelta.max)


def usual_grain(moments: tuple[datetime, datetime]) -> str:
    """Return what a bar is where nobody has chosen; empty for what the database chooses.

    That is hours up to 200 of them, among which a nightly job flattens all others: beyond three days it is days.
    """
    return "day" if _HOURLY_UP_TO < moments[1] - moments[0] <= _DAILY_UP_TO else ""


def unit_start(day: date, unit: str, move: int) -> date:
    """Return the first day of the unit that a day lies in, moved by whole units."""
    if unit == "day":
        return day + timedelta(days=move)
    if unit == "week":
        return day - timedelta(days=day.weekday()) + timedelta(days=7 * move)
    step = 3 if unit == "quarter" else 1
    month = (day.month - 1) // step * step + step * move
    return date(day.year + month // 12, month % 12 + 1, 1)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the moment at which a local day begins, aware UTC."""
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def floor(moment: datetime, step_s: int) -> datetime:
    """Return the last full step before a moment."""
    return datetime.fromtimestamp(moment.timestamp() // step_s * step_s, tz=UTC)


def ceil(moment: datetime, step_s: int) -> datetime:
    """Return the next full step after a moment."""
    return datetime.fromtimestamp(-(-moment.timestamp() // step_s) * step_s, tz=UTC)


def _moved(local: datetime, days: int) -> datetime:
    # Aware arithmetic in a zone is wall-clock arithmetic.
    return (local + timedelta(days=days)).astimezone(UTC)


def _months_earlier(local: datetime, months: int) -> datetime:
    index = local.year * 12 + local.month - 1 - months
    year, month = index // 12, index % 12 + 1
    day = min(local.day, calendar.monthrange(year, month)[1])
    return local.replace(year=year, month=month, day=day).astimezone(UTC)
