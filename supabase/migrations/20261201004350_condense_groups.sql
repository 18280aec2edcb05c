-- Merges histograms and sums of all calls, each model, feature, environment, status and route, bucket by bucket.
-- Locks: none to apply, it only creates. At run time those of condense_rollups, which calls them.

create function observability_internal.add_groups() returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  insert into observability_internal.latency_groups (kind, value)
  select v.kind, v.value
  from observability_internal.dimensions as d
  cross join lateral (
    values ('total', ''), ('model', d.model), ('feature', d.feature), ('environment', d.environment), ('status', d.status)
  ) as v (kind, value)
  union
  select v.kind, v.value
  from observability_internal.route_dimensions as d
  cross join lateral (values ('requests', ''), ('route', d.method || ' ' || d.route)) as v (kind, value)
  except
  select g.kind, g.value from observability_internal.latency_groups as g
  on conflict do nothing;
$$;

comment on function observability_internal.add_groups is 'Gives a key to each new model, feature, environment, status and route.';
revoke execute on function observability_internal.add_groups from public;
grant execute on function observability_internal.add_groups to service_role;

create function observability_internal.condense_hour_groups(from_time timestamptz, to_time timestamptz) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  delete from observability_internal.latency_by_group as r
  where r.level = 'hour' and r.group_id in (select g.group_id from observability_internal.latency_groups as g)
    and r.bucket >= condense_hour_groups.from_time and r.bucket < condense_hour_groups.to_time;

  with entries as (
    select
      'hour' as level, r.bucket, g.group_id, unnest(r.latency) as latency, unnest(r.time_to_first_token) as first
    from observability_internal.usage_by_hour as r
    inner join observability_internal.dimensions as d using (dim_id)
    inner join observability_internal.latency_groups as g
      on g.kind = 'total' or (g.kind = 'model' and g.value = d.model) or (g.kind = 'feature' and g.value = d.feature)
      or (g.kind = 'environment' and g.value = d.environment) or (g.kind = 'status' and g.value = d.status)
    where r.bucket >= condense_hour_groups.from_time and r.bucket < condense_hour_groups.to_time
    union all
    select 'hour', r.bucket, g.group_id, unnest(r.latency), unnest(r.time_to_first_byte)
    from observability_internal.performance_by_hour as r
    inner join observability_internal.route_dimensions as d using (route_id)
    inner join observability_internal.latency_groups as g
      on g.kind = 'requests' or (g.kind = 'route' and g.value = d.method || ' ' || d.route)
    where r.bucket >= condense_hour_groups.from_time and r.bucket < condense_hour_groups.to_time
  ),
  measured as (
    select e.level, e.bucket, e.group_id, m.measure, m.entry >> 44 as bin,
      sum((m.entry & 17592186044415)::double precision)::bigint as weight
    from entries as e
    cross join lateral (values (1, e.latency), (2, e.first)) as m (measure, entry)
    where m.entry is not null
    group by e.level, e.bucket, e.group_id, m.measure, m.entry >> 44
  ),
  histograms as (
    select
      b.level, b.bucket, b.group_id, array_agg((b.bin << 44) + b.weight) filter (where b.measure = 1) as latency,
      array_agg((b.bin << 44) + b.weight) filter (where b.measure = 2) as first
    from measured as b
    group by b.level, b.bucket, b.group_id
  ),
  sums as (
    select
      'hour' as level, r.bucket, g.group_id, sum(r.requests)::bigint as requests,
      coalesce(sum(r.requests) filter (where d.status = 'error'), 0)::bigint as errors,
      sum(r.prompt_tokens)::bigint as prompt_tokens, sum(r.completion_tokens)::bigint as completion_tokens,
      coalesce(sum(r.cached_tokens), 0)::bigint as cached_tokens,
      coalesce(sum(r.reasoning_tokens), 0)::bigint as reasoning_tokens,
      sum(coalesce(r.unpriced_requests, 0) + coalesce(r.fallback_requests, 0))::bigint as unpriced_requests, sum(r.cost) as cost
    from observability_internal.usage_by_hour as r
    inner join observability_internal.dimensions as d using (dim_id)
    inner join observability_internal.latency_groups as g
      on g.kind = 'total' or (g.kind = 'model' and g.value = d.model) or (g.kind = 'feature' and g.value = d.feature)
      or (g.kind = 'environment' and g.value = d.environment) or (g.kind = 'status' and g.value = d.status)
    where r.bucket >= condense_hour_groups.from_time and r.bucket < condense_hour_groups.to_time
    group by r.bucket, g.group_id
  )
  insert into observability_internal.latency_by_group
  select
    level, bucket, group_id, h.latency, h.first, observability_internal.histogram_percentiles(h.latency),
    observability_internal.histogram_percentiles(h.first), n.requests, n.errors, n.prompt_tokens, n.completion_tokens,
    n.cached_tokens, n.reasoning_tokens, n.unpriced_requests, n.cost
  from histograms as h
  full join sums as n using (level, bucket, group_id);
