"""Seconds to roll up a backlog of a million calls, and one increment of 10,000 with few and many calls present.

The calls of the backlog lie within 90 days; those of an increment within the last minute, as live ones do.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg

from tests.bench._rows import row
from tests.bench._servers import embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

BACKLOG = 1_000_000
INCREMENT = 10_000
TRIES = 5

FILL = """
with batch as (select nextval('observability_internal.batch_ids') as batch_id),
stored as (
  insert into observability.ai_usage_metrics (
    event_id, created_at, batch_id, user_id, feature, model, status, prompt_tokens, completion_tokens, estimated_cost,
    cost_source, latency_ms, time_to_first_token_ms
  )
  select
    gen_random_uuid(), now() - random() * %(span)s::interval, batch.batch_id, 'user_' || (random() * 500)::integer,
    (array['chat', 'search', 'tutor', 'summary'])[1 + n %% 4], (array['gpt-4o', 'gpt-4o-mini', 'o4-mini'])[1 + n %% 3],
    case when n %% 50 = 0 then 'error' else 'ok' end, 400 + n %% 1000, 50 + n %% 300, 0.00125, 'priced',
    exp(6 + random() * 3), exp(5 + random() * 2)
  from generate_series(1, %(count)s) as n cross join batch
  returning created_at
)
insert into observability_internal.pending_batches (batch_id, kind, row_count, min_created_at, max_created_at)
select batch.batch_id, 'usage', count(*), min(stored.created_at), max(stored.created_at)
from stored cross join batch
group by batch.batch_id
"""


def run() -> Iterator[dict[str, object]]:
    """Yield the seconds of the backlog and the milliseconds of increments."""
    with embedded() as database, psycopg.connect(database.superuser_url, autocommit=True) as connection:
        connection.execute(
            "select observability_internal.ensure_partition('ai_usage_metrics', (now() - n * interval '1 month')::date)"
            " from generate_series(-1, 4) as n"
        )
        fill(connection, 100_000, "90 days")
        roll_up(connection)
        yield row("increment of 10,000 calls, 100,000 present", increment_ms(connection), "ms")
        present = 100_000 + TRIES * INCREMENT
        for _ in range((BACKLOG - present) // 50_000):
            fill(connection, 50_000, "90 days")
        seconds = roll_up(connection)
        yield row(f"roll up a backlog of {BACKLOG - present:,} calls", seconds, "s")
        yield row("increment of 10,000 calls, 1,000,000 present", increment_ms(connection), "ms")


def fill(connection: psycopg.Connection, count: int, span: str) -> None:
    """Store calls that wait for their roll-up."""
    connection.execute(FILL.encode(), {"count": count, "span": span})


def roll_up(connection: psycopg.Connection) -> float:
    """Roll up until nothing waits; seconds."""
    started = time.perf_counter()
    while True:
        found = connection.execute("select observability.roll_up() ->> 'pending_batches'").fetchone()
        assert found is not None
        if found[0] == "0":
            return time.perf_counter() - started


def increment_ms(connection: psycopg.Connection) -> float:
    """The median of some increments, in milliseconds."""
    times = []
    for _ in range(TRIES):
        fill(connection, INCREMENT, "1 minute")
        times.append(roll_up(connection) * 1000)
    return sorted(times)[TRIES // 2]
