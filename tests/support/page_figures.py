"""Compares the documents of the pages with what the raw rows say; each function returns the differences."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from tests.support.raw_truth import BUCKETS, bucket_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.support.raw_truth import Question, RawTruth

COUNTS: Final = ("requests", "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "errors")
_TOTALS: Final = (
    *COUNTS,
    "cache_write_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "cancelled",
    "unpriced_requests",
    "fallback_requests",
    "estimated_requests",
    "wholly_priced_tokens",
)
_MONEY: Final = ("cost", "fallback_cost", "provider_reported_cost", "wholly_priced_cost")
# The histograms are within 1 %; what is below a microsecond counts as one.
_ERROR, _LEAST_MS = 0.0101, 0.002
_LINES: Final = 8  # of a chart; the others are one
_NAMED: Final = ("model", "feature", "provider", "environment", "operation", "status")


def money(value: object) -> Decimal | None:
    """An amount as the documents carry it: exact text, or None."""
    return None if value is None else Decimal(str(value))


def differ(where: str, shown: Mapping[str, Any], true: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """The figures that are not the same, each with both values."""
    found = []
    for name in names:
        left, right = shown[name], true[name]
        if (money(left), left is None) != (money(right), right is None):
            found.append(f"{where}.{name}: {left} is shown, {right} is true")
    return found


def check_totals(where: str, shown: Mapping[str, Any], truth: RawTruth, asked: Question) -> list[str]:
    """The totals of a range, with its percentiles."""
    true = truth.totals(asked)
    found = differ(where, shown, true, (*_TOTALS, *_MONEY))
    for document, figure in (("latency_ms", "latency_ms"), ("time_to_first_token_ms", "time_to_first_token_ms")):
        exact = truth.percentiles(asked, figure).get("", {"count": 0, "p50": None, "p90": None, "p99": None})
        found += check_percentiles(f"{where}.{document}", shown[document], exact)
        if shown[document]["count"] != exact["count"]:
            found.append(f"{where}.{document}.count: {shown[document]['count']} is shown, {exact['count']} is true")
    return found


def check_percentiles(
    where: str, shown: Mapping[str, Any], exact: Mapping[str, Any] | None, prefix: str = "", suffix: str = ""
) -> list[str]:
    """Percentiles within the error of a histogram."""
    found = []
    for name in ("p50", "p90", "p99"):
        key = f"{prefix}{name}{suffix}"
        if key not in shown:
            continue
        left, right = shown[key], exact[name] if exact is not None else None
        is_right = left is right if left is None or right is None else abs(left - right) <= _ERROR * right + _LEAST_MS
        if not is_right:
            found.append(f"{where}.{key}: {left} is shown, {right} is true")
    return found


def check_rows(
    where: str,
    shown: list[dict[str, Any]],
    truth: RawTruth,
    asked: Question,
    by: str,
    limit: int,
    measure: str = "cost",
) -> list[str]:
    """A ranking: the largest keys by a measure with all their figures, and one row for the others."""
    now, before = truth.grouped(asked, by), truth.grouped(asked.before(), by)
    named = {row["key"]: row for row in shown if not row["is_other"]}
    others = [row for row in shown if row["is_other"]]
    found = []
    if len(named) != min(limit, len(now)) or not named.keys() <= now.keys():
        return [f"{where}: {sorted(named)} are shown, of {sorted(now)}"]
    for key, row in named.items():
        found += _check_row(f"{where}[{key}]", row, [now[key]], [before[key]] if key in before else [])
    hidden = now.keys() - named.keys()
    if bool(hidden) != bool(others):
        found.append(f"{where}: {len(hidden)} keys have no name, {len(others)} rows stand for them")
    elif hidden:
        found += _check_row(
            f"{where}[others]", others[0], [now[k] for k in hidden], [before[k] for k in hidden & before.keys()]
        )
        if others[0]["keys"] != len(hidden):
            found.append(f"{where}[others].keys: {others[0]['keys']} is shown, {len(hidden)} is true")
    ranks = [_rank(now[key], measure) for key in named]
    if ranks != sorted(ranks, reverse=True) or any(_rank(now[key], measure) > ranks[-1] for key in hidden):
        found.append(f"{where}: not the largest first: {list(named)}")
    return found


def _rank(row: Mapping[str, Any], measure: str) -> tuple[Decimal, int]:
    return Decimal(row[measure] or 0), row["requests"]


def _check_row(
    where: str, row: Mapping[str, Any], now: list[dict[str, Any]], before: list[dict[str, Any]]
) -> list[str]:
    true = _summed(now)
    true["unpriced_requests"] = true["requests"] - true["sure_requests"]
    true["previous_cost"] = _summed(before)["cost"]
    return differ(where, row, true, (*COUNTS, "unpriced_requests", "cost", "previous_cost"))


def _summed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = (*COUNTS, "reasoning_tokens", "sure_requests")
    costs = [row["cost"] for row in rows if row["cost"] is not None]
    return {name: sum(row[name] for row in rows) for name in names} | {
        "cost": sum(costs, Decimal(0)) if costs else None
    }


def check_series(
    where: str,
    document: Mapping[str, Any],
    truth: RawTruth,
    asked: Question,
    by: str | None,
    names: Iterable[str],
    limit: int = _LINES,
    measure: str = "cost",
) -> list[str]:
    """The points of a chart: every bucket and line, and the line of the others; of people at most the limit's."""
    bucket = document["bucket"]
    true = truth.series(asked, bucket, by)
    points = {(label(point["bucket_start"], bucket, asked), point.get("key")): point for point in document["series"]}
    if len(points) != len(document["series"]):
        return [f"{where}: two points have the same place"]
    lines = {key for _, key in points if key is not None}
    expected: dict[tuple[Any, str | None], list[dict[str, Any]]] = {}
    for (start, key), row in true.items():
        expected.setdefault((start, key if key in lines else None), []).append(row)
    found = [f"{where}: {place} is shown and has no call" for place in points.keys() - expected.keys()]
    found += [f"{where}: {place} has calls and is not shown" for place in expected.keys() - points.keys()]
    for place in points.keys() & expected.keys():
        found += differ(f"{where}{[str(part) for part in place]}", points[place], _summed(expected[place]), names)
    if by is not None:
        most = {_LINES} if by in _NAMED else {_LINES, min(_LINES, limit)}
        found += _check_lines(where, lines, true, most, measure)
    return found


