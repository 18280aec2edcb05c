"""What the raw rows say: the figures of the pages as plain SQL over single calls, written from their definitions.

Nothing here reads a rollup or calls a function of the product. A filter is a condition on a call `m`, see `_condition`;
one that the product learns is added there. A call is *sure* where it has a price of its own or its provider said what
it cost; the fallback price and calls without any are told apart from the sums.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.rows import dict_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE, QUARTER, HOUR = timedelta(minutes=1), timedelta(minutes=15), timedelta(hours=1)
BUCKETS: Final = {"minute": MINUTE, "5 minutes": 5 * MINUTE, "15 minutes": QUARTER}
# What is known of a call by quarters of an hour only, once it is counted.
BY_QUARTER: Final = ("user_id", "tenant_id", "tags", "metadata")
_NAMES: Final = {
    "provider": "m.provider",
    "model": "m.model",
    "feature": "coalesce(m.feature, '')",
    "environment": "m.environment",
    "operation": "m.operation",
    "status": "m.status",
    "user_id": "m.user_id",
    "tenant_id": "coalesce(m.tenant_id, '')",
    "error_type": "coalesce(m.error_type, '')",
    "session_id": "m.session_id",
}
_LEAST: Final = {
    "min_cost": "m.estimated_cost",
    "min_latency_ms": "m.latency_ms",
    "min_tokens": "(m.prompt_tokens + m.completion_tokens)",
}
_SUMS: Final = """
  count(*) as requests, coalesce(sum(m.prompt_tokens), 0) as prompt_tokens,
  coalesce(sum(m.completion_tokens), 0) as completion_tokens,
  coalesce(sum(m.prompt_tokens + m.completion_tokens), 0) as total_tokens,
  coalesce(sum(m.cached_tokens), 0) as cached_tokens, coalesce(sum(m.cache_write_tokens), 0) as cache_write_tokens,
  coalesce(sum(m.reasoning_tokens), 0) as reasoning_tokens,
  coalesce(sum(m.audio_input_tokens), 0) as audio_input_tokens,
  coalesce(sum(m.audio_output_tokens), 0) as audio_output_tokens,
  count(*) filter (where m.status = 'error') as errors, count(*) filter (where m.status = 'cancelled') as cancelled,
  count(*) filter (where m.is_sure) as sure_requests, sum(m.estimated_cost) filter (where m.is_sure) as cost