end;
$$;

comment on function observability_internal.condense_hour_groups is 'Merges the histograms and sums of these hours, from the hours by dimensions.';
revoke execute on function observability_internal.condense_hour_groups from public;
grant execute on function observability_internal.condense_hour_groups to service_role;

create function observability_internal.condense_quarter_groups(from_time timestamptz, to_time timestamptz) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  delete from observability_internal.latency_by_group as r
  where r.level = 'quarter' and r.group_id in (select g.group_id from observability_internal.latency_groups as g)
    and r.bucket >= condense_quarter_groups.from_time and r.bucket < condense_quarter_groups.to_time;

  with entries as (
    select
      'quarter' as level, date_bin('15 minutes', r.bucket, '2000-01-01 00:00:00+00') as bucket, g.group_id,
      unnest(r.latency) as latency, unnest(r.time_to_first_token) as first
    from observability_internal.minutes_within(condense_quarter_groups.from_time, condense_quarter_groups.to_time) as r
    inner join observability_internal.latency_groups as g on g.kind = 'total'
    union all
    select
      'quarter', date_bin('15 minutes', r.bucket, '2000-01-01 00:00:00+00'), g.group_id, unnest(r.latency),
      unnest(r.time_to_first_byte)
    from observability_internal.performance_by_minute as r
    inner join observability_internal.latency_groups as g on g.kind = 'requests'
    where r.bucket >= condense_quarter_groups.from_time and r.bucket < condense_quarter_groups.to_time
  ),
  measured as (
    select e.level, e.bucket, e.group_id, m.measure, m.entry >> 44 as bin,
      sum((m.entry & 17592186044415)::double precision)::bigint as weight
    from entries as e
    cross join lateral (values (1, e.latency), (2, e.first)) as m (measure, entry)
    where m.entry is not null
    group by e.level, e.bucket, e.group_id, m.measure, m.entry >> 44
  ),
  histograms as (
    select
      b.level, b.bucket, b.group_id, array_agg((b.bin << 44) + b.weight) filter (where b.measure = 1) as latency,
      array_agg((b.bin << 44) + b.weight) filter (where b.measure = 2) as first
    from measured as b
    group by b.level, b.bucket, b.group_id
  ),
  sums as (
    select
      'quarter' as level, date_bin('15 minutes', r.bucket, '2000-01-01 00:00:00+00') as bucket, g.group_id,
      sum(r.requests)::bigint as requests,
      coalesce(sum(r.requests) filter (where d.status = 'error'), 0)::bigint as errors,
      sum(r.prompt_tokens)::bigint as prompt_tokens, sum(r.completion_tokens)::bigint as completion_tokens,
      coalesce(sum(r.cached_tokens), 0)::bigint as cached_tokens,
      coalesce(sum(r.reasoning_tokens), 0)::bigint as reasoning_tokens,
      sum(coalesce(r.unpriced_requests, 0) + coalesce(r.fallback_requests, 0))::bigint as unpriced_requests, sum(r.cost) as cost
    from observability_internal.minutes_within(condense_quarter_groups.from_time, condense_quarter_groups.to_time) as r
    inner join observability_internal.dimensions as d using (dim_id)
    inner join observability_internal.latency_groups as g on g.kind = 'total'
    group by 2, g.group_id
  )
  insert into observability_internal.latency_by_group
  select
    level, bucket, group_id, h.latency, h.first, observability_internal.histogram_percentiles(h.latency),
    observability_internal.histogram_percentiles(h.first), n.requests, n.errors, n.prompt_tokens, n.completion_tokens,
    n.cached_tokens, n.reasoning_tokens, n.unpriced_requests, n.cost
  from histograms as h
  full join sums as n using (level, bucket, group_id);
end;
$$;

comment on function observability_internal.condense_quarter_groups is
'Merges the histograms and sums of all calls and all requests by quarters of an hour, from the minutes.';
revoke execute on function observability_internal.condense_quarter_groups from public;
grant execute on function observability_internal.condense_quarter_groups to service_role;

