-- Reads what a page needs of the cells: sums by dimensions and points by bucket, each once.
-- Locks: none; it only creates.

create type observability_internal.usage_point as (
  bucket_start timestamptz,
  key text,
  requests numeric,
  errors numeric,
  prompt_tokens numeric,
  completion_tokens numeric,
  cached_tokens numeric,
  reasoning_tokens numeric,
  cost numeric,
  unpriced_requests numeric
);

create type observability_internal.usage_figures as (
  sums observability_internal.usage_sum[],
  points observability_internal.usage_point[]
);

comment on type observability_internal.usage_figures is
'What a page needs of the cells: sums by dimensions of the period and of the one before, and points by bucket and '
'key.';

create function observability_internal.is_attributed(group_by text) returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
  select group_by in ('user_id', 'tenant_id') or group_by like 'tags.%';
$$;

comment on function observability_internal.is_attributed is 'Whether figures by this are those of users: by user, tenant or tag.';
revoke execute on function observability_internal.is_attributed from public;
grant execute on function observability_internal.is_attributed to authenticated, service_role;

create function observability_internal.read_user_cells(scope observability_internal.read_scope, group_by text)
returns observability_internal.usage_figures
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_sums observability_internal.usage_sum[];
  v_points observability_internal.usage_point[];
begin
  execute format(
    $sql$
    with cells as materialized (
      select true as is_current, c.*
      from observability_internal.usage_cells($1, ($1).from_time, ($1).to_time, true) as c
      union all
      select false, c.*
      from observability_internal.usage_cells($1, ($1).previous_from, ($1).from_time, false) as c
    ),
    sums as (
      select c.is_current, c.dim_id, %s
      from cells as c
      group by c.is_current, c.dim_id
    ),
    points as (
      select
        c.bucket_start,
        case $2
          when 'model' then d.model when 'feature' then d.feature when 'provider' then d.provider
          when 'environment' then d.environment when 'operation' then d.operation when 'status' then d.status
          when 'user_id' then u.user_id when 'tenant_id' then a.tenant_id
          else case when $2 like 'tags.%%' then coalesce(a.tags ->> substr($2, 6), '') end
        end as key,
        sum(c.requests), coalesce(sum(c.requests) filter (where d.status = 'error'), 0), sum(c.prompt_tokens),
        sum(c.completion_tokens), sum(c.cached_tokens), sum(c.reasoning_tokens), sum(c.cost),
        sum(c.unpriced_requests + c.fallback_requests)
      from cells as c
      inner join observability_internal.dimensions as d using (dim_id)
      left join observability_internal.users as u on observability_internal.is_attributed($2) and c.user_key = u.user_key
      left join observability_internal.attributions as a on u.attribution_id = a.attribution_id
      where c.is_current
      group by 1, 2
    )
    select
      array(select row(s.*)::observability_internal.usage_sum from sums as s),
      array(select row(p.*)::observability_internal.usage_point from points as p)
    $sql$,
    observability_internal.each_sum('sum(c.%1$I)')
  ) into v_sums, v_points using scope, read_user_cells.group_by;
  return row(v_sums, v_points)::observability_internal.usage_figures;
end;
$$;

comment on function observability_internal.read_user_cells is 'Figures of some users, or of calls with some metadata.';
revoke execute on function observability_internal.read_user_cells from public;
grant execute on function observability_internal.read_user_cells to authenticated, service_role;

