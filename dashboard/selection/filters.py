"""What the viewer has chosen to see: period, filters, time zone. Pure; read from and written to the address bar.

Only the names listed in `QUERY_KEYS` are taken from an address, each value is checked, and what is not understood is
left out: a shared link shows the same period and filters to everybody, in each viewer's own time zone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from dashboard.selection.metadata import tidy_pairs, to_object
from dashboard.selection.periods import (
    COMPARISONS,
    GRAINS,
    PERIODS,
    can_show,
    ceil,
    compared_moments,
    midnight,
    moments_of,
    usual_grain,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
# What single calls can be ordered by and restricted to: at least so much.
ORDERS: Final = {"newest": "Newest first", "cost": "Most expensive", "latency": "Slowest", "tokens": "Most tokens"}
LEAST: Final = {"min_cost": "Cost from (US$)", "min_latency_ms": "Latency from (ms)", "min_tokens": "Tokens from"}
QUERY_KEYS: Final = (
    *("period", "from", "to", "grain", "compare", "group", "zone", "order"),
    *(*FILTERS, *CALL_FILTERS, "metadata", *LEAST),
)
LONGEST_DAYS: Final = 366
# Metadata stands in raw calls alone, of which the database reads a week.
METADATA_DAYS: Final = 7
MAX_VALUES: Final = 20
# Model and feature names are free text; control characters and endless strings are not names.
_AMOUNT: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
_TAG_GROUP: Final = re.compile(r"tags\.[a-z][a-z0-9_]{0,39}")
_TAG_PAIR: Final = re.compile(r"[a-z][a-z0-9_]{0,39}=")
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")


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
        least: Pairs of a name in `LEAST` and the smallest figure of a call that is shown, as typed.
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
    least: tuple[tuple[str, str], ...] = ()

    @property
    def filter_count(self) -> int:
        """How many filters are set; each pair of metadata is one."""
        return (
            sum(1 for name in (*FILTERS, *CALL_FILTERS) if getattr(self, name)) + len(self.metadata) + len(self.least)
        )

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
            return replace(self, tags=(*others, *(begin + value for value in values)))
        chosen: dict[str, Any] = {name: tuple(values)}
        return replace(self, **chosen)

    def without_filters(self) -> Selection:
        """Return the same period without any restriction."""
        nothing: dict[str, Any] = dict.fromkeys((*FILTERS, *CALL_FILTERS, "metadata"), ())
        return replace(self, least=(), **nothing)

    def without_call_filters(self) -> Selection:
        """Return the same choices without what only single calls can be restricted to."""
        return replace(self, error_type=(), session_id=(), least=())

    def with_least(self, name: str, amount: str) -> Selection:
        """Return the same choices with calls of at least so much of a figure; of any size where it is no number."""
        others = tuple(pair for pair in self.least if pair[0] != name)
        typed = amount.strip().replace(",", "").removeprefix("$")
        is_known = name in LEAST and _AMOUNT.fullmatch(typed) and (name != "min_tokens" or "." not in typed)
        return replace(self, least=tuple(sorted((*others, (name, typed)))) if is_known else others)

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
        query |= dict(self.least)
        if self.is_reporting_zone:
            query["zone"] = "reporting"
        for name in (*FILTERS, *CALL_FILTERS, "metadata"):
            if values := getattr(self, name):
                query[name] = list(values)
        return query

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
        filters: list[tuple[str, str | tuple[str, ...]]] = [
            (name, values) for name in (*FILTERS, *CALL_FILTERS, "metadata") if (values := getattr(self, name))
        ]
        filters.append(("timezone", zone.key))
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
        return replace(window, filters=(*window.filters, *self.least, *order))

    def call_filters(self) -> Filters:
        """Return the filters alone, as the page of single calls takes them; no time, no order."""
        chosen = ((name, values) for name in (*FILTERS, *CALL_FILTERS, "metadata") if (values := getattr(self, name)))
        return (*chosen, *self.least)

    def compared(self, now: datetime, zone: ZoneInfo, *, is_grouped: bool = False) -> Window | None:
        """Return what to ask for to compare with; None for the period directly before, which every page reads."""
        if self.compare == "none":
            return None
        moments = compared_moments(self.period, self.compare, self.moments(now, zone), zone)
        return self.window(now, zone, is_grouped=is_grouped, moments=moments) if moments else None

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
            return midnight(self.first_day, zone), midnight(self.last_day + timedelta(days=1), zone)
        if self.period in ("week", "custom") and self.metadata:
            end = moments_of("week", now, zone)[1]
            return ceil(end - PERIODS["week"].length, 900), end
        return moments_of("week" if self.period == "custom" else self.period, now, zone)


def to_document(filters: Sequence[tuple[str, str | tuple[str, ...]]]) -> dict[str, JsonValue]:
    """Return pairs of a filter's name and its values as the read functions take them."""
    return {name: _write(name, values) for name, values in filters}


def _write(name: str, values: str | tuple[str, ...]) -> JsonValue:
    if isinstance(values, str):
        return values
    if name == "metadata":
        return to_object(values)
    if name != "tags":
        return list(values)
    tags: dict[str, list[JsonValue]] = {}
    for key, _, value in (pair.partition("=") for pair in values):
        tags.setdefault(key, []).append(value)
    return dict(tags)


def parse_query(query: Mapping[str, Sequence[str]]) -> Selection:
    """Read a selection from an address's parameters; what is unknown or wrong is left out."""
    selection = Selection()
    period = _first(query, "period")
    if period == "custom":
        first, last = _day(_first(query, "from")), _day(_first(query, "to"))
        start, end = _moment(_first(query, "from")), _moment(_first(query, "to"))
        if first and last and first <= last and (last - first).days < LONGEST_DAYS:
            selection = replace(selection, period="custom", first_day=first, last_day=last)
        elif start and end and start < end and (end - start).days < LONGEST_DAYS:
            selection = replace(selection, period="custom", frozen=(start, end))
    elif period in PERIODS:
        selection = replace(selection, period=period)
    for name, known in (("grain", GRAINS), ("compare", COMPARISONS), ("group", GROUPS), ("order", ORDERS)):
        if (value := _first(query, name)) in known or (name == "group" and _TAG_GROUP.fullmatch(value)):
            choice: dict[str, Any] = {name: value}
            selection = replace(selection, **choice)
    for name in LEAST:
        selection = selection.with_least(name, _first(query, name))
    names: dict[str, Any] = {name: _names(query.get(name, ())) for name in (*FILTERS, *CALL_FILTERS)}
    names["tags"] = tuple(pair for pair in names["tags"] if _TAG_PAIR.match(pair))
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


def _moment(text: str) -> datetime | None:
    if "T" not in text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo and 2000 <= moment.year <= 2200 else None
