-- Percentiles of any range, from merged histograms where there are some, else from those by dimensions.
-- Locks: none; it only creates.

create type observability_internal.found_histogram as (
  bucket_start timestamptz,
  key text,
  latency bigint[],
  time_to_first bigint[],
  latency_percentiles double precision[],
  first_percentiles double precision[]
);

comment on type observability_internal.found_histogram is
'A part of the histogram of a bucket and key; with its percentiles where they are kept, which are the answer if it is'
' the only part.';

create function observability_internal.group_histograms(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz, kind text, member_values text[],
  is_bucketed boolean
) returns setof observability_internal.found_histogram
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
  v_quarters timestamptz[];
begin
  v_split := observability_internal.split_range(
    group_histograms.from_time, group_histograms.to_time, case when is_bucketed then scope.cuts else '{}' end,
    case when v_is_quarterly then 'hour' when is_bucketed then 'day' else 'week' end
  );
  v_quarters := observability_internal.kept_quarters(
    v_split, group_histograms.from_time, group_histograms.to_time, kind in ('total', 'requests'), v_is_quarterly
  );
  v_split.minutes := observability_internal.minutes_between(v_split.minutes, v_quarters);
  return query
  with cells as (
    select r.bucket, r.group_id, r.latency, r.time_to_first, r.latency_percentiles, r.first_percentiles
    from observability_internal.latency_by_group as r
    where r.level = 'week' and r.bucket = any (v_split.weeks) and r.group_id = any (v_groups)
    union all
    select r.bucket, r.group_id, r.latency, r.time_to_first, r.latency_percentiles, r.first_percentiles
    from observability_internal.latency_by_group as r
    where r.level = 'day' and r.bucket = any (v_split.days) and r.group_id = any (v_groups)
    union all
    select r.bucket, r.group_id, r.latency, r.time_to_first, r.latency_percentiles, r.first_percentiles
    from observability_internal.latency_by_group as r
    where not v_is_quarterly and r.level = 'hour' and r.bucket = any (v_split.hours) and r.group_id = any (v_groups)
    union all
    select r.bucket, r.group_id, r.latency, r.time_to_first, r.latency_percentiles, r.first_percentiles
    from observability_internal.latency_by_group as r
    where r.level = 'quarter' and r.bucket = any (v_quarters) and r.group_id = any (v_groups)
  )
  select
    coalesce(date_bin(v_step, c.bucket, '2000-01-01 00:00:00+00'), date_trunc(v_bucket, c.bucket, scope.timezone)), g.value,
    c.latency, c.time_to_first, c.latency_percentiles, c.first_percentiles
  from cells as c
  inner join observability_internal.latency_groups as g using (group_id);
  -- What no coarse row holds is read by minute.
  if v_is_by_route then
    return query
    select
      coalesce(date_bin(v_step, r.bucket, '2000-01-01 00:00:00+00'), date_trunc(v_bucket, r.bucket, scope.timezone)),
      case kind when 'route' then d.method || ' ' || d.route else '' end, r.latency, r.time_to_first_byte,
      null::double precision[], null::double precision[]
    from observability_internal.performance_by_minute as r
    inner join observability_internal.route_dimensions as d using (route_id)
    where r.bucket = any (v_split.minutes);
  else
    return query
    select
      coalesce(date_bin(v_step, r.bucket, '2000-01-01 00:00:00+00'), date_trunc(v_bucket, r.bucket, scope.timezone)),
      case kind when 'model' then d.model when 'feature' then d.feature when 'environment' then d.environment else '' end,
      r.latency, r.time_to_first_token,
      null::double precision[], null::double precision[]
    from observability_internal.usage_by_minute as r
    inner join observability_internal.dimensions as d using (dim_id)
    where r.bucket = any (v_split.minutes) and (scope.dims is null or r.dim_id = any (scope.dims));
  end if;
end;
$$;

comment on function observability_internal.group_histograms is 'Merged histograms of the members of a kind (all where member_values is null).';
revoke execute on function observability_internal.group_histograms from public;
grant execute on function observability_internal.group_histograms to authenticated, service_role;

