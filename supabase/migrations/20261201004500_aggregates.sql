-- The materialized view cost_aggregates over the rollups, its refresh, and who may read it.
-- Locks: none to apply, it only creates. At run time a concurrent refresh takes EXCLUSIVE on the view: readers go on.

create materialized view observability_internal.cost_aggregates as
with stale_days as materialized (
  select s.bucket
  from observability_internal.stale_rollups as s
  where s.level = 'day'
),

grouped as materialized (
  select d.dim_id, g.group_id
  from observability_internal.dimensions as d
  inner join observability_internal.cost_groups as g using (provider, model, feature, environment)
),

-- A month of hours: get_cost_aggregates reads older ones from the hours themselves, and a refresh stays short.
hours as (
  select
    r.bucket, g.group_id, sum(r.cost) as cost, sum(r.prompt_tokens + r.completion_tokens)::bigint as tokens,
    sum(r.requests)::bigint as requests, coalesce(sum(r.unpriced_requests), 0)::bigint as unpriced_requests
  from observability_internal.usage_by_hour as r
  inner join grouped as g using (dim_id)
  where r.bucket >= date_trunc('day', now() - interval '31 days', 'UTC')
  group by r.bucket, g.group_id
),

-- A day that is not condensed is the sum of its hours.
days as materialized (
  select
    r.bucket, g.group_id, sum(r.cost) as cost, sum(r.prompt_tokens + r.completion_tokens)::bigint as tokens,
    sum(r.requests)::bigint as requests, coalesce(sum(r.unpriced_requests), 0)::bigint as unpriced_requests
  from observability_internal.usage_by_day as r
  inner join grouped as g using (dim_id)
  where r.bucket not in (select s.bucket from stale_days as s)
  group by r.bucket, g.group_id
  union all
  select
    s.bucket, g.group_id, sum(r.cost) as cost, sum(r.prompt_tokens + r.completion_tokens)::bigint as tokens,
    sum(r.requests)::bigint as requests, coalesce(sum(r.unpriced_requests), 0)::bigint as unpriced_requests
  from stale_days as s
  inner join observability_internal.usage_by_hour as r on s.bucket <= r.bucket and s.bucket + interval '24 hours' > r.bucket
  inner join grouped as g using (dim_id)
  group by s.bucket, g.group_id
),

periods as (
  select 'hour' as period, h.* from hours as h
  union all
  select 'day' as period, d.* from days as d
  union all
  select
    p.period, date_trunc(p.period, d.bucket, 'UTC') as bucket, d.group_id, sum(d.cost) as cost,
    sum(d.tokens)::bigint as tokens, sum(d.requests)::bigint as requests,
    sum(d.unpriced_requests)::bigint as unpriced_requests
  from days as d
  cross join (values ('week'), ('month')) as p (period)
  group by p.period, date_trunc(p.period, d.bucket, 'UTC'), d.group_id
)

select
  p.period, p.bucket as bucket_start, g.provider, g.model, g.feature, g.environment, p.cost as total_cost,
  p.tokens as total_tokens, p.requests as request_count, p.unpriced_requests as unpriced_request_count,
  coalesce(u.user_count, 0) as user_count
from periods as p
inner join observability_internal.cost_groups as g using (group_id)
left join observability_internal.user_counts as u
  on p.period = u.period and p.bucket = u.bucket_start and p.group_id = u.group_id;

comment on materialized view observability_internal.cost_aggregates is
'Cost, tokens, requests and distinct users by period (hour: of the last 31 days; day, week, month; UTC), provider, '
'model, feature, environment.';

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

