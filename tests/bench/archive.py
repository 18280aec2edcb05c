"""A million calls to verified Parquet: seconds, bytes a row, peak memory; the same through Supabase's API for fewer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import psycopg

from ingest.local.embedded import find_binaries
from tests.support.doors import Door, DoorName
from tests.support.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = 1_000_000
API_ROWS = 100_000

# Calls of 2,000 users over a month with all that a chat backend records, as live ingest leaves them.
_FILL = """
insert into observability_internal.ai_usage_metrics (
  event_id, created_at, received_at, batch_id, user_id, session_id, feature, model, status, streamed, finish_reason,
  prompt_tokens, completion_tokens, cached_tokens, estimated_cost, cost_source, price_id, latency_ms,
  time_to_first_token_ms, response_id, prompt_hash, metadata
)
select
  gen_random_uuid(), t.at, t.at + interval '2 seconds', -1, 'user_' || (random() * 2000)::integer,
  'sess_' || (i / 8), (array['chat', 'search', 'summary', 'title'])[1 + i % 4],
  (array['gpt-4o', 'gpt-4o-mini', 'gpt-5.5'])[1 + i % 3], case when i % 50 = 0 then 'error' else 'ok' end, true,
  'stop', t.prompt, t.completion, t.prompt / 2, t.prompt * 0.0000025 + t.completion * 0.00001, 'priced',
  'openai/gpt-4o@2024-10-02', exp(6 + random()), exp(5 + random()), 'chatcmpl-' || md5(i::text),
  substr(md5((i % 5000)::text), 1, 16), jsonb_build_object('plan', (array['free', 'pro'])[1 + i % 2], 'turn', i % 20)
from (
  select
    i, '2026-05-01 00:00:00+00'::timestamptz + i * interval '30 days' / %(rows)s as at,
    (200 + random() * 3000)::integer as prompt, (20 + random() * 800)::integer as completion
  from generate_series(0, %(rows)s - 1) as i
) as t
"""


def run() -> Iterator[dict[str, object]]:
    """Yield one row per figure: name, value, unit; nothing to compare with, as no peer archives."""
    server = Server.start(find_binaries())
    try:
        yield from _measure(server, "postgres", ROWS)
        yield from _measure(server, "postgrest", API_ROWS)
    finally:
        server.stop()


def _measure(server: Server, name: DoorName, rows: int) -> Iterator[dict[str, object]]:
    database = server.create_database()
    door = Door(name, database)
    try:
        with psycopg.connect(database.superuser_url, autocommit=True) as connection:
            connection.execute("select observability_internal.ensure_partition('ai_usage_metrics', '2026-05-01')")
            connection.execute(_FILL.replace("%(rows)s", str(rows)).encode())
            connection.execute("vacuum analyze observability_internal.ai_usage_metrics")
            sizes = connection.execute(
                "select pg_total_relation_size('observability_internal.ai_usage_metrics_202605')"
            ).fetchone()
        assert sizes is not None
        with tempfile.TemporaryDirectory() as folder:
            address = door.api.url if name == "postgrest" else database.authenticator_url
            figures = _archive_in_a_process(name, address, folder)
        title = f"{rows:,} calls to verified Parquet, {'Supabase API' if name == 'postgrest' else 'direct connection'}"
        yield _row(title, figures["seconds"], "s")
        yield _row(f"{title}: rows a second", rows / figures["seconds"], "rows/s")
        yield _row(f"{title}: bytes a row", figures["size_bytes"] / rows, "bytes")
        yield _row(f"{title}: bytes a row in Postgres, with indexes", sizes[0] / rows, "bytes")
        yield _row(f"{title}: peak memory", figures["peak_mib"], "MiB")
    finally:
        door.close()
        database.drop()


def _archive_in_a_process(name: DoorName, address: str, folder: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.archive", name, address, folder]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ)).stdout
    figures: dict[str, float] = json.loads(output)
    return figures


def _row(name: str, value: float, unit: str) -> dict[str, object]:
    return {"name": name, "value": value, "unit": unit, "peer": None, "peer_value": None, "ratio": None}


def _archive(name: str, address: str, folder: str) -> None:
    """Archive and report, in a process of its own so that its memory is counted alone."""
    import resource

    from ingest.archive.archiver import Archiver
    from ingest.archive.storage import Storage
    from ingest.database import Database, PostgresDatabase, SupabaseDatabase
    from tests.support.api import SECRET_KEY

    database: Database = PostgresDatabase(address) if name == "postgres" else SupabaseDatabase(address, SECRET_KEY)
    started = time.perf_counter()
    outcomes = Archiver(database, Storage(folder), retention_days=90).run()
    seconds = time.perf_counter() - started
    database.close()
    (outcome,) = (one for one in outcomes if one.rows)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "size_bytes": outcome.size_bytes, "peak_mib": peak_mib}))


if __name__ == "__main__":
    _archive(*sys.argv[1:])