create function observability_internal.call_histograms(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz, key_name text, is_bucketed boolean
) returns setof observability_internal.found_histogram
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
      case key_name when 'model' then d.model when 'feature' then d.feature else '' end, c.latency, c.time_to_first_token,
      null::double precision[], null::double precision[]
    from observability_internal.user_cells(scope, call_histograms.from_time, call_histograms.to_time, true) as c
    inner join observability_internal.dimensions as d using (dim_id);
    return;
  end if;
  v_split := observability_internal.split_range(
    call_histograms.from_time, call_histograms.to_time, case when is_bucketed then scope.cuts else '{}' end,
    case when v_step is not null then 'minute' else 'day' end
  );
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
    from observability_internal.usage_by_minute as r
    where r.bucket = any (v_split.minutes) and (scope.dims is null or r.dim_id = any (scope.dims))
  )
  select
    coalesce(date_bin(v_step, c.bucket, '2000-01-01 00:00:00+00'), date_trunc(v_bucket, c.bucket, scope.timezone)),
    case key_name when 'model' then d.model when 'feature' then d.feature else '' end, c.latency, c.time_to_first_token,
      null::double precision[], null::double precision[]
  from cells as c
  inner join observability_internal.dimensions as d using (dim_id);
end;
$$;

comment on function observability_internal.call_histograms is 'Histograms of calls of a range by dimensions or user, keyed by model, feature or nothing.';
revoke execute on function observability_internal.call_histograms from public;
grant execute on function observability_internal.call_histograms to authenticated, service_role;

create function observability_internal.request_histograms(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz, key_name text, is_bucketed boolean
) returns setof observability_internal.found_histogram
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
    request_histograms.from_time, request_histograms.to_time, case when is_bucketed then scope.cuts else '{}' end,
    case when v_step is not null then 'minute' else 'day' end
  );
  return query
  with cells as (
    select r.* from observability_internal.performance_by_day as r where r.bucket = any (v_split.days)
    union all
    select r.* from observability_internal.performance_by_hour as r where r.bucket = any (v_split.hours)
    union all
    select r.* from observability_internal.performance_by_minute as r where r.bucket = any (v_split.minutes)
  )
  select
    coalesce(date_bin(v_step, c.bucket, '2000-01-01 00:00:00+00'), date_trunc(v_bucket, c.bucket, scope.timezone)),
    case key_name when 'route' then d.method || ' ' || d.route else '' end, c.latency, c.time_to_first_byte,
      null::double precision[], null::double precision[]
  from cells as c
  inner join observability_internal.route_dimensions as d using (route_id)
  where scope.environments is null or d.environment = any (scope.environments);
end;
$$;

comment on function observability_internal.request_histograms is 'Histograms of requests of a range by route, in the environments asked for.';
revoke execute on function observability_internal.request_histograms from public;
grant execute on function observability_internal.request_histograms to authenticated, service_role;

create function observability_internal.find_histograms(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz, key_name text, is_bucketed boolean
) returns setof observability_internal.found_histogram
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
      g.bucket_start, case when key_name in ('total', 'requests') then '' else g.key end, g.latency, g.time_to_first,
      g.latency_percentiles, g.first_percentiles
    from observability_internal.group_histograms(
      scope, find_histograms.from_time, find_histograms.to_time, v_kind,
      case when v_kind = scope.group_kind then scope.group_values end, is_bucketed
    ) as g;
  end if;
end;
$$;

