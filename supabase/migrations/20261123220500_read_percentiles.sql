-- Purpose: percentiles of any range, from merged histograms where there are some, else from those by dimensions.
-- Locks: none.

create function observability_internal.group_histograms(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz, kind text, member_values text[],
  is_bucketed boolean
) returns table (bucket_start timestamptz, key text, latency bigint[], time_to_first bigint[])
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_bucket constant text := case when is_bucketed then scope.bucket end;
  v_step constant interval := observability_internal.minute_step(v_bucket);
  v_is_quarterly constant boolean := is_bucketed and scope.bucket = '15 minutes';
  v_is_by_route constant boolean := kind in ('requests', 'route');
  v_groups constant integer[] := array(
    select g.group_id from observability_internal.latency_groups as g
    where g.kind = group_histograms.kind and (member_values is null or g.value = any (member_values))
  );
  v_split observability_internal.range_split;
begin
  v_split := observability_internal.split_range(
    group_histograms.from_time, group_histograms.to_time, case when is_bucketed then scope.cuts else '{}' end,
    case when is_bucketed then 'day' else 'week' end
  );
  if v_is_quarterly then
    v_split.hours := v_split.hours || array(
      select g.hour from unnest(v_split.days) as d (day)
      cross join lateral generate_series(d.day, d.day + interval '23 hours', '1 hour') as g (hour)
    );
    v_split.days := '{}';
  end if;
  return query
  with cells as (
    select r.bucket, r.group_id, r.latency, r.time_to_first
    from observability_internal.latency_by_group as r
    where r.level = 'week' and r.bucket = any (v_split.weeks) and r.group_id = any (v_groups)
    union all
    select r.bucket, r.group_id, r.latency, r.time_to_first
    from observability_internal.latency_by_group as r
    where r.level = 'day' and r.bucket = any (v_split.days) and r.group_id = any (v_groups)
    union all
    select r.bucket, r.group_id, r.latency, r.time_to_first
    from observability_internal.latency_by_group as r
    where not v_is_quarterly and r.level = 'hour' and r.bucket = any (v_split.hours) and r.group_id = any (v_groups)
    union all
    select r.bucket, r.group_id, r.latency, r.time_to_first
    from unnest(v_split.hours) as h (hour)
    inner join observability_internal.latency_by_group as r
      on r.bucket >= h.hour and r.bucket < h.hour + interval '1 hour'
    where v_is_quarterly and r.level = 'quarter' and r.group_id = any (v_groups)
  )
  select
    coalesce(date_bin(v_step, c.bucket, '2000-01-01 00:00:00+00'), date_trunc(v_bucket, c.bucket, scope.timezone)), g.value,
    c.latency, c.time_to_first
  from cells as c
  inner join observability_internal.latency_groups as g using (group_id);
  -- What no coarse row holds is read by minute.
  if v_is_by_route then
    return query
    select
      coalesce(date_bin(v_step, r.bucket, '2000-01-01 00:00:00+00'), date_trunc(v_bucket, r.bucket, scope.timezone)),
      case kind when 'route' then d.method || ' ' || d.route else '' end, r.latency, r.time_to_first_byte
    from unnest(v_split.partial_hours) as p (hour)
    inner join observability_internal.performance_by_minute as r
      on r.bucket >= p.hour and r.bucket < p.hour + interval '1 hour'
    inner join observability_internal.route_dimensions as d using (route_id)
    where r.bucket >= group_histograms.from_time and r.bucket < group_histograms.to_time;
  else
    return query
    select
      coalesce(date_bin(v_step, r.bucket, '2000-01-01 00:00:00+00'), date_trunc(v_bucket, r.bucket, scope.timezone)),
      case kind when 'model' then d.model when 'feature' then d.feature when 'environment' then d.environment else '' end,
      r.latency, r.time_to_first_token
    from unnest(v_split.partial_hours) as p (hour)
    inner join observability_internal.usage_by_minute as r
      on r.bucket >= p.hour and r.bucket < p.hour + interval '1 hour'
    inner join observability_internal.dimensions as d using (dim_id)
    where r.bucket >= group_histograms.from_time and r.bucket < group_histograms.to_time
      and (scope.dims is null or r.dim_id = any (scope.dims));
  end if;
