"""From documents to data frames: full time lines without holes, and tables. Pure.

Times in a time line are the viewer's wall clock, written as epoch milliseconds "as if UTC", and the charts draw them
on a UTC scale: a chart then reads the same in every browser, whatever that browser's own time zone is.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import pandas as pd

from dashboard.figures.colours import OTHER
from ingest.documents.names import visible_name
from ingest.documents.words import DASH, format_count, format_duration, format_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal

    from ingest.documents.pages import Page
    from ingest.documents.series import Point

_STEPS_S: Final = {"minute": 60, "5 minutes": 300, "15 minutes": 900, "hour": 3600}
# A line of more points than this would only be drawn slower; the read functions stay well below it.
_MOST_BUCKETS: Final = 2000
BUCKET_UNITS: Final = {"5 minutes": "5 min", "15 minutes": "15 min"}


@dataclass(frozen=True, slots=True)
class Timeline:
    """A chart's data.

    Attributes:
        frame: One row per bucket and series: `at`, `until` (wall clock, epoch ms), `series`, `value` (NaN for
            unknown), `text` (the value as people read it), `when` (the bucket in words), `calls` (in the point),
            `is_partial` (the period holds a part of the bucket only).
        series: The names of the series in drawing order.
        bucket: Length of a bucket, in words for an axis: "hour", "15 min".
        is_shared: Whether the series are figures of the same calls, and not of calls of their own.
        ghost: An earlier period to draw behind: `at`, `until`, `value`, `text`, bucket by bucket; None without.
    """

    frame: pd.DataFrame
    series: tuple[str, ...]
    bucket: str
    is_shared: bool = False
    ghost: pd.DataFrame | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a point: how to read it and how to write it. `empty` stands for a bucket without any call."""

    value: Callable[[Point], float | None]
    text: Callable[[Point], str]
    empty: float | None = 0.0


COST: Final = Measure(lambda p: None if p.cost is None else float(p.cost), lambda p: format_usd(p.cost))
REQUESTS: Final = Measure(lambda p: float(p.requests), lambda p: format_count(p.requests))
TOKENS: Final = Measure(
    lambda p: float(p.total_tokens or p.prompt_tokens + p.completion_tokens),
    lambda p: format_count(p.total_tokens or p.prompt_tokens + p.completion_tokens),
)


def count_of(read: Callable[[Point], int]) -> Measure:
    """Return the measure of a count."""
    return Measure(lambda p: float(read(p)), lambda p: format_count(read(p)))


def duration_of(read: Callable[[Point], float | None]) -> Measure:
    """Return the measure of a duration in milliseconds; an empty bucket has none, so a line breaks there."""
    return Measure(read, lambda p: format_duration(read(p)), empty=None)


def bucket_starts(page: Page, points: Sequence[Point]) -> list[datetime]:
    """List the start of every bucket of the page's window, also of those without a call, in order, aware UTC."""
    known = {point.bucket_start.astimezone(UTC) for point in points}
    if page.bucket in _STEPS_S:
        starts = _even_starts(page, min(known, default=page.from_time), _STEPS_S[page.bucket])
    else:
        starts = _calendar_starts(page)
    return sorted(known.union(starts))


def measures_over_time(page: Page, points: Sequence[Point], measures: Mapping[str, Measure]) -> Timeline:
    """Draw several measures of ungrouped points, one series each."""
    by_start = {point.bucket_start.astimezone(UTC): point for point in points}
    rows = []
    for start, until in _spans(page, points):
        point = by_start.get(start)
        for name, measure in measures.items():
            rows.append(_cell(page, start, until, name, measure, point))
    return Timeline(_frame(rows), tuple(measures), _bucket_name(page), is_shared=True)


def courses(page: Page, points: Sequence[Point], measures: Mapping[str, Measure]) -> dict[str, tuple[float, ...]]:
    """Return the values of several measures over time, of whole buckets with a value, for lines without axes."""
    by_start = {point.bucket_start.astimezone(UTC): point for point in points}
    whole = [
        by_start.get(start)
        for start, until in _spans(page, points)
        if page.from_time <= start and until <= min(page.to_time, page.generated_at)
    ]
    return {
        name: tuple(value for point in whole if (value := _value(measure, point)) is not None)
        for name, measure in measures.items()
    }


def groups_over_time(page: Page, points: Sequence[Point], measure: Measure) -> Timeline:
    """Draw one measure of grouped points, a series per key: the largest first, what did not fit last."""
    by_cell = {(point.bucket_start.astimezone(UTC), _name(point)): point for point in points}
    sums: defaultdict[str, float] = defaultdict(float)
    for (_, name), point in by_cell.items():
        sums[name] += measure.value(point) or 0.0
    names = sorted(sums, key=lambda name: (name == OTHER, -sums[name], name))
    rows = [
        _cell(page, start, until, name, measure, by_cell.get((start, name)))
        for start, until in _spans(page, points)
        for name in names
    ]
    return Timeline(_frame(rows), tuple(names), _bucket_name(page))


