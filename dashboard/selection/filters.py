"""What the viewer has chosen to see: period, filters, time zone. Pure; read from and written to the address bar.

Only the names listed in `QUERY_KEYS` are taken from an address, each value is checked, and what is not understood is
left out: a shared link shows the same period and filters to everybody, in each viewer's own time zone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from dashboard.selection.metadata import tidy_pairs, to_object

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.database import JsonValue

DIMENSIONS: Final = ("model", "feature", "provider", "environment")
# What every page can be restricted to; the page of single calls to the latter two as well.
FILTERS: Final = (*DIMENSIONS, "operation", "status", "user_id")
CALL_FILTERS: Final = ("error_type", "session_id")
STATUSES: Final = ("ok", "error", "cancelled")
GROUPS: Final = {
    "model": "Model",
    "feature": "Feature",
    "provider": "Provider",
    "environment": "Environment",
    "user_id": "User",
}
QUERY_KEYS: Final = ("period", "from", "to", "group", "zone", *FILTERS, *CALL_FILTERS, "metadata")
# A period that ends now is read at full steps, so that viewers and refreshes within a step share one cached answer.
STEP_S: Final = 5
LONGEST_DAYS: Final = 366
# Metadata stands in raw calls alone, of which the database reads a week.
METADATA_DAYS: Final = 7
MAX_VALUES: Final = 20
# Model and feature names are free text; control characters and endless strings are not names.
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")


@dataclass(frozen=True, slots=True)
class Period:
    """A choice of the period selector: `label` on the control, `phrase` in sentences."""

    label: str
    phrase: str
    length: timedelta
    refresh_s: int


PERIODS: Final[dict[str, Period]] = {
    "hour": Period("1h", "hour", timedelta(hours=1), 5),
    "day": Period("24h", "24 hours", timedelta(days=1), 5),
    "week": Period("7d", "7 days", timedelta(days=7), 15),
    "month": Period("30d", "30 days", timedelta(days=30), 30),
    "quarter": Period("90d", "90 days", timedelta(days=90), 60),
    "custom": Period("Custom", "days", timedelta(days=7), 0),
}
DEFAULT_PERIOD: Final = "week"


@dataclass(frozen=True, slots=True)
class Window:
    """What one read asks the database for. Hashable, so it is a cache key.

    Attributes:
        from_time: First moment, aware UTC.
        to_time: First moment after the window, aware UTC.
        filters: Pairs of a filter's name and its values.
    """

    from_time: datetime
    to_time: datetime
    filters: tuple[tuple[str, str | tuple[str, ...]], ...] = ()

    def with_page(self, size: int, cursor: str | None) -> Window:
        """Return the same window with a page of single calls to read: the newest, or those after a cursor."""
        place = (("limit", str(size)), *((("cursor", cursor),) if cursor else ()))
        return replace(self, filters=(*self.filters, *place))

    def document(self) -> dict[str, JsonValue]:
        """Return the filters as the read functions take them."""
        return {
            name: to_object(values) if name == "metadata" else values if isinstance(values, str) else list(values)
            for name, values in self.filters
        }


@dataclass(frozen=True, slots=True)
class Selection:
    """Everything the viewer has chosen. `first_day` and `last_day` (inclusive) count for a custom period only."""

    period: str = DEFAULT_PERIOD
    first_day: date | None = None
    last_day: date | None = None
    model: tuple[str, ...] = ()
    feature: tuple[str, ...] = ()
    provider: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    operation: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    user_id: tuple[str, ...] = ()
    error_type: tuple[str, ...] = ()
    session_id: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    group: str = "model"
    is_reporting_zone: bool = False

    @property
    def filter_count(self) -> int:
        """How many filters are set; each pair of metadata is one."""
        return sum(1 for name in (*FILTERS, *CALL_FILTERS) if getattr(self, name)) + len(self.metadata)

    @property
    def phrase(self) -> str:
        """The length of the period in words, for a label."""
        if self.period == "custom" and self.first_day and self.last_day:
            days = (self.last_day - self.first_day).days + 1
            return "day" if days == 1 else f"{days} days"
        return PERIODS[self.period].phrase

    @property
    def short(self) -> str:
        """The length of the period as on the selector, for the little room beside a change."""
        if self.period == "custom" and self.first_day and self.last_day:
            return f"{(self.last_day - self.first_day).days + 1}d"
        return PERIODS[self.period].label

    def with_filter(self, name: str, values: Sequence[str]) -> Selection:
        """Return the same choices with one dimension restricted to some values, or not at all."""
        chosen: dict[str, Any] = {name: tuple(values)}
        return replace(self, **chosen)

    def without_filters(self) -> Selection:
        """Return the same period without any restriction."""
        nothing: dict[str, Any] = dict.fromkeys((*FILTERS, *CALL_FILTERS, "metadata"), ())
        return replace(self, **nothing)

    def without_call_filters(self) -> Selection:
        """Return the same choices without what only single calls can be restricted to."""
        return replace(self, error_type=(), session_id=())

    def shorter(self, zone: ZoneInfo) -> Selection | None:
        """Return the same choices for the next shorter period, within what a filter by metadata can read."""
        if self.period == "custom" and self.first_day and self.last_day:
            if self.first_day == self.last_day:
                return None
            week = self.last_day - timedelta(days=METADATA_DAYS - 1)
            first = week if self.first_day < week else self.last_day
            longest = timedelta(days=METADATA_DAYS)
            # Of seven local days one may have 25 hours.
            if _midnight(self.last_day + timedelta(days=1), zone) - _midnight(first, zone) > longest:
                first += timedelta(days=1)
            return replace(self, first_day=first)
        shorter = {"quarter": "week", "month": "week", "week": "day", "day": "hour"}.get(self.period)
        return replace(self, period=shorter) if shorter else None

    def to_query(self) -> dict[str, str | list[str]]:
        """Return the choices that differ from the defaults, as the address bar holds them."""
        query: dict[str, str | list[str]] = {}
        if self.period == "custom" and self.first_day and self.last_day:
            query |= {"period": "custom", "from": self.first_day.isoformat(), "to": self.last_day.isoformat()}
        elif self.period not in (DEFAULT_PERIOD, "custom"):
            query["period"] = self.period
        if self.group != "model":
            query["group"] = self.group
        if self.is_reporting_zone:
            query["zone"] = "reporting"
        for name in (*FILTERS, *CALL_FILTERS, "metadata"):
            if values := getattr(self, name):
                query[name] = list(values)
        return query

    def window(self, now: datetime, zone: ZoneInfo, *, is_grouped: bool = False) -> Window:
        """Return the moments and filters to ask the database for.

        Args:
            now: The present, aware.
            zone: The viewer's time zone, in which days begin and end.
            is_grouped: Whether the read function takes `group_by`.
        """
        from_time, to_time = self._moments(now, zone)
        filters: list[tuple[str, str | tuple[str, ...]]] = [
            (name, values) for name in (*FILTERS, *CALL_FILTERS, "metadata") if (values := getattr(self, name))
        ]
        filters.append(("timezone", zone.key))
        if is_grouped:
            filters.append(("group_by", self.group))
        return Window(from_time, to_time, tuple(filters))

    def is_live(self, now: datetime, zone: ZoneInfo) -> bool:
        """Whether the window reaches the present, so that refreshing it can show something new."""
        return self.period != "custom" or self.last_day is None or self.last_day >= now.astimezone(zone).date()

    def _moments(self, now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
        if self.period == "custom" and self.first_day and self.last_day:
            return _midnight(self.first_day, zone), _midnight(self.last_day + timedelta(days=1), zone)
        end = _ceil(now.astimezone(UTC), STEP_S)
        start = end - PERIODS[self.period].length
        if self.period == "hour":
            return _floor(start, 60), end
        if self.period == "day":
            return _floor(start, 900), end
        if self.period in ("month", "quarter"):
            return _midnight((start + timedelta(days=1)).astimezone(zone).date(), zone), end
        if self.metadata:
            return _ceil(start, 900), end
        return _floor(start, 3600), end


def parse_query(query: Mapping[str, Sequence[str]]) -> Selection:
    """Read a selection from an address's parameters; what is unknown or wrong is left out."""
    selection = Selection()
    period = _first(query, "period")
    if period == "custom":
        first, last = _day(_first(query, "from")), _day(_first(query, "to"))
        if first and last and first <= last and (last - first).days < LONGEST_DAYS:
            selection = replace(selection, period="custom", first_day=first, last_day=last)
    elif period in PERIODS:
        selection = replace(selection, period=period)
    group = _first(query, "group")
    if group in GROUPS:
        selection = replace(selection, group=group)
    names: dict[str, Any] = {name: _names(query.get(name, ())) for name in (*FILTERS, *CALL_FILTERS)}
    names["status"] = tuple(name for name in names["status"] if name in STATUSES)
    return replace(
        selection,
        is_reporting_zone=_first(query, "zone") == "reporting",
        metadata=tidy_pairs(query.get("metadata", ())),
        **names,
    )


def viewer_zone(browser_zone: str | None, reporting_zone: str, *, is_reporting_zone: bool) -> ZoneInfo:
    """Return the browser's time zone, or the reporting zone when that is chosen or the browser's is not known here."""
    if browser_zone and not is_reporting_zone:
        try:
            return ZoneInfo(browser_zone)
        except (KeyError, ValueError, OSError):  # what a browser sends is free text
            pass
    return ZoneInfo(reporting_zone)


def _first(query: Mapping[str, Sequence[str]], key: str) -> str:
    values = query.get(key, ())
    return values[0] if values else ""


def _names(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if _NAME.fullmatch(value)))[:MAX_VALUES]


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if 2000 <= day.year <= 2200 else None


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def _floor(moment: datetime, step_s: int) -> datetime:
    return datetime.fromtimestamp(moment.timestamp() // step_s * step_s, tz=UTC)


def _ceil(moment: datetime, step_s: int) -> datetime:
    return datetime.fromtimestamp(-(-moment.timestamp() // step_s) * step_s, tz=UTC)
