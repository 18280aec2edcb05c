"""Milliseconds of the pages' read functions over ten million calls of 90 days, beside raw rows and DuckDB over Parquet.

The calls arrive as live ones do: by time, rolled up and condensed as they come, with autovacuum at work, so that the
storage reported includes what live ingest leaves behind. Days pass in seconds here: what autovacuum would have done
within a day to the tables that lose rows is done once a day. `TREERING_BENCH_CALLS` makes it smaller;
`TREERING_BENCH_HOME` names a folder that keeps the filled database, or has one that is read as it is. The peers answer
one question, that of the Costs page (totals of the period and of the one before, a line by model, rows by model,
feature, provider, environment and user), and that of the Performance page's lines (p50, p90 and p99 of latency and time
to first token by bucket, by model and by feature), each as one hand-written statement.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from tests.bench import _calls
from tests.bench._rows import row
from tests.bench._servers import embedded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOME = os.environ.get("TREERING_BENCH_HOME")
CALLS = int(os.environ.get("TREERING_BENCH_CALLS", "10_000_000"))
REQUESTS_PER_CALL = 0.1
INCREMENT = 10_000
TRIES = 20
SEED = 20261123

SPANS = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
    "90 days": timedelta(days=90),
}
PAGES = ("get_overview", "get_usage", "get_costs", "get_performance")
# What a day's rows leave behind when they are packed or counted.
EMPTIED = ("usage_by_minute", "pending_batches", "stale_rollups")
RARE = {
    "one model and one feature": '{"model": "gpt-4o", "feature": "chat"}',
    "status error": '{"status": "error"}',
    "the user with most calls": '{"user_id": "BUSIEST"}',
    "Asia/Kathmandu": '{"timezone": "Asia/Kathmandu"}',
    "by user": '{"group_by": "user_id"}',
    "one tenant": '{"tenant_id": "customer_7"}',
    "one plan": '{"tags": {"plan": "pro"}}',
}

_COSTS = """
with calls as (
  select created_at >= {start} as is_current, created_at, user_id, model, feature, provider, environment, status,
    prompt_tokens, completion_tokens, estimated_cost
  from {table}
  where created_at >= {previous} and created_at < {end}
)
select 'line', date_trunc('{unit}', created_at)::text, model, count(*), sum(prompt_tokens + completion_tokens),
  sum(estimated_cost)
from calls where is_current group by 2, 3
union all
select 'totals', is_current::text, null, count(*), sum(prompt_tokens + completion_tokens), sum(estimated_cost)
from calls group by 2
union all
select 'users', user_id, null, count(*), sum(prompt_tokens + completion_tokens), sum(estimated_cost)
from calls group by 2
union all
select 'rows', model, feature || provider || environment, count(*), sum(prompt_tokens + completion_tokens),
  sum(estimated_cost)
from calls group by 2, 3
"""

_PERFORMANCE = """
with calls as (
  select date_trunc('{unit}', created_at) as bucket, model, feature, latency_ms, time_to_first_token_ms
  from {table}
  where created_at >= {start} and created_at < {end}
)
select bucket::text, model, feature, count(*),
  percentile_cont(0.5) within group (order by latency_ms), percentile_cont(0.9) within group (order by latency_ms),
  percentile_cont(0.99) within group (order by latency_ms),
  percentile_cont(0.5) within group (order by time_to_first_token_ms),
  percentile_cont(0.9) within group (order by time_to_first_token_ms),
  percentile_cont(0.99) within group (order by time_to_first_token_ms)
from calls group by grouping sets ((bucket), (model), (feature), ())
"""

_COLUMNS = (
    "created_at, user_id, model, feature, provider, environment, status, prompt_tokens, completion_tokens,"
    " estimated_cost::double precision as estimated_cost, latency_ms, time_to_first_token_ms"
)


def run() -> Iterator[dict[str, object]]:
    """Yield storage, the p95 of each page and span, and the peers' times for the same questions."""
    with (
        embedded(Path(HOME) if HOME else None) as database,
        psycopg.connect(database.superuser_url, autocommit=True) as connection,
        psycopg.connect(database.superuser_url, autocommit=True) as analyst,
    ):
        if not (newest := _newest(connection)):
            ingest(connection, datetime.now(UTC), CALLS)
            newest = _newest(connection)
        assert newest is not None
        # Past the end of the newest minute, whenever the database was filled.
        end = newest + timedelta(minutes=1)
        yield from _storage(connection)
        _sign_in(connection, analyst)
        ours: dict[tuple[str, str], float] = {}
        for page in PAGES:
            for label, span in SPANS.items():
                ours[page, label] = _p95(analyst, page, span, end, "{}")
                yield row(f"{page}, {label}, p95", ours[page, label], "ms")
        busiest = _busiest_user(connection)
        for label, template in RARE.items():
            filters = template.replace("BUSIEST", busiest)
            for page in PAGES:
                yield row(f"{page}, 90 days, {label}, p95", _p95(analyst, page, SPANS["90 days"], end, filters), "ms")
        yield from _peers(connection, database.superuser_url, end, ours)


