-- Purpose: coarse levels computed from finer ones, bucket by bucket, whenever their base has changed.
-- Locks: the advisory transaction lock of roll_up, ROW EXCLUSIVE on the coarse rollups.

create function observability_internal.condense_usage(target text, source text, buckets timestamptz[], span interval)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  execute format('delete from observability_internal.%I as r where r.bucket = any ($1)', target) using buckets;
  execute format(
    $sql$
    with cells as materialized (
      select b.bucket as start, r.*
      from unnest($1) as b (bucket)
      inner join observability_internal.%I as r on r.bucket >= b.bucket and r.bucket < b.bucket + $2
    ),
    entries as (
      select c.start, c.dim_id, unnest(c.latency) as latency, unnest(c.time_to_first_token) as first_token from cells as c
    ),
    bins as (
      select e.start, e.dim_id, 1 as measure, e.latency >> 44 as bin,
        sum((e.latency & 17592186044415)::double precision)::bigint as weight
      from entries as e where e.latency is not null
      group by e.start, e.dim_id, e.latency >> 44
      union all
      select e.start, e.dim_id, 2, e.first_token >> 44, sum((e.first_token & 17592186044415)::double precision)::bigint
      from entries as e where e.first_token is not null
      group by e.start, e.dim_id, e.first_token >> 44
    ),
    histograms as (
      select
        b.start, b.dim_id, array_agg((b.bin << 44) + b.weight) filter (where b.measure = 1) as latency,
        array_agg((b.bin << 44) + b.weight) filter (where b.measure = 2) as time_to_first_token
      from bins as b
      group by b.start, b.dim_id
    ),
    sums as (
      select
        c.start, c.dim_id, sum(c.requests)::bigint as requests, sum(c.prompt_tokens)::bigint as prompt_tokens,
        sum(c.completion_tokens)::bigint as completion_tokens, sum(c.cached_tokens)::bigint as cached_tokens,
        sum(c.cache_write_tokens)::bigint as cache_write_tokens, sum(c.reasoning_tokens)::bigint as reasoning_tokens,
        sum(c.audio_input_tokens)::bigint as audio_input_tokens,
        sum(c.audio_output_tokens)::bigint as audio_output_tokens, sum(c.cost) as cost,
        sum(c.fallback_cost) as fallback_cost, sum(c.provider_reported_cost) as provider_reported_cost,
        sum(c.unpriced_requests)::bigint as unpriced_requests, sum(c.fallback_requests)::bigint as fallback_requests,
        sum(c.estimated_requests)::bigint as estimated_requests
      from cells as c
      group by c.start, c.dim_id
    )
    insert into observability_internal.%I
    select s.*, h.latency, h.time_to_first_token from sums as s left join histograms as h using (start, dim_id)
    $sql$, source, target
  ) using buckets, span;
end;
$$;

comment on function observability_internal.condense_usage(text, text, timestamptz[], interval) is 'Computes rows of a coarse level of calls from a finer one.';

create function observability_internal.condense_performance(target text, source text, buckets timestamptz[], span interval)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  execute format('delete from observability_internal.%I as r where r.bucket = any ($1)', target) using buckets;
  execute format(
    $sql$
    with cells as materialized (
      select b.bucket as start, r.*
      from unnest($1) as b (bucket)
      inner join observability_internal.%I as r on r.bucket >= b.bucket and r.bucket < b.bucket + $2
    ),
    entries as (
      select c.start, c.route_id, 1 as measure, unnest(c.latency) as entry from cells as c
      union all
      select c.start, c.route_id, 2, unnest(c.time_to_first_byte) from cells as c
    ),
    bins as (
      select e.start, e.route_id, e.measure, e.entry >> 44 as bin,
        sum((e.entry & 17592186044415)::double precision)::bigint as weight
      from entries as e
      group by e.start, e.route_id, e.measure, e.entry >> 44
    ),
    histograms as (
      select
        b.start, b.route_id, array_agg((b.bin << 44) + b.weight) filter (where b.measure = 1) as latency,
        array_agg((b.bin << 44) + b.weight) filter (where b.measure = 2) as time_to_first_byte
      from bins as b
      group by b.start, b.route_id
    ),
    sums as (
      select c.start, c.route_id, sum(c.requests) as requests from cells as c group by c.start, c.route_id
    )
    insert into observability_internal.%I
    select s.*, h.latency, h.time_to_first_byte from sums as s left join histograms as h using (start, route_id)
    $sql$, source, target
  ) using buckets, span;
end;
$$;

comment on function observability_internal.condense_performance(text, text, timestamptz[], interval) is 'Computes rows of a coarse level of requests from a finer one.';

