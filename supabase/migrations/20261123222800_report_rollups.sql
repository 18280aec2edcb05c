-- Purpose: what waits to be condensed and what the last check found, in the status.
-- Locks: none.

-- Security definer: ops may see the state of jobs without a right on their tables.
create or replace function observability.get_status() returns jsonb
language plpgsql
stable
security definer
set search_path = ''
set statement_timeout = '8s'
set jit = off
set timezone = 'UTC'
as $$
declare
  v_schema_version text;
begin
  perform observability_internal.require_access('{analyst,ops,service}');
  if to_regclass('supabase_migrations.schema_migrations') is not null then
    execute 'select max(version) from supabase_migrations.schema_migrations' into v_schema_version;
  end if;
  return jsonb_build_object(
    'server_time', clock_timestamp(), 'server_version', current_setting('server_version'),
    'schema_version', v_schema_version,
    'newest_event_at', (
      select max(r.bucket) from observability_internal.usage_by_minute as r
    ),
    'pending_batches', (select count(*) from observability_internal.pending_batches),
    'pending_rows', (select coalesce(sum(p.row_count), 0) from observability_internal.pending_batches as p),
    'oldest_pending_at', (select min(p.enqueued_at) from observability_internal.pending_batches as p),
    'rejected_events', (select count(*) from observability_internal.rejected_events),
    'last_rejection', (
      select jsonb_build_object('received_at', e.received_at, 'kind', e.kind, 'reason', e.reason)
      from observability_internal.rejected_events as e
      order by e.rejected_id desc
      limit 1
    ),
    'stale_hours', (
      select count(*) from observability_internal.stale_rollups as s
      where s.level = 'hour' and s.bucket < now() - interval '1 hour'
    ),
    'verification', (
      select c.result - 'levels' from observability_internal.rollup_checks as c order by c.checked_at desc limit 1
    ),
    'refreshed_at', (select r.refreshed_at from observability_internal.refreshes as r where r.view_name = 'cost_aggregates'),
    'workers', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'worker', h.worker, 'started_at', h.started_at, 'seen_at', h.seen_at, 'details', h.details,
        'is_leader', exists (
          select from observability_internal.leases as l
          where l.name = 'worker' and l.holder = h.worker and l.expires_at > clock_timestamp()
        )
      ) order by h.seen_at desc), '[]')
      from observability_internal.heartbeats as h
      where h.seen_at > clock_timestamp() - interval '1 hour'
    ),
    'partitions', (
      select count(*) from pg_catalog.pg_inherits as i
      where i.inhparent in ('observability.ai_usage_metrics'::regclass, 'observability.performance_metrics'::regclass)
    ),
    'usage_rows_estimate', (
      select coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint
      from pg_catalog.pg_inherits as i
      inner join pg_catalog.pg_class as c on i.inhrelid = c.oid
      where i.inhparent = 'observability.ai_usage_metrics'::regclass
    )
  );
end;
$$;
