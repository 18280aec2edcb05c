-- Figures by user: who calls, what it costs, and how it went on.
-- Locks: none; it only creates.

create type observability_internal.user_sum as (
  user_key integer,
  requests bigint,
  errors bigint,
  prompt_tokens bigint,
  completion_tokens bigint,
  cached_tokens bigint,
  unpriced_requests bigint,
  cost numeric
);

create function observability_internal.split_user_range(from_time timestamptz, to_time timestamptz, dims integer[])
returns observability_internal.range_split
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_split observability_internal.range_split := observability_internal.split_range(
    split_user_range.from_time, split_user_range.to_time, '{}', 'week'
  );
begin
  -- Days are kept for all dimensions together only.
  if dims is not null and v_split.days <> '{}' then
    v_split.spans := array(
      select unnest(range_agg(s.span)) from (
        select unnest(v_split.spans) as span
        union all
        select tstzrange(d.day, d.day + interval '24 hours') from unnest(v_split.days) as d (day)
      ) as s
    );
    v_split.days := '{}';
  end if;
  return v_split;
end;
$$;

comment on function observability_internal.split_user_range is 'As split_range, for users: what no week or day holds is in the spans.';
revoke execute on function observability_internal.split_user_range from public;
grant execute on function observability_internal.split_user_range to authenticated, service_role;

-- Whole numbers below 2^53 are exact as double precision, which adds them four times as fast as bigint does.
create function observability_internal.user_sums(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz
) returns setof observability_internal.user_sum
language plpgsql
stable
security invoker
set search_path = ''
set plan_cache_mode = force_custom_plan
rows 20000
as $$
declare
  v_errors constant integer[] := array(
    select d.dim_id from observability_internal.dimensions as d where d.status = 'error'
  );
  v_dims constant integer[] := scope.dims;
  v_span tstzrange;
  v_users observability_internal.user_span;
  v_split observability_internal.range_split;
begin
  if scope.by_user then
    return query
    select
      c.user_key, c.requests, case when c.dim_id = any (v_errors) then c.requests else 0 end, c.prompt_tokens,
      c.completion_tokens, c.cached_tokens, c.unpriced_requests + c.fallback_requests, c.cost
    from observability_internal.user_cells(scope, user_sums.from_time, user_sums.to_time, false) as c;
    return;
  end if;
  v_users := observability_internal.span_users(user_sums.from_time, user_sums.to_time);
  foreach v_span in array v_users.cuts loop
    return query
    select
      c.user_key, c.requests, case when c.dim_id = any (v_errors) then c.requests else 0 end, c.prompt_tokens,
      c.completion_tokens, c.cached_tokens, c.unpriced_requests + c.fallback_requests, c.cost
    from observability_internal.raw_cells(scope, lower(v_span), upper(v_span)) as c;
  end loop;
  v_split := observability_internal.split_user_range(v_users.from_time, v_users.to_time, v_dims);
  return query
  select w.user_key, w.requests, w.errors, w.prompt_tokens, w.completion_tokens, w.cached_tokens, w.unpriced_requests, w.cost
  from observability_internal.users_of_weeks as w
  where w.dim_id = any (coalesce(v_dims, '{0}')) and w.bucket = any (v_split.weeks)
  union all
  select d.user_key, d.requests, d.errors, d.prompt_tokens, d.completion_tokens, d.cached_tokens, d.unpriced_requests, d.cost
  from observability_internal.users_of_days as d
  where d.bucket = any (v_split.days);
  foreach v_span in array coalesce(v_split.spans, '{}') loop
    return query
    select
      r.user_key, sum(r.requests::double precision)::bigint,
      coalesce(sum(r.requests::double precision) filter (where r.dim_id = any (v_errors)), 0)::bigint,
      sum(r.prompt_tokens::double precision)::bigint, sum(r.completion_tokens::double precision)::bigint,
      coalesce(sum(r.cached_tokens::double precision), 0)::bigint,
      sum((coalesce(r.unpriced_requests, 0) + coalesce(r.fallback_requests, 0))::double precision)::bigint, sum(r.cost)
    from observability_internal.usage_by_user as r
    where r.bucket >= lower(v_span) and r.bucket < upper(v_span) and (v_dims is null or r.dim_id = any (v_dims))
    group by r.user_key;
  end loop;
end;
$$;

comment on function observability_internal.user_sums is 'Sums by user, in parts.';
revoke execute on function observability_internal.user_sums from public;
grant execute on function observability_internal.user_sums to authenticated, service_role;

create function observability_internal.user_costs(
  scope observability_internal.read_scope, from_time timestamptz, to_time timestamptz
) returns table (user_key integer, cost numeric, priced_requests bigint)
language plpgsql
stable
security invoker
set search_path = ''
set plan_cache_mode = force_custom_plan
rows 20000
as $$
declare
  v_dims constant integer[] := scope.dims;
  v_span tstzrange;
  v_users observability_internal.user_span;
  v_split observability_internal.range_split;