-- Merged from the level's own rows by dimensions, for hours; quarters of an hour from the minutes.
create function observability_internal.condense_hour_groups(hours timestamptz[]) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  insert into observability_internal.latency_groups (kind, value)
  select v.kind, v.value
  from observability_internal.dimensions as d
  cross join lateral (
    values ('total', ''), ('model', d.model), ('feature', d.feature), ('environment', d.environment)
  ) as v (kind, value)
  union
  select v.kind, v.value
  from observability_internal.route_dimensions as d
  cross join lateral (values ('requests', ''), ('route', d.method || ' ' || d.route)) as v (kind, value)
  except
  select g.kind, g.value from observability_internal.latency_groups as g
  on conflict do nothing;

  delete from observability_internal.latency_by_group as r
  using unnest(hours) as h (bucket)
  where r.level in ('quarter', 'hour') and r.bucket >= h.bucket and r.bucket < h.bucket + interval '1 hour';

  with entries as (
    select
      'hour' as level, r.bucket, g.group_id, unnest(r.latency) as latency, unnest(r.time_to_first_token) as first
    from observability_internal.usage_by_hour as r
    inner join observability_internal.dimensions as d using (dim_id)
    inner join observability_internal.latency_groups as g
      on g.kind = 'total' or (g.kind = 'model' and g.value = d.model) or (g.kind = 'feature' and g.value = d.feature)
      or (g.kind = 'environment' and g.value = d.environment)
    where r.bucket = any (hours)
    union all
    select 'hour', r.bucket, g.group_id, unnest(r.latency), unnest(r.time_to_first_byte)
    from observability_internal.performance_by_hour as r
    inner join observability_internal.route_dimensions as d using (route_id)
    inner join observability_internal.latency_groups as g
      on g.kind = 'requests' or (g.kind = 'route' and g.value = d.method || ' ' || d.route)
    where r.bucket = any (hours)
    union all
    select
      'quarter', date_bin('15 minutes', r.bucket, '2000-01-01 00:00:00+00'), g.group_id, unnest(r.latency),
      unnest(r.time_to_first_token)
    from unnest(hours) as h (bucket)
    inner join observability_internal.usage_by_minute as r
      on r.bucket >= h.bucket and r.bucket < h.bucket + interval '1 hour'
    inner join observability_internal.latency_groups as g on g.kind = 'total'
    union all
    select
      'quarter', date_bin('15 minutes', r.bucket, '2000-01-01 00:00:00+00'), g.group_id, unnest(r.latency),
      unnest(r.time_to_first_byte)
    from unnest(hours) as h (bucket)
    inner join observability_internal.performance_by_minute as r
      on r.bucket >= h.bucket and r.bucket < h.bucket + interval '1 hour'
    inner join observability_internal.latency_groups as g on g.kind = 'requests'
  ),
  measured as (
    select e.level, e.bucket, e.group_id, m.measure, m.entry >> 44 as bin,
      sum((m.entry & 17592186044415)::double precision)::bigint as weight
    from entries as e
    cross join lateral (values (1, e.latency), (2, e.first)) as m (measure, entry)
    where m.entry is not null
    group by e.level, e.bucket, e.group_id, m.measure, m.entry >> 44
  )
  insert into observability_internal.latency_by_group (level, bucket, group_id, latency, time_to_first)
  select
    b.level, b.bucket, b.group_id, array_agg((b.bin << 44) + b.weight) filter (where b.measure = 1),
    array_agg((b.bin << 44) + b.weight) filter (where b.measure = 2)
  from measured as b
  group by b.level, b.bucket, b.group_id;
end;
$$;

comment on function observability_internal.condense_hour_groups(timestamptz[]) is 'Merges the histograms of these hours and their quarters.';

create function observability_internal.condense_groups(target text, source text, buckets timestamptz[], span interval)
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  delete from observability_internal.latency_by_group as r
  where r.level = condense_groups.target and r.bucket = any (buckets);

  with entries as (
    select b.bucket, r.group_id, m.measure, unnest(m.histogram) as entry
    from unnest(buckets) as b (bucket)
    cross join observability_internal.latency_groups as g
    inner join observability_internal.latency_by_group as r
      on r.level = condense_groups.source and g.group_id = r.group_id and r.bucket >= b.bucket
      and r.bucket < b.bucket + span
    cross join lateral (values (1, r.latency), (2, r.time_to_first)) as m (measure, histogram)
  ),
  bins as (
    select e.bucket, e.group_id, e.measure, e.entry >> 44 as bin,
      sum((e.entry & 17592186044415)::double precision)::bigint as weight
    from entries as e
    group by e.bucket, e.group_id, e.measure, e.entry >> 44
  )
  insert into observability_internal.latency_by_group (level, bucket, group_id, latency, time_to_first)
  select
    condense_groups.target, b.bucket, b.group_id, array_agg((b.bin << 44) + b.weight) filter (where b.measure = 1),
    array_agg((b.bin << 44) + b.weight) filter (where b.measure = 2)
  from bins as b
  group by b.bucket, b.group_id;