"""


def floor(moment: datetime, step: timedelta) -> datetime:
    """The last full step at or before a moment."""
    return EPOCH + (moment - EPOCH) // step * step


def ceil(moment: datetime, step: timedelta) -> datetime:
    """The first full step at or after a moment."""
    return EPOCH - (EPOCH - moment) // step * step


@dataclass(frozen=True)
class Question:
    """What is asked for: a range, a time zone, and filters as the read functions take them."""

    from_time: datetime
    to_time: datetime
    timezone: str = "UTC"
    filters: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def step(self) -> timedelta:
        """To what the beginning and the end of the range are moved outward."""
        return QUARTER if any(self.filters.get(name) for name in BY_QUARTER) else MINUTE

    def outward(self, step: timedelta | None = None) -> Question:
        """The same question for the range that its figures are of."""
        step = step or self.step
        return replace(self, from_time=floor(self.from_time, step), to_time=ceil(self.to_time, step))

    def before(self) -> Question:
        """The same question for the range of equal length before."""
        return replace(self, from_time=self.from_time - (self.to_time - self.from_time), to_time=self.from_time)

    def document(self, **more: JsonValue) -> dict[str, JsonValue]:
        """The filters of a read function."""
        return {**self.filters, "timezone": self.timezone, **more}

    def bucket(self) -> str:
        """The bucket that is asked for, or suits the length of the range."""
        span = self.to_time - self.from_time
        if chosen := self.filters.get("bucket"):
            return str(chosen)
        for bucket, longest in (("minute", 3), ("5 minutes", 15), ("15 minutes", 36), ("hour", 200), ("day", 4800)):
            if span <= longest * HOUR:
                return "15 minutes" if self.step == QUARTER and bucket in BUCKETS else bucket
        return "week"


def dimension(name: str) -> str:
    """The value of a dimension of a call, an empty text where it has none."""
    if name.startswith("tags."):
        return f"coalesce(m.tags ->> '{name.removeprefix('tags.')}', '')"
    return _NAMES[name]


def bucket_of(bucket: str) -> str:
    """When the bucket of a call begins: a moment below a day, from a day up a date of the time zone."""
    if bucket in BUCKETS:
        seconds = round(BUCKETS[bucket].total_seconds())
        return f"to_timestamp(floor(extract(epoch from m.created_at) / {seconds}) * {seconds})"
    local = "(m.created_at at time zone %(timezone)s)"
    if bucket == "hour":
        return f"m.created_at - ({local} - date_trunc('hour', {local}))"
    return f"date_trunc('{bucket}', {local})::date"


class RawTruth:
    """Answers from the raw rows.

    Attributes:
        connection: As the superuser.
    """

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True, row_factory=dict_row)

    def close(self) -> None:
        self.connection.close()

    def totals(self, asked: Question) -> dict[str, Any]:
        """The sums of a range; a cost of None is unknown, one without calls is zero."""
        (row,) = self._ask(
            f"""
            select {_SUMS},
              coalesce(sum(m.estimated_cost) filter (where m.cost_source = 'fallback'), 0) as fallback_cost,
              coalesce(sum(m.estimated_cost) filter (where m.cost_source = 'provider'), 0) as provider_reported_cost,
              count(*) filter (where m.cost_source = 'unpriced') as unpriced_requests,
              count(*) filter (where m.cost_source = 'fallback') as fallback_requests,
              count(*) filter (where m.usage_source <> 'reported') as estimated_requests,
              count(distinct m.user_id) as users
            from calls as m
            """,
            asked,
        )
        if not row["requests"]:
            row["cost"] = 0
        (whole,) = self._ask(
            """
            select coalesce(sum(g.cost), 0) as wholly_priced_cost, coalesce(sum(g.tokens), 0) as wholly_priced_tokens
            from (
              select sum(m.estimated_cost) as cost, sum(m.prompt_tokens + m.completion_tokens) as tokens
              from calls as m
              group by m.provider, m.model, coalesce(m.feature, ''), m.environment, m.operation, m.status,
                coalesce(m.error_type, '')
              having bool_and(m.is_sure)
            ) as g
            """,
            asked,
        )
        return row | whole

    def grouped(self, asked: Question, by: str) -> dict[str, dict[str, Any]]:
        """The sums by the values of a dimension."""
        rows = self._ask(f"select {dimension(by)} as key, {_SUMS} from calls as m group by 1", asked)
        return {row["key"]: row for row in rows}

    def series(
        self, asked: Question, bucket: str, by: str | None = None
    ) -> dict[tuple[Any, str | None], dict[str, Any]]:
        """The sums by bucket and, where a dimension is given, by its values."""
        key = dimension(by) if by else "null::text"
        rows = self._ask(
            f"select {bucket_of(bucket)} as bucket, {key} as key, {_SUMS} from calls as m group by 1, 2", asked
        )
        return {(row["bucket"], row["key"]): row for row in rows}

    def percentiles(self, asked: Question, figure: str, by: str = "''") -> dict[Any, dict[str, Any]]:
        """Count, p50, p90 and p99 of a figure of the calls, exactly, by an expression."""
        rows = self._ask(
            f"""
            select {by} as key, count(m.{figure}) as count,
              percentile_cont(0.5) within group (order by m.{figure}) as p50,
              percentile_cont(0.9) within group (order by m.{figure}) as p90,
              percentile_cont(0.99) within group (order by m.{figure}) as p99
            from calls as m
            group by 1
            """,
            asked,
        )
        return {row["key"]: row for row in rows}

    def errors_by_type(self, asked: Question) -> dict[str, int]:
        """Failed calls by the type of their error."""
        rows = self._ask(
            "select coalesce(nullif(m.error_type, ''), 'unknown') as key, count(*) as requests from calls as m"
            " where m.status = 'error' group by 1",
            asked,
        )
        return {row["key"]: row["requests"] for row in rows}

    def hours(self, asked: Question) -> dict[tuple[int, int], dict[str, Any]]:
        """The sums by weekday (1 is Monday) and hour of the time zone."""
        local = "(m.created_at at time zone %(timezone)s)"
        rows = self._ask(
            f"select extract(isodow from {local})::integer as weekday, extract(hour from {local})::integer as hour,"
            f" {_SUMS} from calls as m group by 1, 2",
            asked,
        )
        return {(row["weekday"], row["hour"]): row for row in rows}

    def token_kinds(self, asked: Question) -> dict[tuple[str, str], dict[str, Any]]:
        """Tokens and cost by provider and model, of the combinations of dimensions in which any call is sure."""
        rows = self._ask(
            f"""
            select m.provider, m.model, {_SUMS}
            from (
              select m.*, bool_or(m.is_sure) over (
                partition by m.provider, m.model, coalesce(m.feature, ''), m.environment, m.operation, m.status,
                  coalesce(m.error_type, '')
              ) as is_any_sure
              from calls as m
            ) as m
            where m.is_any_sure
            group by 1, 2
            """,
            asked,
        )
        return {(row["provider"], row["model"]): row for row in rows}

    def drivers(self, asked: Question) -> dict[tuple[str, str, str], dict[str, Any]]:
        """The sums by provider, model and feature."""
        rows = self._ask(
            f"select m.provider, m.model, coalesce(m.feature, '') as feature, {_SUMS} from calls as m group by 1, 2, 3",
            asked,
        )
        return {(row["provider"], row["model"], row["feature"]): row for row in rows}

    def calls(self, asked: Question, order: str = "newest") -> list[dict[str, Any]]:
        """The single calls of exactly the range, in the order of the page."""
        figure = {
            "newest": "m.created_at",
            "cost": "m.estimated_cost",
            "latency": "m.latency_ms",
            "tokens": "m.prompt_tokens + m.completion_tokens",
        }[order]
        return self._ask(
            f"select m.* from calls as m where {figure} is not null order by {figure} desc, m.event_id desc", asked
        )

    def routes(self, asked: Question, by: str = "''") -> dict[Any, dict[str, Any]]:
        """HTTP requests by an expression on `p`, each as often as its weight says; a percentile lies between two."""
        rows = self._run(
            f"""
            with requests as (
              select {by} as key, p.*, p.status_code >= 500 or coalesce(p.error_type, '') <> '' as is_error
              from observability_internal.performance_metrics as p
              where p.created_at >= %(from_time)s and p.created_at < %(to_time)s
                and (%(environments)s::text[] is null or p.environment = any (%(environments)s))
            ),
            counted as (
              select r.key, r.latency_ms, sum(r.sample_weight) over (partition by r.key) as whole,
                sum(r.sample_weight) over (partition by r.key order by r.latency_ms, r.event_id) as place
              from requests as r
            ),
            percentiles as (
              select c.key, {", ".join(map(_between, (50, 90, 99)))} from counted as c group by c.key
            )
            select r.key, sum(r.sample_weight) as requests, p.*,
              coalesce(sum(r.sample_weight) filter (where r.is_error), 0) as errors
            from requests as r
            inner join percentiles as p using (key)
            group by r.key, p.*, p.key, {", ".join(f"p.p{q}_low, p.p{q}_high" for q in (50, 90, 99))}
            """,
            {**_parameters(asked), "environments": asked.filters.get("environment") or None},
        )
        return {row["key"]: row for row in rows}

    def _ask(self, query: str, asked: Question) -> list[dict[str, Any]]:
        where = " and ".join(
            ["m.created_at >= %(from_time)s", "m.created_at < %(to_time)s", *map(_condition, _named(asked))]
        )
        return self._run(
            f"""
            with calls as (
              select m.*, m.cost_source in ('priced', 'provider') as is_sure
              from observability_internal.ai_usage_metrics as m
              where {where}
            )
            {query}
            """,
            _parameters(asked),
        )

    def _run(self, query: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        return self.connection.execute(query, parameters).fetchall()


def _between(percent: int) -> str:
    """The durations two requests below and two above a percentile: between them it lies, however it is interpolated."""
    place = f"c.whole * {percent / 100}"
    return (
        f"min(c.latency_ms) filter (where c.place >= {place} - 2) as p{percent}_low,"
        f" min(c.latency_ms) filter (where c.place >= least({place} + 2, c.whole - 0.01)) as p{percent}_high"
    )


def _named(asked: Question) -> list[str]:
    """The filters that leave anything out, each tag and pair of metadata by itself."""
    tags, metadata = asked.filters.get("tags"), asked.filters.get("metadata")
    assert tags is None or isinstance(tags, dict)
    assert metadata is None or isinstance(metadata, dict)
    others = ("tags", "metadata", "bucket")
    own = [name for name, values in asked.filters.items() if name not in others and values not in ([], None)]
    return [*own, *(f"tags.{name}" for name in tags or ()), *(f"metadata.{name}" for name in metadata or ())]


def _condition(name: str) -> str:
    if name in _LEAST:
        return f"{_LEAST[name]} >= %({name})s::numeric"
    if name.startswith("metadata."):
        return f"m.metadata -> '{name.removeprefix('metadata.')}' = %({name})s::jsonb"
    return f"{dimension(name)} = any (%({name})s::text[])"


def _parameters(asked: Question) -> dict[str, Any]:
    filters: dict[str, Any] = dict(asked.filters)
    tags, metadata = filters.pop("tags", None) or {}, filters.pop("metadata", None) or {}
    chosen = filters | {f"tags.{name}": values for name, values in tags.items()}
    lists = {
        name: values if isinstance(values, list) or name in _LEAST else [values] for name, values in chosen.items()
    }
    return {
        "from_time": asked.from_time,
        "to_time": asked.to_time,
        "timezone": asked.timezone,
        **lists,
        **{f"metadata.{name}": json.dumps(value) for name, value in metadata.items()},
    }