create function observability_internal.condense_groups(
  target text, source text, from_time timestamptz, to_time timestamptz
) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  delete from observability_internal.latency_by_group as r
  where r.level = condense_groups.target and r.group_id in (select g.group_id from observability_internal.latency_groups as g)
    and r.bucket >= condense_groups.from_time and r.bucket < condense_groups.to_time;

  with entries as (
    select
      date_trunc(condense_groups.target, r.bucket, 'UTC') as bucket, r.group_id, m.measure, unnest(m.histogram) as entry
    from observability_internal.latency_groups as g
    inner join observability_internal.latency_by_group as r on g.group_id = r.group_id
    cross join lateral (values (1, r.latency), (2, r.time_to_first)) as m (measure, histogram)
    where r.level = condense_groups.source and r.bucket >= condense_groups.from_time
      and r.bucket < condense_groups.to_time
  ),
  bins as (
    select e.bucket, e.group_id, e.measure, e.entry >> 44 as bin,
      sum((e.entry & 17592186044415)::double precision)::bigint as weight
    from entries as e
    group by e.bucket, e.group_id, e.measure, e.entry >> 44
  ),
  histograms as (
    select
      b.bucket, b.group_id, array_agg((b.bin << 44) + b.weight) filter (where b.measure = 1) as latency,
      array_agg((b.bin << 44) + b.weight) filter (where b.measure = 2) as first
    from bins as b
    group by b.bucket, b.group_id
  ),
  sums as (
    select
      date_trunc(condense_groups.target, r.bucket, 'UTC') as bucket, r.group_id, sum(r.requests)::bigint as requests,
      sum(r.errors)::bigint as errors, sum(r.prompt_tokens)::bigint as prompt_tokens,
      sum(r.completion_tokens)::bigint as completion_tokens, sum(r.cached_tokens)::bigint as cached_tokens,
      sum(r.reasoning_tokens)::bigint as reasoning_tokens, sum(r.unpriced_requests)::bigint as unpriced_requests,
      sum(r.cost) as cost
    from observability_internal.latency_by_group as r
    where r.level = condense_groups.source and r.group_id in (select g.group_id from observability_internal.latency_groups as g)
      and r.bucket >= condense_groups.from_time and r.bucket < condense_groups.to_time
    group by 1, r.group_id
  )
  insert into observability_internal.latency_by_group
  select
    condense_groups.target, bucket, group_id, h.latency, h.first, observability_internal.histogram_percentiles(h.latency),
    observability_internal.histogram_percentiles(h.first), n.requests, n.errors, n.prompt_tokens, n.completion_tokens,
    n.cached_tokens, n.reasoning_tokens, n.unpriced_requests, n.cost
  from sums as n
  left join histograms as h using (bucket, group_id);
end;
$$;

comment on function observability_internal.condense_groups is 'Merges the histograms of groups: days from hours, weeks from days.';
revoke execute on function observability_internal.condense_groups from public;
grant execute on function observability_internal.condense_groups to service_role;

-- Straight from the quarters of an hour, weeks too: which user has many calls is decided for each bucket by itself. Erased
-- people share one key that nobody's page reads, and a bucket that is still open is never read as a whole.
create function observability_internal.condense_busy_users(period text, from_time timestamptz, to_time timestamptz) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  delete from observability_internal.latency_by_user as r
  where r.level = condense_busy_users.period and r.bucket >= condense_busy_users.from_time
    and r.bucket < condense_busy_users.to_time;
  insert into observability_internal.latency_by_user (level, bucket, user_key, group_id, latency, time_to_first_token)
  with busy as materialized (
    select date_trunc(condense_busy_users.period, r.bucket, 'UTC') as start, r.user_key
    from observability_internal.usage_by_user as r
    inner join observability_internal.users as u using (user_key)
    where r.bucket >= condense_busy_users.from_time
      and r.bucket < least(condense_busy_users.to_time, date_trunc(condense_busy_users.period, now(), 'UTC'))
      and u.user_id <> observability_internal.forgotten_user()
    group by 1, r.user_key
    having count(*) >= case condense_busy_users.period when 'day' then 100 else 400 end
  ),
  entries as (
    select b.start, b.user_key, r.dim_id, e.measure, e.entry >> 44 as bin,
      sum((e.entry & 17592186044415)::double precision) as weight
    from busy as b
    inner join observability_internal.usage_by_user as r
      on b.user_key = r.user_key and r.bucket >= b.start
      and r.bucket < b.start + ('1 ' || condense_busy_users.period)::interval
    cross join lateral (
      select 1 as measure, unnest(r.latency) as entry
      union all
      select 2, unnest(r.time_to_first_token)
    ) as e
    group by b.start, b.user_key, r.dim_id, e.measure, e.entry >> 44
  ),
  bins as (
    select e.start, e.user_key, g.group_id, e.measure, e.bin, sum(e.weight)::bigint as weight
    from entries as e
    inner join observability_internal.dimensions as d using (dim_id)
    inner join observability_internal.latency_groups as g
      on g.kind = 'total' or (g.kind = 'model' and g.value = d.model) or (g.kind = 'feature' and g.value = d.feature)
      or (g.kind = 'environment' and g.value = d.environment) or (g.kind = 'status' and g.value = d.status)
    group by e.start, e.user_key, g.group_id, e.measure, e.bin
  )
  select
    condense_busy_users.period, b.start, b.user_key, b.group_id,
    array_agg((b.bin << 44) + b.weight) filter (where b.measure = 1),
    array_agg((b.bin << 44) + b.weight) filter (where b.measure = 2)
  from bins as b
  group by b.start, b.user_key, b.group_id
  order by b.start, b.user_key, b.group_id;
end;
$$;

comment on function observability_internal.condense_busy_users is 'Merges the histograms of the users with many calls, by days or weeks.';
revoke execute on function observability_internal.condense_busy_users from public;
grant execute on function observability_internal.condense_busy_users to service_role;