begin
  if scope.by_user then
    return query
    select c.user_key, c.cost, c.requests - c.unpriced_requests - c.fallback_requests
    from observability_internal.user_cells(scope, user_costs.from_time, user_costs.to_time, false) as c;
    return;
  end if;
  v_users := observability_internal.span_users(user_costs.from_time, user_costs.to_time);
  foreach v_span in array v_users.cuts loop
    return query
    select c.user_key, c.cost, c.requests - c.unpriced_requests - c.fallback_requests
    from observability_internal.raw_cells(scope, lower(v_span), upper(v_span)) as c;
  end loop;
  v_split := observability_internal.split_user_range(v_users.from_time, v_users.to_time, v_dims);
  return query
  select r.user_key, r.cost, r.requests - r.unpriced_requests
  from (
    select
      unnest(w.user_keys) as user_key, unnest(w.cost) as cost, unnest(w.requests) as requests,
      unnest(w.unpriced_requests) as unpriced_requests
    from observability_internal.usage_by_user_week as w
    where w.dim_id = any (coalesce(v_dims, '{0}')) and w.bucket = any (v_split.weeks)
    union all
    select unnest(d.user_keys), unnest(d.cost), unnest(d.requests), unnest(d.unpriced_requests)
    from observability_internal.usage_by_user_day as d
    where d.bucket = any (v_split.days)
  ) as r;
  foreach v_span in array coalesce(v_split.spans, '{}') loop
    return query
    select
      r.user_key, sum(r.cost),
      sum((r.requests - coalesce(r.unpriced_requests, 0) - coalesce(r.fallback_requests, 0))::double precision)::bigint
    from observability_internal.usage_by_user as r
    where r.bucket >= lower(v_span) and r.bucket < upper(v_span) and (v_dims is null or r.dim_id = any (v_dims))
    group by r.user_key;
  end loop;
end;
$$;

comment on function observability_internal.user_costs is 'Cost and priced calls by user, in parts: all that is asked of the period before.';
revoke execute on function observability_internal.user_costs from public;
grant execute on function observability_internal.user_costs to authenticated, service_role;

-- The figures of a person (all keys of a user id) or of an attribution, of the period and of the one before; null where there
-- are no calls.
create type observability_internal.compared_user as (
  is_person boolean,
  person_key integer,
  attribution_id integer,
  requests bigint,
  errors bigint,
  prompt_tokens bigint,
  completion_tokens bigint,
  cached_tokens bigint,
  unpriced_requests bigint,
  cost numeric,
  previous_cost numeric,
  previous_priced_requests bigint
);

create function observability_internal.compare_users(scope observability_internal.read_scope)
returns observability_internal.compared_user[]
language sql
stable
security invoker
set search_path = ''
as $$
  with parts as (
    select s.*, null::numeric as previous_cost, null::bigint as previous_priced_requests
    from observability_internal.user_sums(scope, (scope).from_time, (scope).to_time) as s
    union all
    select c.user_key, null, null, null, null, null, null, null, c.cost, c.priced_requests
    from observability_internal.user_costs(scope, (scope).previous_from, (scope).from_time) as c
  ),
  named as (
    select coalesce(u.person_key, p.user_key) as person_key, u.attribution_id, p.*
    from parts as p
    left join observability_internal.users as u using (user_key)
  )
  select array(
    select row(
      grouping(n.person_key) = 0, n.person_key, n.attribution_id, sum(n.requests::double precision)::bigint,
      sum(n.errors::double precision)::bigint, sum(n.prompt_tokens::double precision)::bigint,
      sum(n.completion_tokens::double precision)::bigint, sum(n.cached_tokens::double precision)::bigint,
      sum(n.unpriced_requests::double precision)::bigint, sum(n.cost), sum(n.previous_cost),
      sum(n.previous_priced_requests::double precision)::bigint
    )::observability_internal.compared_user
    from named as n
    group by grouping sets ((n.person_key), (n.attribution_id))
  );
$$;

comment on function observability_internal.compare_users is
'Every person and every attribution with its sums of the period and its cost in the one before: read once for all lists of a'
' page.';
revoke execute on function observability_internal.compare_users from public;
grant execute on function observability_internal.compare_users to authenticated, service_role;