create function observability_internal.read_sums(scope observability_internal.read_scope)
returns observability_internal.usage_sum[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_now constant observability_internal.range_split := observability_internal.split_range(
    scope.from_time, scope.to_time, '{}', 'day'
  );
  v_before constant observability_internal.range_split := observability_internal.split_range(
    scope.previous_from, scope.from_time, '{}', 'day'
  );
  v_sums observability_internal.usage_sum[];
begin
  execute format(
    $sql$
    with cells as (
      select true as is_current, r.* from observability_internal.usage_by_day as r where r.bucket = any ($1)
      union all
      select true, r.* from observability_internal.usage_by_hour as r where r.bucket = any ($2)
      union all
      select true, r.* from observability_internal.minutes_at($3, false) as r
      union all
      select false, r.* from observability_internal.usage_by_day as r where r.bucket = any ($4)
      union all
      select false, r.* from observability_internal.usage_by_hour as r where r.bucket = any ($5)
      union all
      select false, r.* from observability_internal.minutes_at($6, false) as r
    )
    select array(
      select row(c.is_current, c.dim_id, %s)::observability_internal.usage_sum
      from cells as c
      where $7 is null or c.dim_id = any ($7)
      group by c.is_current, c.dim_id
    )
    $sql$,
    observability_internal.each_sum('coalesce(sum(c.%1$I), 0)')
  ) into v_sums using v_now.days, v_now.hours, v_now.minutes, v_before.days, v_before.hours, v_before.minutes, scope.dims;
  return v_sums;
end;
$$;

comment on function observability_internal.read_sums is 'Sums by dimensions of the period and of the one before, from the coarsest levels that hold them.';
revoke execute on function observability_internal.read_sums from public;
grant execute on function observability_internal.read_sums to authenticated, service_role;

-- What the points of a page come from: `kind` is that of the kept sums of groups, null where there are none for it.
create type observability_internal.point_source as (
  kind text,
  group_by text,
  split observability_internal.range_split,
  quarters timestamptz[],
  minutes timestamptz[]
);

create function observability_internal.choose_points(scope observability_internal.read_scope, group_by text)
returns observability_internal.point_source
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  -- Buckets below an hour are the same on every clock.
  v_step constant interval := observability_internal.minute_step(scope.bucket);
  v_source observability_internal.point_source;
begin
  v_source.group_by := choose_points.group_by;
  -- Of all calls, and by model, feature, environment or status, the sums are kept beside the histograms.
  v_source.kind := case
    when scope.bucket in ('minute', '5 minutes') then null
    when scope.bucket = '15 minutes' and (choose_points.group_by is not null or scope.group_kind is distinct from 'total') then null
    when choose_points.group_by is null or choose_points.group_by = scope.group_kind then scope.group_kind
    when scope.group_kind = 'total' and choose_points.group_by in ('model', 'feature', 'environment', 'status') then choose_points.group_by
  end;
  v_source.split := observability_internal.split_range(
    scope.from_time, scope.to_time, scope.cuts,
    case when v_step is null then 'day' when v_source.kind is null then 'minute' else 'hour' end
  );
  v_source.quarters := observability_internal.kept_quarters(
    v_source.split, scope.from_time, scope.to_time, v_source.kind = 'total', v_step is not null
  );
  v_source.minutes := observability_internal.minutes_between((v_source.split).minutes, v_source.quarters);
  return v_source;
end;
$$;

comment on function observability_internal.choose_points is 'Which levels the points of a page come from.';
revoke execute on function observability_internal.choose_points from public;
grant execute on function observability_internal.choose_points to authenticated, service_role;

create function observability_internal.dimension_points(
  scope observability_internal.read_scope, source observability_internal.point_source
) returns setof observability_internal.usage_point
language plpgsql
stable
security invoker
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
declare
  v_step constant interval := observability_internal.minute_step(scope.bucket);
  v_bucket constant text := scope.bucket;
  v_timezone constant text := scope.timezone;
  v_dims constant integer[] := scope.dims;
  v_group_by constant text := source.group_by;
  v_days constant timestamptz[] := case when source.kind is null then (source.split).days else '{}' end;
  v_hours constant timestamptz[] := case when source.kind is null then (source.split).hours else '{}' end;
  v_minutes constant timestamptz[] := source.minutes;
begin
  return query
  with cells as (
    select
      r.bucket, r.dim_id, r.requests, r.prompt_tokens, r.completion_tokens, r.cached_tokens, r.reasoning_tokens,
      r.cost, coalesce(r.unpriced_requests, 0) + coalesce(r.fallback_requests, 0) as unpriced_requests
    from observability_internal.usage_by_day as r where r.bucket = any (v_days)
    union all
    select
      r.bucket, r.dim_id, r.requests, r.prompt_tokens, r.completion_tokens, r.cached_tokens, r.reasoning_tokens,
      r.cost, coalesce(r.unpriced_requests, 0) + coalesce(r.fallback_requests, 0) as unpriced_requests
    from observability_internal.usage_by_hour as r where r.bucket = any (v_hours)
    union all
    select
      r.bucket, r.dim_id, r.requests, r.prompt_tokens, r.completion_tokens, r.cached_tokens, r.reasoning_tokens,
      r.cost, coalesce(r.unpriced_requests, 0) + coalesce(r.fallback_requests, 0) as unpriced_requests
    from observability_internal.minutes_at(v_minutes, false) as r
  ),
  -- Truncated once a bucket, not once a row.
  starts as materialized (
    select
      b.bucket,
      coalesce(date_bin(v_step, b.bucket, '2000-01-01 00:00:00+00'), date_trunc(v_bucket, b.bucket, v_timezone)) as bucket_start
    from unnest(v_days || v_hours || v_minutes) as b (bucket)
    group by b.bucket
  ),
  named as materialized (
    select
      d.dim_id, d.status = 'error' as is_error,
      case v_group_by
        when 'model' then d.model when 'feature' then d.feature when 'provider' then d.provider
        when 'environment' then d.environment when 'operation' then d.operation when 'status' then d.status
      end as key
    from observability_internal.dimensions as d
    where v_dims is null or d.dim_id = any (v_dims)
  )
  select
    s.bucket_start, n.key, sum(c.requests), coalesce(sum(c.requests) filter (where n.is_error), 0), sum(c.prompt_tokens),
    sum(c.completion_tokens), coalesce(sum(c.cached_tokens), 0), coalesce(sum(c.reasoning_tokens), 0), sum(c.cost),
    coalesce(sum(c.unpriced_requests), 0)
  from cells as c
  inner join starts as s using (bucket)
  inner join named as n using (dim_id)
  group by s.bucket_start, n.key;
end;
$$;

comment on function observability_internal.dimension_points is
'Points from the levels by dimensions: of minutes and, where no sums of groups are kept, of hours and days.';
revoke execute on function observability_internal.dimension_points from public;
grant execute on function observability_internal.dimension_points to authenticated, service_role;

create function observability_internal.group_points(
  scope observability_internal.read_scope, source observability_internal.point_source
) returns setof observability_internal.usage_point
language plpgsql
stable
security invoker
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
declare
  v_step constant interval := observability_internal.minute_step(scope.bucket);
  v_bucket constant text := scope.bucket;
  v_timezone constant text := scope.timezone;
  v_group_by constant text := source.group_by;
  v_days constant timestamptz[] := (source.split).days;
  v_hours constant timestamptz[] := case when v_step is null then (source.split).hours else '{}' end;
  v_quarters constant timestamptz[] := source.quarters;
  v_groups constant integer[] := array(
    select g.group_id from observability_internal.latency_groups as g
    where g.kind = source.kind and (source.kind = 'total' or scope.group_kind = 'total' or g.value = any (scope.group_values))
  );
begin
  return query
  with starts as materialized (
    select
      b.bucket,
      coalesce(date_bin(v_step, b.bucket, '2000-01-01 00:00:00+00'), date_trunc(v_bucket, b.bucket, v_timezone)) as bucket_start
    from unnest(v_days || v_hours || v_quarters) as b (bucket)
    group by b.bucket
  )
  select
    s.bucket_start, case when v_group_by is not null then g.value end, l.requests::numeric, l.errors::numeric,
    l.prompt_tokens::numeric, l.completion_tokens::numeric, l.cached_tokens::numeric, l.reasoning_tokens::numeric, l.cost,
    l.unpriced_requests::numeric
  from observability_internal.latency_by_group as l
  inner join observability_internal.latency_groups as g using (group_id)
  inner join starts as s using (bucket)
  where l.requests > 0 and l.group_id = any (v_groups) and (
    (l.level = 'day' and l.bucket = any (v_days)) or (l.level = 'hour' and l.bucket = any (v_hours))
    or (l.level = 'quarter' and l.bucket = any (v_quarters))
  );
end;
$$;

comment on function observability_internal.group_points is 'Points from the kept sums of groups.';
revoke execute on function observability_internal.group_points from public;
grant execute on function observability_internal.group_points to authenticated, service_role;

create function observability_internal.read_points(scope observability_internal.read_scope, group_by text)
returns observability_internal.usage_point[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_source constant observability_internal.point_source := observability_internal.choose_points(scope, read_points.group_by);
begin
  return array(
    select row(
      p.bucket_start, p.key, sum(p.requests), sum(p.errors), sum(p.prompt_tokens), sum(p.completion_tokens),
      sum(p.cached_tokens), sum(p.reasoning_tokens), sum(p.cost), sum(p.unpriced_requests)
    )::observability_internal.usage_point
    from (
      select * from observability_internal.dimension_points(scope, v_source)
      union all
      select * from observability_internal.group_points(scope, v_source)
    ) as p
    group by p.bucket_start, p.key
  );
end;
$$;

comment on function observability_internal.read_points is 'Points by bucket and key of the period.';
revoke execute on function observability_internal.read_points from public;
grant execute on function observability_internal.read_points to authenticated, service_role;

create function observability_internal.read_usage(scope observability_internal.read_scope, group_by text)
returns observability_internal.usage_figures
language sql
stable
security invoker
set search_path = ''
as $$
  select case
    when (scope).by_user then observability_internal.read_user_cells(scope, read_usage.group_by)
    else row(
      observability_internal.read_sums(scope), observability_internal.read_points(scope, read_usage.group_by)
    )::observability_internal.usage_figures
  end;
$$;

comment on function observability_internal.read_usage is 'Sums of the period and of the one before, and points of the period.';
revoke execute on function observability_internal.read_usage from public;
grant execute on function observability_internal.read_usage to authenticated, service_role;