def _newest(connection: psycopg.Connection) -> datetime | None:
    found = connection.execute("select max(created_at) from observability_internal.ai_usage_metrics").fetchone()
    assert found is not None
    return found[0] if isinstance(found[0], datetime) else None


def ingest(connection: psycopg.Connection, end: datetime, calls: int) -> None:
    """Fill 90 days by time, in increments, condensing as the worker does."""
    _calls.make_months(connection)
    for day in _calls.days(end):
        span = min(timedelta(days=1), end - day)
        share = calls / _calls.DAYS * (span / timedelta(days=1))
        _calls.store(connection, round(share), day, span)
        _calls.store_requests(connection, round(share * REQUESTS_PER_CALL), day, span)
        _calls.roll_up(connection, INCREMENT)
        _calls.condense(connection)
        for table in EMPTIED:
            connection.execute(f"vacuum observability_internal.{table}".encode())
    connection.execute("select observability.refresh_aggregates()")
    connection.execute("analyze")


def _sign_in(connection: psycopg.Connection, analyst: psycopg.Connection) -> None:
    """Let a connection ask as the dashboard does for an analyst, under row level security."""
    connection.execute(
        "insert into observability_internal.members (user_id, role) values ('ana', 'analyst') on conflict do nothing"
    )
    analyst.execute("set role authenticated")
    analyst.execute("""set request.jwt.claims = '{"sub": "ana", "role": "authenticated"}'""")


def _storage(connection: psycopg.Connection) -> Iterator[dict[str, object]]:
    found = connection.execute(
        "select sum(pg_total_relation_size(c.oid)) filter (where c.relname ~ '^(ai_usage|performance)_metrics'),"
        " sum(pg_total_relation_size(c.oid)) filter (where c.relname !~ '^(ai_usage|performance)_metrics'),"
        " (select count(*) from observability_internal.ai_usage_metrics)"
        " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname in ('observability', 'observability_internal') and c.relkind in ('r', 'm')"
    ).fetchone()
    assert found is not None
    raw, rollups, calls = (float(value) for value in found)
    yield row("raw calls present", calls, "calls")
    yield row("raw, with indexes", raw / calls, "bytes a call")
    yield row("rollups and views, with indexes", rollups / calls, "bytes a call")
    yield row("rollups and views to raw", 100 * rollups / raw, "%")


def _busiest_user(connection: psycopg.Connection) -> str:
    found = connection.execute(
        "select mode() within group (order by user_id) from observability_internal.ai_usage_metrics"
    ).fetchone()
    assert found is not None
    return str(found[0])


def _p95(connection: psycopg.Connection, page: str, span: timedelta, end: datetime, filters: str) -> float:
    source = random.Random(SEED)
    times = []
    for _ in range(TRIES):
        to_time = end - timedelta(seconds=source.randrange(3600))
        query = f"select observability.{page}(%s, %s, %s::jsonb)"
        times.append(_milliseconds(connection.execute, query.encode(), [to_time - span, to_time, filters]))
    return sorted(times)[round(0.95 * TRIES) - 1]


def _milliseconds(act: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    act(*arguments)
    return (time.perf_counter() - started) * 1000


def _peers(
    connection: psycopg.Connection, url: str, end: datetime, ours: dict[tuple[str, str], float]
) -> Iterator[dict[str, object]]:
    import duckdb

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "calls.parquet"
        _to_parquet(url, file)
        store: Any = duckdb.connect()
        store.execute("set threads to 2; set timezone = 'UTC'")
        for page, question in (("get_costs", _COSTS), ("get_performance", _PERFORMANCE)):
            for label, span in SPANS.items():
                mine = ours[page, label]
                for peer, table, execute in (
                    (
                        "raw rows",
                        "observability_internal.ai_usage_metrics",
                        lambda text: connection.execute(text.encode()).fetchall(),
                    ),
                    ("DuckDB over Parquet", f"'{file}'", lambda text: store.execute(text).fetchall()),
                ):
                    text = _question(question, table, span, end)
                    yield row(f"{page}, {label}", mine, "ms", peer=peer, peer_value=_milliseconds(execute, text))
        store.close()


def _question(question: str, table: str, span: timedelta, end: datetime) -> str:
    unit = "minute" if span <= timedelta(hours=3) else "hour" if span <= timedelta(days=8) else "day"
    moments = {"start": end - span, "end": end, "previous": end - 2 * span}
    return question.format(
        table=table, unit=unit, **{name: f"timestamptz '{at.isoformat()}'" for name, at in moments.items()}
    )


def _to_parquet(url: str, file: Path) -> None:
    """Write all calls to one file, sorted by time, as an export would."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with psycopg.connect(url) as connection, connection.cursor("calls") as cursor:
        cursor.itersize = 100_000
        cursor.execute(f"select {_COLUMNS} from observability_internal.ai_usage_metrics order by created_at".encode())
        names = [column.name for column in cursor.description or ()]
        writer: pq.ParquetWriter | None = None
        while rows := cursor.fetchmany(100_000):
            table = pa.table(dict(zip(names, zip(*rows, strict=True), strict=True)))
            writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
            writer.write_table(table)
        assert writer is not None
        writer.close()