end;
$$;

comment on function observability_internal.group_histograms(observability_internal.read_scope, timestamptz, timestamptz, text, text[], boolean) is 'Merged histograms of the members of a kind (all where member_values is null).';

create function observability_internal.call_histograms(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz, key_name text, is_bucketed boolean
) returns table (bucket_start timestamptz, key text, latency bigint[], time_to_first bigint[])
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_bucket constant text := case when is_bucketed then scope.bucket end;
  v_step constant interval := observability_internal.minute_step(v_bucket);
  v_split observability_internal.range_split;
begin
  if scope.by_user then
    return query
    select
      coalesce(date_bin(v_step, c.bucket_start, '2000-01-01 00:00:00+00'), date_trunc(v_bucket, c.bucket_start, scope.timezone)),
      case key_name when 'model' then d.model when 'feature' then d.feature else '' end, c.latency, c.time_to_first_token
    from observability_internal.user_cells(scope, call_histograms.from_time, call_histograms.to_time) as c
    inner join observability_internal.dimensions as d using (dim_id);
    return;
  end if;
  v_split := observability_internal.split_range(
    call_histograms.from_time, call_histograms.to_time, case when is_bucketed then scope.cuts else '{}' end, 'day'
  );
  if is_bucketed and scope.bucket like '%minute%' then
    v_split.partial_hours := v_split.hours || v_split.partial_hours || array(
      select g.hour from unnest(v_split.days) as d (day)
      cross join lateral generate_series(d.day, d.day + interval '23 hours', '1 hour') as g (hour)
    );
    v_split.hours := '{}';
    v_split.days := '{}';
  end if;
  return query
  with cells as (
    select r.bucket, r.dim_id, r.latency, r.time_to_first_token
    from observability_internal.usage_by_day as r
    where r.bucket = any (v_split.days) and (scope.dims is null or r.dim_id = any (scope.dims))
    union all
    select r.bucket, r.dim_id, r.latency, r.time_to_first_token
    from observability_internal.usage_by_hour as r
    where r.bucket = any (v_split.hours) and (scope.dims is null or r.dim_id = any (scope.dims))
    union all
    select r.bucket, r.dim_id, r.latency, r.time_to_first_token
    from unnest(v_split.partial_hours) as p (hour)
    inner join observability_internal.usage_by_minute as r
      on r.bucket >= p.hour and r.bucket < p.hour + interval '1 hour'
    where r.bucket >= call_histograms.from_time and r.bucket < call_histograms.to_time
      and (scope.dims is null or r.dim_id = any (scope.dims))
  )
  select
    coalesce(date_bin(v_step, c.bucket, '2000-01-01 00:00:00+00'), date_trunc(v_bucket, c.bucket, scope.timezone)),
    case key_name when 'model' then d.model when 'feature' then d.feature else '' end, c.latency, c.time_to_first_token
  from cells as c
  inner join observability_internal.dimensions as d using (dim_id);
end;
$$;

comment on function observability_internal.call_histograms(observability_internal.read_scope, timestamptz, timestamptz, text, boolean) is 'Histograms of calls of a range by dimensions or user, keyed by model, feature or nothing.';

create function observability_internal.request_histograms(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz, key_name text, is_bucketed boolean
) returns table (bucket_start timestamptz, key text, latency bigint[], time_to_first bigint[])
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_bucket constant text := case when is_bucketed then scope.bucket end;
  v_step constant interval := observability_internal.minute_step(v_bucket);
  v_split observability_internal.range_split;
