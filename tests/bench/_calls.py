"""Calls of a product with many users, made in SQL: what the benchmarks of the database read and write.

Users come in sessions of one to sixteen calls some seconds apart, in one feature and mostly with one model; a few users
have most of the sessions, days have their busy hours and one call in fifty fails. That makes 180 combinations of model,
feature, environment, status and type of error. Each user belongs to a tenant and works for another one in a tenth of
the sessions; the tag plan is the tenant's, the tag team the session's.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

USERS = 5_000
TENANTS = 5_000
CALLS_PER_SESSION = 8.5  # the mean of 1 to 16
DAYS = 90

# Parameters: start and seconds of the span, sessions, and how many rows share a batch, as a flusher would store them.
_FILL = """
with drawn as materialized (
  select
    s as session, power(random(), 2) as rank, random() as at, random() as feature, random() as model,
    random() as environment, random() as other, floor(random() * 4)::integer as team,
    1 + floor(random() * 16)::integer as calls
  from generate_series(1, %(sessions)s) as s
),
calls as materialized (
  select
    d.*, c as call, random() as luck, random() as fate,
    %(start)s::timestamptz + %(seconds)s * interval '1 second' * d.at
    -- Busy hours: half of what would fall into the night moves to the afternoon.
    + case when %(seconds)s >= 86400 and d.session %% 2 = 0
        and extract(hour from %(start)s::timestamptz + %(seconds)s * interval '1 second' * d.at) < 6
      then interval '12 hours' else interval '0' end
    + (c - 1) * interval '1 second' * least(20 + 40 * random(), %(seconds)s / 32.0) as created_at
  from drawn as d cross join lateral generate_series(1, d.calls) as c
),
ordered as (
  select
    c.*, row_number() over (order by c.created_at) / %(batch)s as part,
    floor(%(tenants)s * case when c.other < 0.1 then c.other * 10 else c.rank end)::integer as tenant
  from calls as c
),
batches as materialized (
  select p.part, nextval('observability_internal.batch_ids') as batch_id
  from (select distinct o.part from ordered as o order by o.part) as p
),
stored as (
  insert into observability_internal.ai_usage_metrics (
    event_id, created_at, batch_id, user_id, tenant_id, tags, session_id, feature, environment, model, status,
    error_type, streamed, finish_reason, prompt_tokens, completion_tokens, cached_tokens, estimated_cost, cost_source,
    price_id, latency_ms,
    time_to_first_token_ms, service_tier, prompt_hash, prefix_hash, response_id, metadata
  )
  select
    gen_random_uuid(), o.created_at, b.batch_id,
    -- As long as Clerk's ids and uuids are.
    'user_' || substr(md5(floor(%(users)s * o.rank)::text) || md5('user'), 1, 27),
    'customer_' || o.tenant,
    jsonb_build_object('plan', (array['free', 'pro', 'max'])[1 + o.tenant %% 3], 'team', 'team_' || o.team),
    md5(%(start)s || '/' || o.session)::uuid::text,
    (array['chat', 'search', 'summary', 'title', 'tutor', 'moderation'])[1 + floor(o.feature * 6)::integer],
    case when o.environment < 0.9 then 'production' else 'staging' end,
    (array['gpt-4o', 'gpt-4o-mini', 'o4-mini', 'gpt-5.5', 'gpt-5.5-mini'])
      [1 + floor((case when o.luck < 0.9 then o.model else o.luck * 10 - 9 end) * 5)::integer],
    case when o.fate < 0.02 then 'error' else 'ok' end,
    case when o.fate < 0.01 then 'rate_limit' when o.fate < 0.02 then 'timeout' end,
    true, 'stop', (200 + 3000 * o.luck)::integer, (20 + 800 * random())::integer, (100 * o.luck)::integer,
    round((0.0005 + 0.01 * o.luck)::numeric, 8), 'priced', 'openai/gpt-4o@2024-10-02', exp(6 + random() * 3),
    exp(5 + random() * 2), 'default', md5(o.luck::text), md5(o.feature::text), 'chatcmpl-' || md5(o.fate::text),
    '{"plan": "pro"}'
  from ordered as o
  inner join batches as b using (part)
  order by o.created_at
  returning batch_id, created_at
)
insert into observability_internal.pending_batches (batch_id, kind, row_count, min_created_at, max_created_at)
select s.batch_id, 'usage', count(*), min(s.created_at), max(s.created_at) from stored as s group by s.batch_id
"""

_REQUESTS = """
with stored as (
  insert into observability_internal.performance_metrics (
    event_id, created_at, batch_id, environment, route, method, status_code, latency_ms, time_to_first_byte_ms
  )
  select
    gen_random_uuid(), %(start)s::timestamptz + %(seconds)s * interval '1 second' * random(), b.batch_id, 'production',
    '/api/' || (n %% 12), 'POST', case when n %% 40 = 0 then 500 else 200 end,
    exp(4 + random() * 3), exp(3 + random() * 2)
  from generate_series(1, %(count)s) as n
  cross join (select nextval('observability_internal.batch_ids') as batch_id) as b
  returning batch_id, created_at
)
insert into observability_internal.pending_batches (batch_id, kind, row_count, min_created_at, max_created_at)
select s.batch_id, 'performance', count(*), min(s.created_at), max(s.created_at) from stored as s group by s.batch_id
"""


def make_months(connection: psycopg.Connection) -> None:
    """Make the partitions that the last 90 days need."""
    for table in ("ai_usage_metrics", "performance_metrics"):
        connection.execute(
            "select observability_internal.ensure_partition(%s, (now() - n * interval '1 month')::date)"
            " from generate_series(-1, 4) as n",
            [table],
        )


def store(
    connection: psycopg.Connection, count: int, start: datetime, span: timedelta, *, batch_rows: int = 1_000
) -> None:
    """Store about `count` calls that begin in a span, in batches that wait for their roll-up."""
    connection.execute(
        _FILL.encode(),
        {
            "sessions": max(round(count / CALLS_PER_SESSION), 1),
            "start": start,
            "seconds": span.total_seconds(),
            "batch": batch_rows,
            "users": USERS,
            "tenants": TENANTS,
        },
    )


def store_requests(connection: psycopg.Connection, count: int, start: datetime, span: timedelta) -> None:
    """Store HTTP requests in a batch that waits for its roll-up."""
    connection.execute(_REQUESTS.encode(), {"count": count, "start": start, "seconds": span.total_seconds()})


def days(end: datetime, number: int = DAYS) -> Iterator[datetime]:
    """The starts of the last whole UTC days before `end` and of its own day, oldest first."""
    today = end.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (today - timedelta(days=back) for back in range(number - 1, -1, -1))


def roll_up(connection: psycopg.Connection, max_rows: int = 50_000) -> float:
    """Roll up until nothing waits; seconds."""
    started = time.perf_counter()
    while True:
        found = connection.execute("select observability.roll_up(%s) ->> 'pending_batches'", [max_rows]).fetchone()
        assert found is not None
        if found[0] == "0":
            return time.perf_counter() - started


def condense(connection: psycopg.Connection) -> float:
    """Condense until nothing waits; seconds."""
    started = time.perf_counter()
    while True:
        found = connection.execute("select observability.condense_rollups(48) ->> 'is_done'").fetchone()
        assert found is not None
        if found[0] == "true":
            return time.perf_counter() - started
