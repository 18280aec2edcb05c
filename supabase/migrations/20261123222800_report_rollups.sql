-- Purpose: what waits to be condensed and what the last check found, in the status; a person's cells under another key.
-- Locks: ROW EXCLUSIVE on the rollup by user.

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

create function observability_internal.move_user_cells(from_key integer, to_key integer, max_rows integer) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_cells observability_internal.usage_by_user[];
begin
  with moved as (
    delete from observability_internal.usage_by_user as r
    where (r.user_key, r.bucket, r.dim_id) in (
      select o.user_key, o.bucket, o.dim_id from observability_internal.usage_by_user as o
      where o.user_key = from_key
      order by o.bucket, o.dim_id
      limit max_rows
    )
    returning r.*
  )
  select array_agg(row(m.*)::observability_internal.usage_by_user) into v_cells from moved as m;
  insert into observability_internal.usage_by_user as r
  select
    c.bucket, c.dim_id, c.requests, c.prompt_tokens, c.completion_tokens, c.cached_tokens, c.cache_write_tokens,
    c.reasoning_tokens, c.audio_input_tokens, c.audio_output_tokens, c.cost, c.fallback_cost,
    c.provider_reported_cost, c.unpriced_requests, c.fallback_requests, c.estimated_requests, c.latency,
    c.time_to_first_token, to_key
  from unnest(v_cells) as c
  on conflict (user_key, bucket, dim_id) do update set
    requests = r.requests + excluded.requests, prompt_tokens = r.prompt_tokens + excluded.prompt_tokens,
    completion_tokens = r.completion_tokens + excluded.completion_tokens,
    cached_tokens = coalesce(r.cached_tokens + excluded.cached_tokens, r.cached_tokens, excluded.cached_tokens),
    cache_write_tokens = coalesce(r.cache_write_tokens + excluded.cache_write_tokens, r.cache_write_tokens, excluded.cache_write_tokens),
    reasoning_tokens = coalesce(r.reasoning_tokens + excluded.reasoning_tokens, r.reasoning_tokens, excluded.reasoning_tokens),
    audio_input_tokens = coalesce(r.audio_input_tokens + excluded.audio_input_tokens, r.audio_input_tokens, excluded.audio_input_tokens),
    audio_output_tokens = coalesce(r.audio_output_tokens + excluded.audio_output_tokens, r.audio_output_tokens, excluded.audio_output_tokens), cost = r.cost + excluded.cost,
    fallback_cost = coalesce(r.fallback_cost + excluded.fallback_cost, r.fallback_cost, excluded.fallback_cost),
    provider_reported_cost = coalesce(r.provider_reported_cost + excluded.provider_reported_cost, r.provider_reported_cost, excluded.provider_reported_cost),
    unpriced_requests = coalesce(r.unpriced_requests + excluded.unpriced_requests, r.unpriced_requests, excluded.unpriced_requests),
    fallback_requests = coalesce(r.fallback_requests + excluded.fallback_requests, r.fallback_requests, excluded.fallback_requests),
    estimated_requests = coalesce(r.estimated_requests + excluded.estimated_requests, r.estimated_requests, excluded.estimated_requests),
    latency = r.latency || excluded.latency, time_to_first_token = r.time_to_first_token || excluded.time_to_first_token;
  perform observability_internal.mark_stale(array(select distinct c.bucket from unnest(v_cells) as c));
  return coalesce(cardinality(v_cells), 0);
end;
$$;

comment on function observability_internal.move_user_cells(integer, integer, integer) is 'Moves at most max_rows rows of the rollup by user to another key; the caller holds the lock treering.roll_up. Returns how many.';

grant execute on function observability_internal.move_user_cells(integer, integer, integer) to service_role;