begin
  v_split := observability_internal.split_range(
    request_histograms.from_time, request_histograms.to_time, case when is_bucketed then scope.cuts else '{}' end, 'day'
  );
  if is_bucketed and scope.bucket like '%minute%' then
    v_split.partial_hours := v_split.hours || v_split.partial_hours || array(
      select g.hour from unnest(v_split.days) as d (day)
      cross join lateral generate_series(d.day, d.day + interval '23 hours', '1 hour') as g (hour)
    );
    v_split.hours := '{}';
    v_split.days := '{}';
  end if;
  return query
  with cells as (
    select r.* from observability_internal.performance_by_day as r where r.bucket = any (v_split.days)
    union all
    select r.* from observability_internal.performance_by_hour as r where r.bucket = any (v_split.hours)
    union all
    select r.*
    from unnest(v_split.partial_hours) as p (hour)
    inner join observability_internal.performance_by_minute as r
      on r.bucket >= p.hour and r.bucket < p.hour + interval '1 hour'
    where r.bucket >= request_histograms.from_time and r.bucket < request_histograms.to_time
  )
  select
    coalesce(date_bin(v_step, c.bucket, '2000-01-01 00:00:00+00'), date_trunc(v_bucket, c.bucket, scope.timezone)),
    case key_name when 'route' then d.method || ' ' || d.route else '' end, c.latency, c.time_to_first_byte
  from cells as c
  inner join observability_internal.route_dimensions as d using (route_id)
  where scope.environments is null or d.environment = any (scope.environments);
end;
$$;

comment on function observability_internal.request_histograms(observability_internal.read_scope, timestamptz, timestamptz, text, boolean) is 'Histograms of requests of a range by route, in the environments asked for.';

create function observability_internal.find_histograms(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz, key_name text, is_bucketed boolean
) returns table (bucket_start timestamptz, key text, latency bigint[], time_to_first bigint[])
language plpgsql
stable
security invoker
set search_path = ''
rows 500
as $$
declare
  v_kind constant text := case
    when key_name in ('requests', 'route') then case when scope.environments is null then key_name end
    when scope.by_user then null
    -- Minutes are not merged, and quarters of an hour only for the total.
    when is_bucketed and scope.bucket in ('minute', '5 minutes') then null
    when is_bucketed and scope.bucket = '15 minutes' and scope.group_kind is distinct from 'total' then null
    when key_name = 'total' or key_name = scope.group_kind then scope.group_kind
    when scope.group_kind = 'total' then key_name
  end;
begin
  if key_name in ('requests', 'route') and is_bucketed and scope.bucket in ('minute', '5 minutes') or v_kind is null then
    if key_name in ('requests', 'route') then
      return query
      select * from observability_internal.request_histograms(
        scope, find_histograms.from_time, find_histograms.to_time, key_name, is_bucketed
      );
    else
      return query
      select * from observability_internal.call_histograms(
        scope, find_histograms.from_time, find_histograms.to_time, key_name, is_bucketed
      );
    end if;
  else
    return query
    select
      g.bucket_start, case when key_name in ('total', 'requests') then '' else g.key end, g.latency, g.time_to_first
    from observability_internal.group_histograms(
      scope, find_histograms.from_time, find_histograms.to_time, v_kind,
      case when v_kind = scope.group_kind then scope.group_values end, is_bucketed
    ) as g;
  end if;
end;
$$;

comment on function observability_internal.find_histograms(observability_internal.read_scope, timestamptz, timestamptz, text, boolean) is 'The fewest histograms that answer: key_name is total, model or feature for calls, requests or route for requests.';

