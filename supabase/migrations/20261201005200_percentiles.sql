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
      case kind
        when 'model' then d.model when 'feature' then d.feature when 'environment' then d.environment when 'status' then d.status
        else ''
      end,
      r.latency, r.time_to_first_token,
      null::double precision[], null::double precision[]
    from observability_internal.minutes_at(v_split.minutes, true) as r
    inner join observability_internal.dimensions as d using (dim_id)
    where scope.dims is null or r.dim_id = any (scope.dims);
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
      case key_name when 'model' then d.model when 'feature' then d.feature when 'dimension' then d.dim_id::text else '' end,
      c.latency, c.time_to_first_token,
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
    from observability_internal.minutes_at(v_split.minutes, true) as r
    where scope.dims is null or r.dim_id = any (scope.dims)
  )
  select
    coalesce(date_bin(v_step, c.bucket, '2000-01-01 00:00:00+00'), date_trunc(v_bucket, c.bucket, scope.timezone)),
    case key_name when 'model' then d.model when 'feature' then d.feature when 'dimension' then d.dim_id::text else '' end,
    c.latency, c.time_to_first_token,
      null::double precision[], null::double precision[]
  from cells as c
  inner join observability_internal.dimensions as d using (dim_id);
end;
$$;

comment on function observability_internal.call_histograms is
'Histograms of calls of a range by dimensions or user, keyed by model, feature, dimensions or nothing.';
revoke execute on function observability_internal.call_histograms from public;
grant execute on function observability_internal.call_histograms to authenticated, service_role;

create function observability_internal.quarter_histograms(
  scope observability_internal.read_scope, user_keys integer[], span tstzrange, key_name text, is_bucketed boolean
) returns setof observability_internal.found_histogram
language plpgsql
stable
security invoker
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
declare
  v_bucket constant text := case when is_bucketed then scope.bucket end;
  v_timezone constant text := scope.timezone;
  v_dims constant integer[] := scope.dims;
begin
  return query
  select
    date_trunc(v_bucket, r.bucket, v_timezone),
    case key_name when 'model' then d.model when 'feature' then d.feature else '' end, r.latency, r.time_to_first_token,
    null::double precision[], null::double precision[]
  from observability_internal.usage_by_user as r
  inner join observability_internal.dimensions as d using (dim_id)
  where r.user_key = any (quarter_histograms.user_keys) and r.bucket >= lower(span) and r.bucket < upper(span)
    and (v_dims is null or r.dim_id = any (v_dims));
end;
$$;

comment on function observability_internal.quarter_histograms is 'Histograms of some users by quarter of an hour, in buckets from an hour up.';
revoke execute on function observability_internal.quarter_histograms from public;
grant execute on function observability_internal.quarter_histograms to authenticated, service_role;

create type observability_internal.kept_bucket as (user_key integer, level text, bucket timestamptz);

create function observability_internal.user_histograms(
  scope observability_internal.read_scope, span tstzrange, kind text, member_values text[], key_name text,
  is_bucketed boolean
) returns setof observability_internal.found_histogram
language plpgsql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_split constant observability_internal.range_split := observability_internal.split_range(
    lower(span), upper(span), case when is_bucketed then scope.cuts else '{}' end,
    case when is_bucketed then 'day' else 'week' end
  );
  v_total constant integer := (select g.group_id from observability_internal.latency_groups as g where g.kind = 'total');
  v_kept observability_internal.kept_bucket[];
