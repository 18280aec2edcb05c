-- What workers share: the lease of the leader, heartbeats, and the status of every part.
-- Locks: none; it only creates.

create table observability_internal.leases (
  name text not null,
  holder text not null,
  acquired_at timestamptz not null,
  expires_at timestamptz not null,
  constraint leases_pkey primary key (name)
);

comment on table observability_internal.leases is
'Who leads until when. Poolers and HTTP have no sessions, so a row with an expiry takes the place of a session lock.';

alter table observability_internal.leases enable row level security;

grant select, insert, update, delete on table observability_internal.leases to service_role;

create table observability_internal.heartbeats (
  worker text not null,
  started_at timestamptz not null default now(),
  seen_at timestamptz not null default now(),
  details jsonb not null default '{}',
  constraint heartbeats_pkey primary key (worker)
);

comment on table observability_internal.heartbeats is 'When each worker was last seen and what it said of its jobs; kept for a day.';

alter table observability_internal.heartbeats enable row level security;

grant select, insert, update, delete on table observability_internal.heartbeats to service_role;

create function observability.acquire_lease(name text, holder text, ttl_s integer) returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_holder text;
begin
  if ttl_s is null or ttl_s not between 1 and 3600 or coalesce(acquire_lease.name, '') = '' or coalesce(acquire_lease.holder, '') = '' then
    raise exception 'a lease needs a name, a holder and 1 to 3600 seconds' using errcode = '22023';
  end if;
  insert into observability_internal.leases as l (name, holder, acquired_at, expires_at)
  values (acquire_lease.name, acquire_lease.holder, clock_timestamp(), clock_timestamp() + make_interval(secs => ttl_s))
  on conflict (name) do update set
    holder = excluded.holder,
    acquired_at = case when l.holder = excluded.holder then l.acquired_at else excluded.acquired_at end,
    expires_at = excluded.expires_at
  where l.holder = excluded.holder or l.expires_at < clock_timestamp()
  returning l.holder into v_holder;
  return v_holder is not null;
end;
$$;

comment on function observability.acquire_lease is 'Takes or renews a lease; false while somebody else holds it.';
revoke execute on function observability.acquire_lease from public;
grant execute on function observability.acquire_lease to service_role;

create function observability.release_lease(name text, holder text) returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
begin
  delete from observability_internal.leases as l where l.name = release_lease.name and l.holder = release_lease.holder;
  return found;
end;
$$;

comment on function observability.release_lease is 'Gives a lease back; false when the caller did not hold it.';
revoke execute on function observability.release_lease from public;
grant execute on function observability.release_lease to service_role;

create function observability.record_heartbeat(worker text, details jsonb) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
begin
  insert into observability_internal.heartbeats as h (worker, details)
  values (record_heartbeat.worker, coalesce(record_heartbeat.details, '{}'))
  on conflict (worker) do update set seen_at = now(), details = excluded.details;
  delete from observability_internal.heartbeats as h where h.seen_at < now() - interval '1 day';
end;
$$;

comment on function observability.record_heartbeat is 'Notes that a worker is alive and what its jobs did.';
revoke execute on function observability.record_heartbeat from public;
grant execute on function observability.record_heartbeat to service_role;

-- Security definer: ops may see the state of jobs without a right on their tables.
create function observability.get_status() returns jsonb
language plpgsql
stable
security definer
set search_path = ''
set statement_timeout = '8s'
set jit = off
set timezone = 'UTC'
as $$
begin
  perform observability_internal.require_access('{analyst,ops,service}');
  return jsonb_build_object(
    'server_time', clock_timestamp(), 'server_version', current_setting('server_version'),
    'schema_version', (select max(m.version) from observability_internal.migrations as m),
    'migrations', (select coalesce(jsonb_agg(m.version order by m.version), '[]') from observability_internal.migrations as m),
    'newest_event_at', observability_internal.newest_minute(),
    'delivery', observability.get_delivery_health(),
    'statements', observability_internal.statement_state(),
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
    'catalogue', (
      select jsonb_build_object(
        'checked_at', s.catalogue_checked_at, 'error', s.catalogue_error, 'failing_since', s.catalogue_failing_since
      )
      from observability_internal.price_state as s
      where s.catalogue_checked_at is not null
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
      where i.inhparent in ('observability_internal.ai_usage_metrics'::regclass, 'observability_internal.performance_metrics'::regclass)
    ),
    'usage_rows_estimate', (
      select coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint
      from pg_catalog.pg_inherits as i
      inner join pg_catalog.pg_class as c on i.inhrelid = c.oid
      where i.inhparent = 'observability_internal.ai_usage_metrics'::regclass
    )
  );
end;
$$;

comment on function observability.get_status is 'The health of the pipeline: backlog, workers, refresh, partitions, rejected events. Analysts and ops.';
revoke execute on function observability.get_status from public;
grant execute on function observability.get_status to authenticated, service_role;
