"""What the viewer has chosen to see: period, filters, time zone. Pure; `address` reads it from the address bar."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from dashboard.selection.metadata import tidy_pairs, to_lists, to_object
from dashboard.selection.periods import (
    PERIODS,
    STEP_S,
    can_show,
    ceil,
    compared_moments,
    midnight,
    moments_of,
    usual_grain,
)
from dashboard.selection.ranges import LIMITS, tidy_limit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.database import JsonValue

DIMENSIONS: Final = ("model", "feature", "provider", "environment")
# What every page can be restricted to; the page of single calls to the latter two as well.
FILTERS: Final = (*DIMENSIONS, "operation", "status", "tenant_id", "tags", "user_id")
CALL_FILTERS: Final = ("error_type", "session_id")
STATUSES: Final = ("ok", "error", "cancelled")
GROUPS: Final = {
    "model": "Model",
    "feature": "Feature",
    "provider": "Provider",
    "environment": "Environment",
    "tenant_id": "Tenant",
    "user_id": "User",
}
TAG: Final = "tags."
# What single calls can be ordered by.
ORDERS: Final = {"newest": "Newest first", "cost": "Most expensive", "latency": "Slowest", "tokens": "Most tokens"}
# All that has values to choose or to leave out; of a name without the prefix these are the values to choose.
ASKED: Final = (*FILTERS, *CALL_FILTERS, "metadata")
NOT: Final = "not_"
# A call may have none of these: an empty text stands for that.
MAY_LACK: Final = ("feature", "tenant_id", *CALL_FILTERS)
QUERY_KEYS: Final = (
    *("period", "from", "to", "grain", "compare", "group", "zone", "order"),
    *(*ASKED, *(NOT + name for name in ASKED), *LIMITS),
)
LONGEST_DAYS: Final = 366
# Metadata stands in raw calls alone, of which the database reads a week.
METADATA_DAYS: Final = 7
MAX_VALUES: Final = 20


DEFAULT_PERIOD: Final = "week"


Filters: TypeAlias = "tuple[tuple[str, str | tuple[str, ...]], ...]"
"""Pairs of a filter's name and its values, as a cache can keep them."""


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
    filters: Filters = ()

    def with_page(self, size: int, cursor: str | None) -> Window:
        """Return the same window with a page of single calls to read: the newest, or those after a cursor."""
        place = (("limit", str(size)), *((("cursor", cursor),) if cursor else ()))
        return replace(self, filters=(*self.filters, *place))

    def document(self) -> dict[str, JsonValue]:
        """Return the filters as the read functions take them."""
        return to_document(self.filters)