$$;

comment on function observability_internal.condense_groups(text, text, timestamptz[], interval) is 'Merges the histograms of groups: days from hours, weeks from days.';

create function observability_internal.condense_users(period text, buckets timestamptz[]) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  delete from observability_internal.user_counts as r
  where r.period = condense_users.period and r.bucket_start = any (buckets);
  if condense_users.period = 'day' then
    delete from observability_internal.usage_by_user_day as r where r.bucket = any (buckets);
    with cells as materialized (
      select
        b.bucket as start, r.dim_id, r.user_key, sum(r.requests)::bigint as requests,
        sum(case when d.status = 'error' then r.requests else 0 end)::bigint as errors,
        sum(r.prompt_tokens)::bigint as prompt_tokens, sum(r.completion_tokens)::bigint as completion_tokens,
        sum(r.cached_tokens)::bigint as cached_tokens, sum(r.unpriced_requests)::bigint as unpriced_requests,
        sum(r.cost) as cost
      from unnest(buckets) as b (bucket)
      inner join observability_internal.usage_by_user as r
        on r.bucket >= b.bucket and r.bucket < b.bucket + interval '1 day'
      inner join observability_internal.dimensions as d using (dim_id)
      group by b.bucket, r.dim_id, r.user_key
    )
    insert into observability_internal.usage_by_user_day
    select c.start, c.dim_id, c.user_key, c.requests, c.errors, c.prompt_tokens, c.completion_tokens, c.cached_tokens,
      c.unpriced_requests, c.cost
    from cells as c
    union all
    select c.start, 0, c.user_key, sum(c.requests), sum(c.errors), sum(c.prompt_tokens), sum(c.completion_tokens),
      sum(c.cached_tokens), sum(c.unpriced_requests), sum(c.cost)
    from cells as c
    group by c.start, c.user_key;
  elsif condense_users.period = 'week' then
    delete from observability_internal.usage_by_user_week as r where r.bucket = any (buckets);
    insert into observability_internal.usage_by_user_week
    select
      date_trunc('week', r.bucket, 'UTC'), r.dim_id, r.user_key, sum(r.requests), sum(r.errors), sum(r.prompt_tokens),
      sum(r.completion_tokens), sum(r.cached_tokens), sum(r.unpriced_requests), sum(r.cost)
    from unnest(buckets) as b (bucket)
    cross join (select 0 as dim_id union all select d.dim_id from observability_internal.dimensions as d) as d
    inner join observability_internal.usage_by_user_day as r
      on r.dim_id = d.dim_id and r.bucket >= b.bucket and r.bucket < b.bucket + interval '7 days'
    group by date_trunc('week', r.bucket, 'UTC'), r.dim_id, r.user_key;
  end if;
  execute format(
    $sql$
    insert into observability_internal.user_counts (period, bucket_start, group_id, user_count)
    select $1, b.bucket, g.group_id, count(distinct r.user_key)
    from unnest($2) as b (bucket)
    inner join observability_internal.%I as r
      on r.bucket >= b.bucket and r.bucket < date_trunc($1, b.bucket + $3, 'UTC') and r.dim_id > 0
    inner join observability_internal.dimensions as d using (dim_id)
    inner join observability_internal.cost_groups as g using (provider, model, feature, environment)
    group by b.bucket, g.group_id
    $sql$,
    case condense_users.period
      when 'hour' then 'usage_by_user' when 'week' then 'usage_by_user_week' else 'usage_by_user_day'
    end
  ) using condense_users.period, buckets, ('1 ' || condense_users.period)::interval;
end;
$$;

comment on function observability_internal.condense_users(text, timestamptz[]) is 'Computes the rows and counts of users of hours, days, weeks or months.';

-- The oldest stale buckets of a level that end by a time and whose finer level is condensed.
create function observability_internal.take_stale(level text, closed_by timestamptz, max_buckets integer)
returns timestamptz[]
language sql
volatile
security invoker
set search_path = ''
as $$
  with ready as (
    select s.bucket
    from observability_internal.stale_rollups as s
    where s.level = take_stale.level
      and date_trunc(take_stale.level, s.bucket + ('1 ' || take_stale.level)::interval, 'UTC') <= closed_by
      and not exists (
        select from observability_internal.stale_rollups as finer
        where finer.level = case take_stale.level when 'day' then 'hour' when 'week' then 'day' when 'month' then 'day' end
          and finer.bucket >= s.bucket and finer.bucket < s.bucket + ('1 ' || take_stale.level)::interval
      )
    order by s.bucket
    limit max_buckets
  ),
  taken as (
    delete from observability_internal.stale_rollups as s
    using ready as r
    where s.level = take_stale.level and s.bucket = r.bucket
    returning s.bucket
  )
  select array_agg(t.bucket) from taken as t;