create function observability_internal.percentiles(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz, key_name text,
  is_bucketed boolean, has_first boolean
) returns table (
  bucket_start timestamptz, key text, latency_count double precision, latency_p50 double precision,
  latency_p90 double precision, latency_p99 double precision, first_count double precision,
  first_p50 double precision, first_p90 double precision, first_p99 double precision
)
language sql
stable
security invoker
set search_path = ''
as $$
  with found as materialized (
    select h.bucket_start, h.key collate "C" as key, h.latency, h.time_to_first
    from observability_internal.find_histograms(
      scope, percentiles.from_time, percentiles.to_time, key_name, is_bucketed
    ) as h
  ),
  entries as (
    select f.bucket_start, f.key, 1 as measure, unnest(f.latency) as entry from found as f
    union all
    select f.bucket_start, f.key, 2, unnest(f.time_to_first) from found as f where has_first
  ),
  bins as (
    select e.bucket_start, e.key, e.measure, (e.entry >> 44)::integer as bin,
      sum((e.entry & 17592186044415)::double precision) / 1024 as weight
    from entries as e
    group by e.bucket_start, e.key, e.measure, (e.entry >> 44)::integer
  ),
  seen as (
    select
      b.bucket_start, b.key, b.measure, b.bin,
      sum(b.weight) over (partition by b.bucket_start, b.key, b.measure order by b.bin) as seen,
      sum(b.weight) over (partition by b.bucket_start, b.key, b.measure) as total
    from bins as b
  ),
  -- As percentile_cont does: between the values of rank floor(r) and ceil(r), r = q * (n - 1).
  ends as (
    select
      s.bucket_start, s.key, s.measure, min(s.total) as total, max(s.bin) as last,
      min(s.bin) filter (where s.seen > floor(greatest(0.5 * (s.total - 1), 0))) as low50,
      min(s.bin) filter (where s.seen > ceil(greatest(0.5 * (s.total - 1), 0))) as high50,
      min(s.bin) filter (where s.seen > floor(greatest(0.9 * (s.total - 1), 0))) as low90,
      min(s.bin) filter (where s.seen > ceil(greatest(0.9 * (s.total - 1), 0))) as high90,
      min(s.bin) filter (where s.seen > floor(greatest(0.99 * (s.total - 1), 0))) as low99,
      min(s.bin) filter (where s.seen > ceil(greatest(0.99 * (s.total - 1), 0))) as high99
    from seen as s
    group by s.bucket_start, s.key, s.measure
  ),
  figures as (
    select
      n.bucket_start, n.key, n.measure, n.total,
      0.99 * exp((n.low50 - 400) * 0.020000666706669435)
      + (greatest(0.5 * (n.total - 1), 0) - floor(greatest(0.5 * (n.total - 1), 0)))
      * 0.99 * (exp((coalesce(n.high50, n.last) - 400) * 0.020000666706669435) - exp((n.low50 - 400) * 0.020000666706669435)) as p50,
      0.99 * exp((n.low90 - 400) * 0.020000666706669435)
      + (greatest(0.9 * (n.total - 1), 0) - floor(greatest(0.9 * (n.total - 1), 0)))
      * 0.99 * (exp((coalesce(n.high90, n.last) - 400) * 0.020000666706669435) - exp((n.low90 - 400) * 0.020000666706669435)) as p90,
      0.99 * exp((n.low99 - 400) * 0.020000666706669435)
      + (greatest(0.99 * (n.total - 1), 0) - floor(greatest(0.99 * (n.total - 1), 0)))
      * 0.99 * (exp((coalesce(n.high99, n.last) - 400) * 0.020000666706669435) - exp((n.low99 - 400) * 0.020000666706669435)) as p99
    from ends as n
  )
  select
    f.bucket_start, f.key, max(f.total) filter (where f.measure = 1), max(f.p50) filter (where f.measure = 1),
    max(f.p90) filter (where f.measure = 1), max(f.p99) filter (where f.measure = 1),
    max(f.total) filter (where f.measure = 2), max(f.p50) filter (where f.measure = 2),
    max(f.p90) filter (where f.measure = 2), max(f.p99) filter (where f.measure = 2)
  from figures as f
  group by f.bucket_start, f.key;
$$;

comment on function observability_internal.percentiles(observability_internal.read_scope, timestamptz, timestamptz, text, boolean, boolean) is 'Counts and percentiles (ms) by key and bucket; those of the time to first token or byte where has_first.';
