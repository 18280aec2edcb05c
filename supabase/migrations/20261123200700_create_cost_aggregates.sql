-- Purpose: the materialized view of cost by hour, day, week and month (UTC), over rollups, and its refresh.
-- Locks: a concurrent refresh takes EXCLUSIVE on the view: readers go on.

create materialized view observability_internal.cost_aggregates as
with by_hour as (
  select r.bucket, g.group_id, r.requests, r.prompt_tokens, r.completion_tokens, r.cost, r.unpriced_requests
  from observability_internal.usage_by_hour as r
  inner join observability_internal.dimensions using (dim_id)
  inner join observability_internal.cost_groups as g using (provider, model, feature, environment)
),

by_period as (
  select
    p.period, date_trunc(p.period, h.bucket, 'UTC') as bucket_start, h.group_id, sum(h.cost) as total_cost,
    sum(h.prompt_tokens + h.completion_tokens)::bigint as total_tokens, sum(h.requests)::bigint as request_count,
    sum(h.unpriced_requests)::bigint as unpriced_request_count
  from by_hour as h
  cross join (values ('hour'), ('day'), ('week'), ('month')) as p (period)
  group by p.period, date_trunc(p.period, h.bucket, 'UTC'), h.group_id
)

select
  b.period, b.bucket_start, g.provider, g.model, g.feature, g.environment, b.total_cost, b.total_tokens,
  b.request_count, b.unpriced_request_count, coalesce(u.user_count, 0) as user_count
from by_period as b
inner join observability_internal.cost_groups as g using (group_id)
left join observability_internal.user_counts as u using (period, bucket_start, group_id);

comment on materialized view observability_internal.cost_aggregates is 'Cost, tokens, requests and distinct users by period (hour, day, week, month; UTC), provider, model, feature, environment.';

create unique index cost_aggregates_key
on observability_internal.cost_aggregates (period, bucket_start, provider, model, feature, environment);

create table observability_internal.refreshes (
  view_name text not null,
  refreshed_at timestamptz not null,
  duration_ms double precision not null,
  constraint refreshes_pkey primary key (view_name)
);

comment on table observability_internal.refreshes is 'When each materialized view was last refreshed and how long it took.';

alter table observability_internal.refreshes enable row level security;

-- Security definer: only the owner of a materialized view may refresh it.
create function observability.refresh_aggregates() returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set statement_timeout = '120s'
set jit = off
set timezone = 'UTC'
as $$
declare
  v_started constant timestamptz := clock_timestamp();
  v_duration_ms double precision;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('treering.refresh_aggregates', 0)) then
    return jsonb_build_object('is_busy', true);
  end if;
  refresh materialized view concurrently observability_internal.cost_aggregates;
  v_duration_ms := extract(epoch from clock_timestamp() - v_started) * 1000;
  insert into observability_internal.refreshes as r (view_name, refreshed_at, duration_ms)
  values ('cost_aggregates', v_started, v_duration_ms)
  on conflict (view_name) do update set refreshed_at = excluded.refreshed_at, duration_ms = excluded.duration_ms;
  return jsonb_build_object('is_busy', false, 'duration_ms', v_duration_ms);
end;
$$;

comment on function observability.refresh_aggregates() is 'Refreshes cost_aggregates without blocking its readers. Returns {is_busy, duration_ms}.';

-- Security definer: materialized views know no row level security, so the function checks the caller.
create function observability.get_cost_aggregates(period text, from_time timestamptz, to_time timestamptz) returns jsonb
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
  if period is null or period not in ('hour', 'day', 'week', 'month') then
    raise exception 'period is hour, day, week or month' using errcode = '22023';
  end if;
  if from_time is null or to_time is null or from_time >= to_time or to_time - from_time > interval '400 days' then
    raise exception 'the range must begin before it ends and span at most 400 days' using errcode = '22023';
  end if;
  return jsonb_build_object(
    'refreshed_at', (select r.refreshed_at from observability_internal.refreshes as r where r.view_name = 'cost_aggregates'),
    'rows', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'period', a.period, 'bucket_start', a.bucket_start, 'provider', a.provider, 'model', a.model,
        'feature', a.feature, 'environment', a.environment, 'total_cost', a.total_cost::text,
        'total_tokens', a.total_tokens, 'request_count', a.request_count,
        'unpriced_request_count', a.unpriced_request_count, 'user_count', a.user_count
      ) order by a.bucket_start, a.provider, a.model, a.feature, a.environment), '[]')
      from observability_internal.cost_aggregates as a
      where a.period = get_cost_aggregates.period and a.bucket_start >= from_time and a.bucket_start < to_time
    )
  );
end;
$$;

comment on function observability.get_cost_aggregates(text, timestamptz, timestamptz) is 'Rows of cost_aggregates of one period as {refreshed_at, rows}. Analysts and ops.';

grant execute on function observability.refresh_aggregates() to service_role;

grant execute on function observability.get_cost_aggregates(text, timestamptz, timestamptz) to authenticated, service_role;