def _check_lines(
    where: str, lines: set[str], true: Mapping[tuple[Any, str | None], dict[str, Any]], most: set[int], measure: str
) -> list[str]:
    sums: dict[str, tuple[Decimal, int]] = {}
    for (_, key), row in true.items():
        amount, requests = sums.get(str(key), (Decimal(0), 0))
        sums[str(key)] = (amount + (row[measure] or 0), requests + row["requests"])
    if len(lines) not in {min(one, len(sums)) for one in most}:
        return [f"{where}: {len(lines)} lines of {len(sums)} keys"]
    least = min((sums[key] for key in lines), default=None)
    hidden = [key for key in sums.keys() - lines if least is not None and sums[key] > least]
    return [f"{where}: {hidden} come to more than a line that is shown"] if hidden else []


def check_speed_series(
    where: str, document: Mapping[str, Any], truth: RawTruth, asked: Question, figures: Mapping[str, str]
) -> list[str]:
    """The percentiles of each bucket; `figures` are the columns by the beginnings of their names."""
    bucket = document["bucket"]
    found = []
    for prefix, column in figures.items():
        exact = truth.percentiles(asked, column, bucket_of(bucket))
        for point in document["series"]:
            place = label(point["bucket_start"], bucket, asked)
            one = exact.get(place)
            found += check_percentiles(f"{where}[{place}]", point, one, prefix, "_ms")
    return found


def check_routes(
    where: str, shown: Mapping[str, Any], true: Mapping[str, Any], prefix: str = "latency_", suffix: str = "_ms"
) -> list[str]:
    """Requests and errors to the whole one, percentiles between the requests that they lie between."""
    found = [
        f"{where}.{name}: {shown[name]} is shown, {true[name]} is true"
        for name in ("requests", "errors")
        if name in shown and abs(shown[name] - true[name]) > 0.5001
    ]
    for name in ("p50", "p90", "p99"):
        value, low, high = shown[f"{prefix}{name}{suffix}"], true[f"{name}_low"], true[f"{name}_high"]
        if not low * (1 - _ERROR) - _LEAST_MS <= value <= high * (1 + _ERROR) + _LEAST_MS:
            found.append(f"{where}.{name}: {value} is shown, from {low} to {high} is true")
    return found


def label(text: str, bucket: str, asked: Question) -> object:
    """The bucket of a point as `RawTruth` names it: a moment, from a day up a date of the time zone."""
    moment = datetime.fromisoformat(text)
    if bucket in BUCKETS or bucket == "hour":
        return moment
    return moment.astimezone(ZoneInfo(asked.timezone)).date()