create function observability_internal.user_figures(
  scope observability_internal.read_scope, compared observability_internal.compared_user[]
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with people as materialized (
    select
      c.person_key as user_key, c.requests, c.errors, c.prompt_tokens, c.completion_tokens, c.cached_tokens,
      c.unpriced_requests, c.cost, c.previous_cost, c.previous_priced_requests
    from unnest(compared) as c
    where c.is_person
  ),
  present as (
    select p.* from people as p where p.requests > 0
  ),
  -- Only as many are sorted as are shown; the others are what is left of the sums.
  top as materialized (
    select p.*, case when (scope).by_tokens then p.prompt_tokens + p.completion_tokens else p.cost end as measure
    from present as p
    order by measure desc nulls last, p.requests desc, p.user_key
    limit (scope).row_limit
  ),
  placed as (
    select row_number() over (order by t.measure desc nulls last, t.requests desc, t.user_key) as place, t.* from top as t
  ),
  others as (
    select
      count(*) as keys, sum(p.requests) as requests, sum(p.errors) as errors, sum(p.prompt_tokens) as prompt_tokens,
      sum(p.completion_tokens) as completion_tokens, sum(p.cached_tokens) as cached_tokens,
      sum(p.unpriced_requests) as unpriced_requests, sum(p.cost) as cost, sum(p.previous_cost) as previous_cost,
      sum(p.previous_priced_requests) as previous_priced_requests
    from present as p
    where not exists (select from top as t where t.user_key = p.user_key)
  ),
  shown as (
    select
      p.place, p.user_key, 1 as keys, p.requests, p.errors, p.prompt_tokens, p.completion_tokens, p.cached_tokens,
      p.unpriced_requests, p.cost, p.previous_cost, p.previous_priced_requests
    from placed as p
    union all
    select
      null, null, o.keys, o.requests, o.errors, o.prompt_tokens, o.completion_tokens, o.cached_tokens,
      o.unpriced_requests, o.cost, o.previous_cost, o.previous_priced_requests
    from others as o
    where o.keys > 0
  )
  select jsonb_build_object(
    'users', (select count(*) from present), 'previous_users', (select count(p.previous_priced_requests) from people as p),
    'top_keys', (
      select coalesce(jsonb_agg(p.user_key order by p.place) filter (where p.place <= 8), '[]') from placed as p
    ),
    'rows', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'key', u.user_id, 'is_other', s.user_key is null, 'keys', s.keys, 'requests', s.requests,
        'total_tokens', s.prompt_tokens + s.completion_tokens, 'prompt_tokens', s.prompt_tokens,
        'completion_tokens', s.completion_tokens, 'cached_tokens', s.cached_tokens, 'errors', s.errors,
        'unpriced_requests', s.unpriced_requests,
        'cost', case when s.requests > s.unpriced_requests then s.cost::text end,
        'previous_cost', case when s.previous_priced_requests > 0 then s.previous_cost::text end
      ) order by s.place), '[]')
      from shown as s
      -- By any of the keys that the caller may see: the first one may belong to calls of another tenant.
      left join lateral (
        select o.user_id from observability_internal.users as o where o.person_key = s.user_key limit 1
      ) as u on true
    )
  );
$$;

comment on function observability_internal.user_figures is
'{users, previous_users, top_keys, rows}: how many users, and those that cost most, or used most tokens, with one row for the '
'others.';
revoke execute on function observability_internal.user_figures from public;
grant execute on function observability_internal.user_figures to authenticated, service_role;

create function observability_internal.user_series(
  scope observability_internal.read_scope, group_by text, top_keys integer[]
) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_scope observability_internal.read_scope := scope;
  v_points observability_internal.usage_point[];
  v_own observability_internal.usage_point[];
begin
  if scope.by_user then
    v_points := (observability_internal.read_usage(scope, user_series.group_by)).points;
    return observability_internal.usage_series(v_points, user_series.group_by, scope.by_tokens);
  end if;
  -- Those that cost most are read one by one; the others are the rest of the total.
  v_scope.previous_from := v_scope.from_time;
  v_points := observability_internal.read_points(v_scope, null);
  v_scope.by_user := true;
  v_scope.user_keys := top_keys;
  v_own := (observability_internal.read_user_cells(v_scope, user_series.group_by)).points;
  v_points := array(
    select row(
      p.bucket_start, p.key, sum(p.requests), sum(p.errors), sum(p.prompt_tokens), sum(p.completion_tokens),
      sum(p.cached_tokens), sum(p.reasoning_tokens), sum(p.cost), sum(p.unpriced_requests)
    )::observability_internal.usage_point
    from (
      select t.* from unnest(v_points) as t
      union all
      select u.* from unnest(v_own) as u
      union all
      select
        u.bucket_start, null, -u.requests, -u.errors, -u.prompt_tokens, -u.completion_tokens, -u.cached_tokens,
        -u.reasoning_tokens, -u.cost, -u.unpriced_requests
      from unnest(v_own) as u
    ) as p
    group by p.bucket_start, p.key
    having sum(p.requests) > 0
  );
  return (
    select coalesce(jsonb_agg(
      jsonb_build_object(
        'bucket_start', p.bucket_start, 'key', p.key, 'is_other', p.key is null, 'requests', p.requests,
        'prompt_tokens', p.prompt_tokens, 'completion_tokens', p.completion_tokens,
        'total_tokens', p.prompt_tokens + p.completion_tokens, 'cached_tokens', p.cached_tokens,
        'reasoning_tokens', p.reasoning_tokens, 'errors', p.errors,
        'cost', case when p.requests > p.unpriced_requests then p.cost::text end
      ) order by p.bucket_start, p.key nulls last
    ), '[]')
    from unnest(v_points) as p
  );
end;
$$;

comment on function observability_internal.user_series is
'Points by bucket and user, tenant or tag (group_by): of the users of these keys, the rest as key null.';
revoke execute on function observability_internal.user_series from public;
grant execute on function observability_internal.user_series to authenticated, service_role;