-- The open hour, day, week and month are condensed too, so that the view holds all that is counted.
-- Security definer: service_role owns neither the view nor the index.
create function observability.refresh_aggregates() returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set statement_timeout = '60s'
set work_mem = '64MB'
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
  -- Where an increment is at work, the view lags by what the open buckets have gained.
  if pg_try_advisory_xact_lock(hashtextextended('treering.roll_up', 0)) then
    perform observability_internal.condense_all('infinity', 48);
  end if;
  perform observability_internal.summarize_ranges();
  refresh materialized view concurrently observability_internal.cost_aggregates;
  v_duration_ms := extract(epoch from clock_timestamp() - v_started) * 1000;
  insert into observability_internal.refreshes as r (view_name, refreshed_at, duration_ms)
  values ('cost_aggregates', v_started, v_duration_ms)
  on conflict (view_name) do update set refreshed_at = excluded.refreshed_at, duration_ms = excluded.duration_ms;
  return jsonb_build_object('is_busy', false, 'duration_ms', v_duration_ms);
end;
$$;

comment on function observability.refresh_aggregates is 'Refreshes cost_aggregates without blocking its readers. Returns {is_busy, duration_ms}.';
revoke execute on function observability.refresh_aggregates from public;
grant execute on function observability.refresh_aggregates to service_role;

-- Security definer: materialized views know no row level security, so the function checks the caller.
create function observability.get_cost_aggregates(period text, from_time timestamptz, to_time timestamptz)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
set statement_timeout = '8s'
set jit = off
set timezone = 'UTC'
as $$
declare
  v_first_hour timestamptz := '-infinity'::timestamptz;
begin
  perform observability_internal.require_access('{analyst,ops,service}');
  if period is null or period not in ('hour', 'day', 'week', 'month') then
    raise exception 'period is hour, day, week or month' using errcode = '22023';
  end if;
  if from_time is null or to_time is null or from_time >= to_time or to_time - from_time > interval '400 days' then
    raise exception 'the range must begin before it ends and span at most 400 days' using errcode = '22023';
  end if;
  if period = 'hour' then
    v_first_hour := coalesce((
      select min(a.bucket_start) from observability_internal.cost_aggregates as a where a.period = 'hour'
    ), 'infinity');
  end if;
  return jsonb_build_object(
    'refreshed_at', (select r.refreshed_at from observability_internal.refreshes as r where r.view_name = 'cost_aggregates'),
    'rows', (
      with found as (
        select
          a.period, a.bucket_start, a.provider, a.model, a.feature, a.environment, a.total_cost, a.total_tokens,
          a.request_count, a.unpriced_request_count, a.user_count
        from observability_internal.cost_aggregates as a
        where a.period = get_cost_aggregates.period and a.bucket_start >= from_time and a.bucket_start < to_time
        union all
        select
          'hour' as period, r.bucket, d.provider, d.model, d.feature, d.environment, sum(r.cost),
          sum(r.prompt_tokens + r.completion_tokens)::bigint, sum(r.requests)::bigint,
          coalesce(sum(r.unpriced_requests), 0)::bigint, coalesce(min(u.user_count), 0)
        from observability_internal.usage_by_hour as r
        inner join observability_internal.dimensions as d using (dim_id)
        inner join observability_internal.cost_groups as g using (provider, model, feature, environment)
        left join observability_internal.user_counts as u
          on u.period = 'hour' and r.bucket = u.bucket_start and g.group_id = u.group_id
        where r.bucket >= from_time and r.bucket < least(to_time, v_first_hour)
        group by r.bucket, d.provider, d.model, d.feature, d.environment
      )
      select coalesce(jsonb_agg(jsonb_build_object(
        'period', f.period, 'bucket_start', f.bucket_start, 'provider', f.provider, 'model', f.model,
        'feature', f.feature, 'environment', f.environment, 'total_cost', f.total_cost::text,
        'total_tokens', f.total_tokens, 'request_count', f.request_count,
        'unpriced_request_count', f.unpriced_request_count, 'user_count', f.user_count
      ) order by f.bucket_start, f.provider, f.model, f.feature, f.environment), '[]')
      from found as f
    )
  );
end;
$$;

comment on function observability.get_cost_aggregates is 'Rows of cost_aggregates of one period as {refreshed_at, rows}. Analysts and ops.';
revoke execute on function observability.get_cost_aggregates from public;
grant execute on function observability.get_cost_aggregates to authenticated, service_role;