@dataclass(frozen=True, slots=True)
class Selection:
    """Everything the viewer has chosen.

    Attributes:
        period: A name in `PERIODS`.
        first_day: First day of a custom period.
        last_day: Its last day, inclusive.
        frozen: The exact moments of a custom period in place of days, as a copied link holds them.
        grain: What a bar of a chart is; empty for what suits the period.
        compare: A name in `COMPARISONS`.
        order: How single calls are ordered, a name in `ORDERS`.
        tags: Tags as name=value; several values of one name mean any of them, an empty one calls without it.
        excluded: Pairs of a filter's name and a value whose calls are left out; calls without any value stay in.
        limits: Pairs of a name in `LIMITS` and the least or most of a figure that a shown call has, as typed.
    """

    period: str = DEFAULT_PERIOD
    first_day: date | None = None
    last_day: date | None = None
    frozen: tuple[datetime, datetime] | None = None
    grain: str = ""
    compare: str = "before"
    model: tuple[str, ...] = ()
    feature: tuple[str, ...] = ()
    provider: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    operation: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    tenant_id: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    user_id: tuple[str, ...] = ()
    error_type: tuple[str, ...] = ()
    session_id: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    group: str = "model"
    is_reporting_zone: bool = False
    order: str = "newest"
    excluded: tuple[tuple[str, str], ...] = ()
    limits: tuple[tuple[str, str], ...] = ()

    @property
    def filter_count(self) -> int:
        """How many filters are set; each pair of metadata, each limit and each dimension with exclusions is one."""
        chosen = sum(1 for name in (*FILTERS, *CALL_FILTERS) if getattr(self, name)) + len(self.metadata)
        return chosen + len({name for name, _ in self.excluded}) + len(self.limits)

    @property
    def has_metadata(self) -> bool:
        """Whether calls are told apart by metadata, which the rollups do not know."""
        return bool(self.metadata or self.excluded_of("metadata"))

    @property
    def phrase(self) -> str:
        """The length of the period in words, for a label."""
        if self.frozen:
            return "frozen period"
        if self.period == "custom" and self.first_day and self.last_day:
            days = (self.last_day - self.first_day).days + 1
            return "day" if days == 1 else f"{days} days"
        return PERIODS[self.period].phrase

    @property
    def before(self) -> str:
        """What changes are measured against, in the little room beside them."""
        if self.compare != "before":
            return {"weekdays": "vs same weekdays", "month": "vs a month earlier", "year": "vs a year earlier"}.get(
                self.compare, ""
            )
        unit = PERIODS[self.period].unit
        return f"vs {unit} before" if unit else f"vs {self._short} before"

    @property
    def subject(self) -> str:
        """The period at the beginning of a sentence."""
        return PERIODS[self.period].label if PERIODS[self.period].unit else "This period"

    @property
    def earlier(self) -> str:
        """The period to compare with, in a sentence."""
        if self.compare in ("weekdays", "month", "year"):
            return {"weekdays": "the same weekdays before"}.get(self.compare, f"a {self.compare} earlier")
        chosen = PERIODS[self.period]
        if not chosen.unit:
            return "the one before"
        return f"the {chosen.unit} before" if chosen.back else f"the {chosen.unit} before up to the same time"

    @property
    def _short(self) -> str:
        if self.frozen:
            return "period"
        if self.period == "custom" and self.first_day and self.last_day:
            return f"{(self.last_day - self.first_day).days + 1}d"
        return PERIODS[self.period].label

    def with_filter(self, name: str, values: Sequence[str]) -> Selection:
        """Return the same choices with one dimension restricted to some values, or not at all; tags.plan is a tag."""
        if name.startswith(TAG):
            begin = f"{name.removeprefix(TAG)}="
            others = tuple(pair for pair in self.tags if not pair.startswith(begin))
            return self.with_filter("tags", (*others, *(begin + value for value in values)))
        chosen: dict[str, Any] = {name: tuple(values)}
        # What is wanted is not left out.
        kept = tuple(pair for pair in self.excluded if pair[0] != name or pair[1] not in values)
        return replace(self, excluded=kept, **chosen)

    def excluded_of(self, name: str) -> tuple[str, ...]:
        """Return the values of a filter whose calls are left out."""
        return tuple(value for one, value in self.excluded if one == name)

    def with_excluded(self, name: str, values: Sequence[str]) -> Selection:
        """Return the same choices without the calls of some values of a filter, and no others of it left out."""
        others = tuple(pair for pair in self.excluded if pair[0] != name)
        chosen: dict[str, Any] = {name: tuple(value for value in getattr(self, name) if value not in values)}
        # In the one order that an address has, so that the choice read from it is the same.
        pairs = sorted((*others, *((name, value) for value in values)), key=lambda pair: ASKED.index(pair[0]))
        return replace(self, excluded=tuple(dict.fromkeys(pairs)), **chosen)

    def turned(self, name: str, value: str) -> Selection:
        """Return the same choices with a value that was wanted left out, or one that was left out wanted."""
        out = self.excluded_of(name)
        if value in out:
            wanted = (*getattr(self, name), value)
            return self.with_filter(name, tidy_pairs(wanted) if name == "metadata" else wanted)
        return self.with_excluded(name, (*out, value))

    def asked(self, *names: str) -> Filters:
        """Return the filters of some names, or of all: a name and its values, `not_` before what is left out."""
        names = names or ASKED
        chosen = [(name, values) for name in names if (values := getattr(self, name))]
        return (*chosen, *((NOT + name, values) for name in names if (values := self.excluded_of(name))))

    def is_asked(self, *names: str) -> bool:
        """Whether one of these filters has values to choose or to leave out."""
        return bool(self.asked(*names))

    def without_filters(self) -> Selection:
        """Return the same period without any restriction."""
        nothing: dict[str, Any] = dict.fromkeys(ASKED, ())
        return replace(self, excluded=(), limits=(), **nothing)

    def without_call_filters(self) -> Selection:
        """Return the same choices without what only single calls can be restricted to."""
        kept = tuple(pair for pair in self.excluded if pair[0] not in CALL_FILTERS)
        return replace(self, error_type=(), session_id=(), excluded=kept, limits=())

    def with_limit(self, name: str, amount: str) -> Selection:
        """Return the same choices with calls of at least, or at most, so much; of any size where it is no number."""
        others = tuple(pair for pair in self.limits if pair[0] != name)
        tidy = tidy_limit(name, amount)
        pairs = others if tidy is None else (*others, (name, tidy))
        return replace(self, limits=tuple(sorted(pairs, key=lambda pair: list(LIMITS).index(pair[0]))))

    def shorter(self, zone: ZoneInfo) -> Selection | None:
        """Return the same choices for the next shorter period, within what a filter by metadata can read."""
        if self.period == "custom" and self.first_day and self.last_day:
            if self.first_day == self.last_day:
                return None
            week = self.last_day - timedelta(days=METADATA_DAYS - 1)
            first = week if self.first_day < week else self.last_day
            longest = timedelta(days=METADATA_DAYS)
            # Of seven local days one may have 25 hours.
            if midnight(self.last_day + timedelta(days=1), zone) - midnight(first, zone) > longest:
                first += timedelta(days=1)
            return replace(self, first_day=first)
        if self.frozen:
            return None
        calendar = dict.fromkeys(("last_quarter", "this_quarter", "last_month", "this_month"), "week")
        calendar |= {"last_week": "day", "this_week": "day", "yesterday": "day", "today": "hour"}
        shorter = (calendar | {"quarter": "week", "month": "week", "week": "day", "day": "hour"}).get(self.period)
        return replace(self, period=shorter) if shorter else None

    def to_query(self) -> dict[str, str | list[str]]:
        """Return the choices that differ from the defaults, as the address bar holds them."""
        query: dict[str, str | list[str]] = {}
        if self.frozen:
            start, end = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in self.frozen)
            query |= {"period": "custom", "from": start, "to": end}
        elif self.period == "custom" and self.first_day and self.last_day:
            query |= {"period": "custom", "from": self.first_day.isoformat(), "to": self.last_day.isoformat()}
        elif self.period not in (DEFAULT_PERIOD, "custom"):
            query["period"] = self.period
        defaults = {"grain": "", "compare": "before", "group": "model", "order": "newest"}
        query |= {name: getattr(self, name) for name, default in defaults.items() if getattr(self, name) != default}
        query |= dict(self.limits)
        if self.is_reporting_zone:
            query["zone"] = "reporting"
        return query | {name: list(values) for name, values in self.asked()}

    def window(
        self,
        now: datetime,
        zone: ZoneInfo,
        *,
        is_grouped: bool = False,
        moments: tuple[datetime, datetime] | None = None,
    ) -> Window:
        """Return the moments and filters to ask the database for.

        Args:
            now: The present, aware.
            zone: The viewer's time zone, in which days begin and end.
            is_grouped: Whether the read function takes `group_by`.
            moments: Another time to ask for than the chosen period.
        """
        chosen = self.moments(now, zone)
        filters: list[tuple[str, str | tuple[str, ...]]] = [*self.asked(), ("timezone", zone.key)]
        if is_grouped:
            filters.append(("group_by", self.group))
        if grain := self.grain if can_show(self.grain, chosen) and self.grain else usual_grain(chosen):
            filters.append(("bucket", grain))
        return Window(*(moments or chosen), tuple(filters))

    def calls_window(self, now: datetime, zone: ZoneInfo) -> Window:
        """Return what to ask the database for to see single calls, in their order."""
        window = self.window(now, zone)
        window = replace(window, filters=tuple(pair for pair in window.filters if pair[0] != "bucket"))
        order = (("order", self.order),) if self.order != "newest" else ()
        return replace(window, filters=(*window.filters, *self.limits, *order))

    def call_filters(self) -> Filters:
        """Return the filters alone, as the page of single calls takes them; no time, no order."""
        return (*self.asked(), *self.limits)

    def compared(self, now: datetime, zone: ZoneInfo, *, is_grouped: bool = False) -> Window | None:
        """Return what to ask for to compare with; None for the period directly before, which every page reads."""
        if self.compare == "none":
            return None
        moments = compared_moments(self.period, self.compare, self.moments(now, zone), zone, self._days)
        return self.window(now, zone, is_grouped=is_grouped, moments=moments) if moments else None

    @property
    def _days(self) -> int:
        """How many days have been chosen one by one; 0 for any other period."""
        if self.period != "custom" or self.frozen or not (self.first_day and self.last_day):
            return 0
        return (self.last_day - self.first_day).days + 1

    def freeze(self, now: datetime, zone: ZoneInfo) -> Selection:
        """Return the same choices with the moments that the period has now."""
        return replace(self, period="custom", first_day=None, last_day=None, frozen=self.moments(now, zone))

    def is_live(self, now: datetime, zone: ZoneInfo) -> bool:
        """Whether the window reaches the present, so that refreshing it can show something new."""
        if self.frozen or PERIODS[self.period].back:
            return False
        return self.period != "custom" or self.last_day is None or self.last_day >= now.astimezone(zone).date()

    def moments(self, now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """Return the first moment of the period and the one after it, aware UTC."""
        if self.frozen:
            return self.frozen
        if self.period == "custom" and self.first_day and self.last_day:
            start, end = midnight(self.first_day, zone), midnight(self.last_day + timedelta(days=1), zone)
            # What is ahead has no calls yet, and would be compared with days that have.
            return start, min(end, ceil(now, STEP_S)) if start < now else end
        if self.period in ("week", "custom") and self.has_metadata:
            end = moments_of("week", now, zone)[1]
            return ceil(end - PERIODS["week"].length, 900), end
        return moments_of("week" if self.period == "custom" else self.period, now, zone)


def to_document(filters: Sequence[tuple[str, str | tuple[str, ...]]]) -> dict[str, JsonValue]:
    """Return pairs of a filter's name and its values as the read functions take them: what is left out as `not`."""
    left_out = {name.removeprefix(NOT): values for name, values in filters if name.startswith(NOT)}
    document = {name: _write(name, values) for name, values in filters if not name.startswith(NOT)}
    if left_out:
        document["not"] = {name: _write(name, values, is_out=True) for name, values in left_out.items()}
    return document


def _write(name: str, values: str | tuple[str, ...], *, is_out: bool = False) -> JsonValue:
    if isinstance(values, str):
        return values
    if name == "metadata":
        return to_lists(values) if is_out else to_object(values)
    if name != "tags":
        return list(values)
    tags: dict[str, list[JsonValue]] = {}
    for key, _, value in (pair.partition("=") for pair in values):
        tags.setdefault(key, []).append(value)
    return dict(tags)


def viewer_zone(browser_zone: str | None, reporting_zone: str, *, is_reporting_zone: bool) -> ZoneInfo:
    """Return the browser's time zone, or the reporting zone when that is chosen or the browser's is not known here."""
    if browser_zone and not is_reporting_zone:
        try:
            return ZoneInfo(browser_zone)
        except (KeyError, ValueError, OSError):  # what a browser sends is free text
            pass
    return ZoneInfo(reporting_zone)