$$;

comment on function observability_internal.take_stale(text, timestamptz, integer) is 'Takes buckets off the list of what waits to be condensed; null where none is ready.';

create function observability_internal.condense_all(closed_by timestamptz, max_hours integer) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_hours constant timestamptz[] := observability_internal.take_stale('hour', closed_by, max_hours);
  v_days timestamptz[];
  v_weeks timestamptz[];
  v_months timestamptz[];
begin
  if v_hours is not null then
    perform observability_internal.condense_usage('usage_by_hour', 'usage_by_minute', v_hours, '1 hour');
    perform observability_internal.condense_performance('performance_by_hour', 'performance_by_minute', v_hours, '1 hour');
    perform observability_internal.condense_hour_groups(v_hours);
    perform observability_internal.condense_users('hour', v_hours);
  end if;
  v_days := observability_internal.take_stale('day', closed_by, greatest(max_hours / 8, 1));
  if v_days is not null then
    perform observability_internal.condense_usage('usage_by_day', 'usage_by_hour', v_days, '1 day');
    perform observability_internal.condense_performance('performance_by_day', 'performance_by_hour', v_days, '1 day');
    perform observability_internal.condense_groups('day', 'hour', v_days, '1 day');
    perform observability_internal.condense_users('day', v_days);
  end if;
  v_weeks := observability_internal.take_stale('week', closed_by, greatest(max_hours / 24, 1));
  if v_weeks is not null then
    perform observability_internal.condense_groups('week', 'day', v_weeks, '7 days');
    perform observability_internal.condense_users('week', v_weeks);
  end if;
  v_months := observability_internal.take_stale('month', closed_by, 1);
  if v_months is not null then
    perform observability_internal.condense_users('month', v_months);
  end if;
  return jsonb_build_object(
    'hours', coalesce(cardinality(v_hours), 0), 'days', coalesce(cardinality(v_days), 0),
    'weeks', coalesce(cardinality(v_weeks), 0), 'months', coalesce(cardinality(v_months), 0)
  );
end;
$$;

comment on function observability_internal.condense_all(timestamptz, integer) is 'Condenses what ended by a time; the caller holds the lock. Returns how many buckets of each level.';

create function observability.condense_rollups(max_hours integer default 24) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set statement_timeout = '120s'
set work_mem = '64MB'
set jit = off
as $$
declare
  v_done jsonb;
begin
  if max_hours is null or max_hours not between 1 and 10000 then
    raise exception 'max_hours is from 1 to 10,000' using errcode = '22023';
  end if;
  if not pg_try_advisory_xact_lock(hashtextextended('treering.roll_up', 0)) then
    return '{"is_busy": true, "is_done": false, "hours": 0, "days": 0, "weeks": 0, "months": 0}';
  end if;
  v_done := observability_internal.condense_all(now(), max_hours);
  return v_done || jsonb_build_object(
    'is_busy', false,
    'is_done', v_done = '{"hours": 0, "days": 0, "weeks": 0, "months": 0}'
  );
end;
$$;

comment on function observability.condense_rollups(integer) is 'Computes the coarse levels of hours, days, weeks and months that have ended and changed. Returns {is_busy, is_done, hours, days, weeks, months}; call again until is_done.';

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid::regprocedure from pg_catalog.pg_proc as p
    where p.pronamespace in ('observability_internal'::regnamespace, 'observability'::regnamespace)
      and p.proname in (
        'condense_usage', 'condense_performance', 'condense_hour_groups', 'condense_groups', 'condense_users',
        'take_stale', 'condense_all', 'condense_rollups'
      )
  loop
    execute format('grant execute on function %s to service_role', v_function);
  end loop;
end;
$$;

-- The open hour, day, week and month are condensed too, so that the view holds all that is counted.
create or replace function observability.refresh_aggregates() returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set statement_timeout = '120s'
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
  refresh materialized view concurrently observability_internal.cost_aggregates;
  v_duration_ms := extract(epoch from clock_timestamp() - v_started) * 1000;
  insert into observability_internal.refreshes as r (view_name, refreshed_at, duration_ms)
  values ('cost_aggregates', v_started, v_duration_ms)
  on conflict (view_name) do update set refreshed_at = excluded.refreshed_at, duration_ms = excluded.duration_ms;
  return jsonb_build_object('is_busy', false, 'duration_ms', v_duration_ms);
end;
$$;