comment on function observability_internal.find_histograms is
'The fewest histograms that answer: key_name is total, model or feature for calls, requests or route for requests.';
revoke execute on function observability_internal.find_histograms from public;
grant execute on function observability_internal.find_histograms to authenticated, service_role;

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
    select
      coalesce(h.bucket_start, '-infinity') as bucket_start, h.key collate "C" as key, h.latency, h.time_to_first,
      h.latency_percentiles, h.first_percentiles
    from observability_internal.find_histograms(
      scope, percentiles.from_time, percentiles.to_time, key_name, is_bucketed
    ) as h
  ),
  parts as materialized (
    select
      (row_number() over ())::integer as part, f.bucket_start, f.key,
      count(*) = 1 and num_nulls(min(f.latency_percentiles), min(f.first_percentiles)) < 2 as is_kept,
      min(f.latency_percentiles) as latency_percentiles, min(f.first_percentiles) as first_percentiles
    from found as f
    group by f.bucket_start, f.key
  ),
  merging as materialized (
    select p.part, f.latency, f.time_to_first
    from found as f
    inner join parts as p using (bucket_start, key)
    where not p.is_kept
  ),
  -- One number for part, measure and bin: grouping and sorting by it is what takes the time.
  entries as (
    select m.part * 4096 as code, unnest(m.latency) as entry from merging as m
    union all
    select m.part * 4096 + 2048, unnest(m.time_to_first) from merging as m where has_first
  ),
  bins as (
    select e.code + (e.entry >> 44)::integer as code, sum((e.entry & 17592186044415)::double precision) / 1024 as weight
    from entries as e
    group by e.code + (e.entry >> 44)::integer
  ),
  seen as (
    select
      b.code / 2048 as histogram, b.code % 2048 as bin,
      sum(b.weight) over (partition by b.code / 2048 order by b.code rows unbounded preceding) as seen
    from bins as b
  ),
  -- As percentile_cont does: between the values of rank floor(r) and ceil(r), r = q * (n - 1).
  totals as (
    select
      s.histogram, max(s.seen) as total, greatest(0.5 * (max(s.seen) - 1), 0) as rank50,
      greatest(0.9 * (max(s.seen) - 1), 0) as rank90, greatest(0.99 * (max(s.seen) - 1), 0) as rank99
    from seen as s
    group by s.histogram
  ),
  ends as (
    select
      t.histogram, t.total, t.rank50, t.rank90, t.rank99, max(s.bin) as last,
      min(s.bin) filter (where s.seen > floor(t.rank50)) as low50, min(s.bin) filter (where s.seen > ceil(t.rank50)) as high50,
      min(s.bin) filter (where s.seen > floor(t.rank90)) as low90, min(s.bin) filter (where s.seen > ceil(t.rank90)) as high90,
      min(s.bin) filter (where s.seen > floor(t.rank99)) as low99, min(s.bin) filter (where s.seen > ceil(t.rank99)) as high99
    from totals as t
    inner join seen as s using (histogram)
    group by t.histogram, t.total, t.rank50, t.rank90, t.rank99
  ),
  figures as (
    select
      n.histogram, n.total,
      0.99 * exp((n.low50 - 400) * 0.020000666706669435) + (n.rank50 - floor(n.rank50))
      * 0.99 * (exp((coalesce(n.high50, n.last) - 400) * 0.020000666706669435) - exp((n.low50 - 400) * 0.020000666706669435)) as p50,
      0.99 * exp((n.low90 - 400) * 0.020000666706669435) + (n.rank90 - floor(n.rank90))
      * 0.99 * (exp((coalesce(n.high90, n.last) - 400) * 0.020000666706669435) - exp((n.low90 - 400) * 0.020000666706669435)) as p90,
      0.99 * exp((n.low99 - 400) * 0.020000666706669435) + (n.rank99 - floor(n.rank99))
      * 0.99 * (exp((coalesce(n.high99, n.last) - 400) * 0.020000666706669435) - exp((n.low99 - 400) * 0.020000666706669435)) as p99
    from ends as n
  )
  select
    nullif(p.bucket_start, '-infinity'), p.key, l.total, l.p50, l.p90, l.p99, t.total, t.p50, t.p90, t.p99
  from parts as p
  left join figures as l on l.histogram = p.part * 2
  left join figures as t on t.histogram = p.part * 2 + 1
  where not p.is_kept
  union all
  select
    nullif(p.bucket_start, '-infinity'), p.key, p.latency_percentiles[1], p.latency_percentiles[2],
    p.latency_percentiles[3], p.latency_percentiles[4], p.first_percentiles[1], p.first_percentiles[2],
    p.first_percentiles[3], p.first_percentiles[4]
  from parts as p
  where p.is_kept;
$$;

comment on function observability_internal.percentiles is
'Counts and percentiles (ms) by key and bucket; those of the time to first token or byte where has_first.';
revoke execute on function observability_internal.percentiles from public;
grant execute on function observability_internal.percentiles to authenticated, service_role;