begin
  -- All keys at once: a tenant or a tag has thousands. Weeks where a user has them, days elsewhere; a week that is condensed has
  -- condensed days.
  with found as materialized (
    select r.user_key, r.level, r.bucket
    from observability_internal.latency_by_user as r
    where r.user_key = any (scope.user_keys) and r.group_id = v_total and (
      (r.level = 'week' and r.bucket = any (v_split.weeks))
      or (r.level = 'day' and (r.bucket = any (v_split.days) or date_trunc('week', r.bucket) = any (v_split.weeks)))
    )
  )
  select array_agg(row(f.user_key, f.level, f.bucket)::observability_internal.kept_bucket) into v_kept
  from found as f
  where f.level = 'week' or not exists (
    select from found as w
    where w.user_key = f.user_key and w.level = 'week' and w.bucket = date_trunc('week', f.bucket)
  );
  if v_kept is null then
    return query select * from observability_internal.quarter_histograms(scope, scope.user_keys, span, key_name, is_bucketed);
    return;
  end if;
  return query
  select
    date_trunc(case when is_bucketed then scope.bucket end, r.bucket, scope.timezone), g.value, r.latency,
    r.time_to_first_token, null::double precision[], null::double precision[]
  from unnest(v_kept) as k
  inner join observability_internal.latency_by_user as r using (user_key, level, bucket)
  inner join observability_internal.latency_groups as g using (group_id)
  where g.kind = user_histograms.kind and (member_values is null or g.value = any (member_values));
  return query
  select
    date_trunc(case when is_bucketed then scope.bucket end, q.bucket, scope.timezone),
    case key_name when 'model' then d.model when 'feature' then d.feature else '' end, q.latency, q.time_to_first_token,
    null::double precision[], null::double precision[]
  from (
    select k.user_key, unnest(
      tstzmultirange(span) - range_agg(tstzrange(k.bucket, k.bucket + ('1 ' || k.level)::interval))
    ) as rest
    from unnest(v_kept) as k
    group by k.user_key
  ) as n
  cross join lateral (
    select r.bucket, r.dim_id, r.latency, r.time_to_first_token
    from observability_internal.usage_by_user as r
    where r.user_key = n.user_key and r.bucket >= lower(n.rest) and r.bucket < upper(n.rest)
      and (scope.dims is null or r.dim_id = any (scope.dims))
  ) as q
  inner join observability_internal.dimensions as d using (dim_id);
  return query select * from observability_internal.quarter_histograms(
    scope, array(select unnest(scope.user_keys) except select k.user_key from unnest(v_kept) as k), span, key_name, is_bucketed
  );
end;
$$;

comment on function observability_internal.user_histograms is
'Histograms of chosen users: merged weeks and days where a user has them, quarters of an hour elsewhere.';
revoke execute on function observability_internal.user_histograms from public;
grant execute on function observability_internal.user_histograms to authenticated, service_role;

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

create function observability_internal.histogram_kind(
  scope observability_internal.read_scope, key_name text, is_bucketed boolean
) returns text
language sql
stable
security invoker
set search_path = ''
as $$
  select case
    when key_name in ('requests', 'route') then case when (scope).environments is null then key_name end
    -- Users have no merged quarters of an hour, and what has some metadata is not merged at all.
    when (scope).by_user and ((scope).user_keys is null or (scope).metadata is not null) then null
    when (scope).by_user and is_bucketed and (scope).bucket = '15 minutes' then null
    -- Minutes are not merged, and quarters of an hour only for the total.
    when is_bucketed and (scope).bucket in ('minute', '5 minutes') then null
    when is_bucketed and (scope).bucket = '15 minutes' and (scope).group_kind is distinct from 'total' then null
    when key_name = 'total' or key_name = (scope).group_kind then (scope).group_kind
    when (scope).group_kind = 'total' then key_name
  end;
$$;

comment on function observability_internal.histogram_kind is 'The kind of merged histograms that answer; null where none do.';
revoke execute on function observability_internal.histogram_kind from public;
grant execute on function observability_internal.histogram_kind to authenticated, service_role;

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
  v_kind constant text := observability_internal.histogram_kind(scope, find_histograms.key_name, find_histograms.is_bucketed);
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
  elsif scope.by_user and key_name not in ('requests', 'route') then
    return query
    select h.bucket_start, case when key_name = 'total' then '' else h.key end, h.latency, h.time_to_first, h.latency_percentiles, h.first_percentiles
    from observability_internal.user_histograms(
      scope, tstzrange(find_histograms.from_time, find_histograms.to_time), v_kind,
      case when v_kind = scope.group_kind then scope.group_values end, key_name, is_bucketed
    ) as h;
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