def with_ghost(timeline: Timeline, earlier: Page, points: Sequence[Point], measure: Measure) -> Timeline:
    """Return the same time line with an earlier period behind it, its first bucket behind the first one."""
    whole = measures_over_time(earlier, summed(points), {"": measure}).frame
    places = timeline.frame[["at", "until"]].drop_duplicates().reset_index(drop=True)
    ghost = places.join(whole[["value", "text", "when"]], how="inner")
    return replace(timeline, ghost=ghost[ghost["value"].notna()].reset_index(drop=True))


def summed(points: Sequence[Point]) -> list[Point]:
    """Sum the points of each bucket over their keys; the cost of a bucket without any price is unknown."""
    sums: dict[datetime, Point] = {}
    for point in points:
        before = sums.get(point.bucket_start)
        if before is None:
            sums[point.bucket_start] = point.model_copy(update={"key": None})
            continue
        costs = [one.cost for one in (before, point) if one.cost is not None]
        counts = {
            name: getattr(before, name) + getattr(point, name)
            for name in ("requests", "total_tokens", "prompt_tokens", "completion_tokens", "errors")
        }
        sums[point.bucket_start] = before.model_copy(update={**counts, "cost": sum(costs) if costs else None})
    return list(sums.values())


def totals_by_series(timeline: Timeline) -> dict[str, float]:
    """Sum a time line per series, unknown values left out."""
    sums = timeline.frame.groupby("series", observed=True)["value"].sum()
    return {name: float(sums.get(name, 0.0)) for name in timeline.series}


def costs_by_key(points: Sequence[Point]) -> dict[str, Decimal | None]:
    """Sum exact costs per key; None where no bucket of the key has a price."""
    sums: dict[str, Decimal | None] = {}
    for point in points:
        name = _name(point)
        before = sums.get(name)
        sums[name] = before if point.cost is None else point.cost + (before or 0)
    return sums


def _name(point: Point) -> str:
    return OTHER if point.key is None else visible_name(point.key) or DASH


def _bucket_name(page: Page) -> str:
    return BUCKET_UNITS.get(page.bucket, page.bucket)


def _cell(
    page: Page, start: datetime, until: datetime, name: str, measure: Measure, point: Point | None
) -> dict[str, object]:
    zone = ZoneInfo(page.timezone)
    return {
        "at": _wall_ms(start, zone),
        "until": _wall_ms(until, zone),
        "when": _in_words(start.astimezone(zone), page.bucket),
        "series": name,
        "calls": 0 if point is None else point.requests,
        "is_partial": start < page.from_time or until > page.to_time or start <= page.generated_at < until,
        "value": _value(measure, point),
        "text": (DASH if measure.empty is None else "0") if point is None else measure.text(point),
    }


def _value(measure: Measure, point: Point | None) -> float | None:
    return measure.empty if point is None else measure.value(point)


def _frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["at", "until", "when", "series", "calls", "is_partial", "value", "text"])
    return frame.astype({"at": "int64", "until": "int64", "calls": "int64", "is_partial": "bool", "value": "float64"})


def _spans(page: Page, points: Sequence[Point]) -> list[tuple[datetime, datetime]]:
    starts = bucket_starts(page, points)
    return list(zip(starts, [*starts[1:], _end_of_last(page, starts)], strict=True)) if starts else []


def _end_of_last(page: Page, starts: list[datetime]) -> datetime:
    if page.bucket in _STEPS_S:
        return starts[-1] + timedelta(seconds=_STEPS_S[page.bucket])
    zone = ZoneInfo(page.timezone)
    return _next_bucket(starts[-1].astimezone(zone), page.bucket).astimezone(UTC)


def _even_starts(page: Page, anchor: datetime, step_s: int) -> list[datetime]:
    back = -(-(anchor - page.from_time).total_seconds() // step_s)
    first = anchor - timedelta(seconds=back * step_s)
    count = int(-(-(page.to_time - first).total_seconds() // step_s))
    return [first + timedelta(seconds=step_s * index) for index in range(min(count, _MOST_BUCKETS))]


def _calendar_starts(page: Page) -> list[datetime]:
    zone = ZoneInfo(page.timezone)
    day = page.from_time.astimezone(zone).date()
    if page.bucket == "week":
        day -= timedelta(days=day.weekday())
    elif page.bucket == "month":
        day = day.replace(day=1)
    moment = datetime.combine(day, time(), tzinfo=zone)
    starts: list[datetime] = []
    while moment < page.to_time and len(starts) < _MOST_BUCKETS:
        starts.append(moment.astimezone(UTC))
        moment = _next_bucket(moment, page.bucket)
    return starts


def _next_bucket(local: datetime, bucket: str) -> datetime:
    if bucket == "month":
        return (local.replace(day=1) + timedelta(days=32)).replace(day=1)
    return local + timedelta(days=7 if bucket == "week" else 1)  # aware arithmetic in a zone is wall-clock arithmetic


def _wall_ms(moment: datetime, zone: ZoneInfo) -> int:
    return int(moment.astimezone(zone).replace(tzinfo=UTC).timestamp() * 1000)


def _in_words(local: datetime, bucket: str) -> str:
    if bucket in _STEPS_S:
        return f"{local:%a} {local.day} {local:%b}, {local:%H:%M}"
    if bucket == "month":
        return f"{local:%B %Y}"
    prefix = "Week of " if bucket == "week" else ""
    return f"{prefix}{local:%a} {local.day} {local:%b}"
